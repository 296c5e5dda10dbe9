"""What was fitted on rows of validation or test is told, and what was fitted on train is not."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import modeltune as mt
from modeltune.engine.data.leaks import preparation_leaks
from modeltune.engine.data.loading import load_data
from tests.support.small_models import spec_of

X = np.random.default_rng(0).gamma(2, size=(300, 4)).astype("float32")
Y = np.arange(300) % 2
WORDS = np.array([["red"], ["blue"], ["green"]] * 80 + [["black"], ["white"]] * 30, dtype=object)
TEXTS = np.array([f"{word} car" for word in WORDS[:, 0]], dtype=object)
TRAIN, ALL = slice(0, 180), slice(0, 300)


def leaks(x: Any, *fitted: Any) -> list[str]:
    """Return what is told of data whose first 180 rows are train, and the last 60 test."""

    def part(*ends: int) -> tuple[Any, Any]:
        rows = slice(*ends)
        return (x[rows] if isinstance(x, np.ndarray) else {k: v[rows] for k, v in x.items()}), Y[
            rows
        ]

    data = mt.Data(part(0, 180), part(180, 240), part(240, 300))
    return list(preparation_leaks(load_data(spec_of(data=data)), fitted))


@pytest.mark.parametrize("ddof", [0, 1])
def test_columns_scaled_over_all_rows_are_told(ddof: int) -> None:
    def scaled(rows: slice) -> Any:
        return (X - X[rows].mean(axis=0)) / X[rows].std(axis=0, ddof=ddof)

    assert leaks(scaled(ALL)) == [
        "4 of 4 columns of x have mean 0 and variance 1 over train and validation and test together, and "
        "not over train: they were scaled by rows that are not train's"
    ]
    assert "over train and validation together" in leaks(scaled(slice(0, 240)))[0]
    mixed = np.column_stack([scaled(ALL)[:, :1], X])
    assert leaks({"a": mixed})[0].startswith("1 of 5 columns of x.a have mean 0")
    assert leaks(scaled(TRAIN)) == leaks(X) == []


def test_columns_stretched_over_all_rows_are_told() -> None:
    assert leaks(MinMaxScaler().fit_transform(X)) == [
        "the columns of x reach from 0 to 1 over train and validation together, and 3 of 4 not over "
        "train: they were scaled by rows that are not train's"
    ]
    assert leaks(MinMaxScaler().fit(X[TRAIN]).transform(X)) == []
    shares = np.round(MinMaxScaler().fit_transform(X) * 5) / 5
    assert leaks(shares) == [], "few values end at 0 and 1 by what they are"


def test_data_whose_parts_are_cut_from_scaled_rows_are_told() -> None:
    data = mt.Data((StandardScaler().fit_transform(X), Y))
    (told,) = preparation_leaks(load_data(spec_of(data=data)), ())
    assert told.startswith("4 of 4 columns of x")


@pytest.mark.parametrize(("rows", "count"), [(TRAIN, 0), (ALL, 1)])
def test_layers_that_are_adapted_to_all_rows_are_told_and_to_train_not(
    rows: slice, count: int
) -> None:
    by_column, over_all = keras.layers.Normalization(), keras.layers.Normalization(axis=None)
    for layer in (by_column, over_all):
        layer.adapt(X[rows])
    told = leaks(X, keras.Sequential([keras.Input((4,)), by_column]), {"scale": [over_all]})
    assert told == [
        f"layer {layer.name} (Normalization) has the means of train and validation and test, and not of train"
        for layer in (by_column, over_all)[: 2 * count]
    ]
    given = keras.layers.Normalization(mean=X[rows].mean(axis=0), variance=X[rows].var(axis=0))
    given.build((None, 4))
    assert len(leaks(X, given)) == count


@pytest.mark.parametrize("rows", [TRAIN, ALL])
def test_words_of_other_parts_are_told_and_a_list_that_was_written_down_is_not(rows: slice) -> None:
    lookup, vectorizer = keras.layers.StringLookup(), keras.layers.TextVectorization()
    numbers = keras.layers.IntegerLookup()
    lookup.adapt(WORDS[rows].astype(str))
    vectorizer.adapt(TEXTS[rows].astype(str))
    codes = np.unique(WORDS.astype(str), return_inverse=True)[1].reshape(-1, 1)
    numbers.adapt(codes[rows])
    told = [
        leaks({"a": WORDS}, lookup),
        leaks({"a": TEXTS}, vectorizer),
        leaks({"a": codes}, numbers),
    ]
    expected = [
        f"layer {lookup.name} (StringLookup) knows 2 of 5 words from validation or test alone: 'black', 'white'",
        f"layer {vectorizer.name} (TextVectorization) knows 2 of 6 words from validation or test alone: "
        "'black', 'white'",
        f"layer {numbers.name} (IntegerLookup) knows 2 of 5 words from validation or test alone: '0', '4'",
    ]
    assert told == ([[text] for text in expected] if rows is ALL else [[], [], []])
    written = keras.layers.StringLookup(vocabulary=["black", "blue", "green", "red", "white"])
    assert leaks({"a": WORDS}, written) == []


def test_transformers_that_have_seen_more_rows_than_train_has_are_told() -> None:
    def pipeline(rows: slice) -> Any:
        columns = ColumnTransformer([("some", StandardScaler(), [0, 1])])
        return make_pipeline(columns, PCA(1)).fit(X[rows])

    assert leaks(X, pipeline(ALL)) == ["a StandardScaler was fitted on 300 rows, and train has 180"]
    assert leaks(X, pipeline(TRAIN), None) == []


def leaking(hp: Any, prepared: Any) -> Any:
    hp.Choice("unused", [1, 2])
    model = keras.Sequential([keras.Input((4,)), prepared, keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit_on_all(train: Any) -> Any:
    layer = keras.layers.Normalization()
    layer.adapt(X)
    return layer


def test_a_run_has_a_check_that_warns_of_it(tmp_path: Any) -> None:
    spec = spec_of(leaking, mt.Data((X, Y), prepare=fit_on_all), search=None)
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db")
    (check,) = (check for check in run.checks if check.gate == "checks.preparation")
    assert (check.outcome.value, run.status.value) == ("warned", "passed")
    assert "has the means of train and validation and test" in check.reason
    assert "Fit it on train alone: mt.Data(..., prepare=function)" in check.reason
