"""What a predictor predicts is told from its form and the targets, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.score.prediction_files import read_predictions
from modeltune.engine.score.predictors import GivenPredictor, inputs_of, predictor_scores
from modeltune.engine.score.task_report import answers_of, task_name
from modeltune.ground import SpecError
from tests.support.small_models import spec_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3))
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
LABELS = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
NUMBERS = X @ [1.0, 2.0, 3.0]
TEXTS = np.array(["cat", "dog", "fox"])[THREE]


def part(y: Any, x: Any = X, **others: Any) -> Part:
    return Part("test", len(y), "", x=x, y=y, **others)


def given(model: Any, **fields: Any) -> GivenPredictor:
    spec = spec_of(**fields)
    return GivenPredictor(model, spec)


def returning(values: Any) -> Any:
    return SimpleNamespace(predict=lambda x: values)


FOREST = RandomForestClassifier(5, random_state=0)
TOLD = {
    "two classes": (FOREST.fit(X, TWO).__class__(5, random_state=0).fit(X, TWO), TWO, "binary"),
    "three classes": (RandomForestClassifier(5, random_state=0).fit(X, THREE), THREE, "multiclass"),
    "classes of text": (
        RandomForestClassifier(5, random_state=0).fit(X, TEXTS),
        TEXTS,
        "multiclass",
    ),
    "one-hot": (returning(np.full((90, 3), 1 / 3)), np.eye(3)[THREE], "multiclass"),
    "labels": (MultiOutputClassifier(LogisticRegression()).fit(X, LABELS), LABELS, "multilabel"),
    "numbers": (RandomForestRegressor(5, random_state=0).fit(X, NUMBERS), NUMBERS, "regression"),
    "counts by a regressor": (
        RandomForestRegressor(5, random_state=0).fit(X, THREE),
        THREE,
        None,
    ),
    "columns of numbers": (returning(X[:, :2]), X[:, 1:], "regression"),
    "probabilities": (returning(np.where(TWO, 0.7, 0.2)), TWO, "binary"),
    "a column": (returning(np.where(TWO, 0.7, 0.2)[:, None]), TWO[:, None], "binary"),
    "predicted classes": (returning(THREE), THREE, "multiclass"),
    "predicted texts": (returning(TEXTS), TEXTS, "multiclass"),
    "quantiles": (returning(NUMBERS[:, None] + [-1, 0, 1]), NUMBERS, "quantiles"),
    "counts": (returning(THREE + 0.5), THREE, None),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_task_is_told_by_what_is_predicted_and_by_the_targets(name: str) -> None:
    model, y, task = TOLD[name]
    if task is None:
        with pytest.raises(SpecError, match=r"it cannot be told what .* predicts: .*write task="):
            given(model).output(part(y))
        assert task_name(given(model, task="regression").output(part(y))) == "regression"
        return
    assert task_name(given(model).output(part(y))) == task


def test_classes_of_text_are_those_of_the_predictors_columns() -> None:
    model, y, _ = TOLD["classes of text"]
    answers = answers_of(given(model).output(part(y)))
    assert answers is not None
    assert answers.truth.tolist() == THREE.tolist()
    assert np.array_equal(answers.outputs, model.predict_proba(X))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="test has the class owl, which is none of: cat, dog, fox"):
        given(model).output(part(np.where(THREE == 0, "owl", y)))


def test_predicted_classes_have_no_probabilities() -> None:
    answers = answers_of(given(returning(THREE)).output(part(THREE)))
    assert answers is not None
    assert answers.outputs is None
    data = SimpleNamespace(test=part(THREE), train=Part("train", 0, ""))
    scores = predictor_scores(given(returning(THREE)), data)  # type: ignore[arg-type]
    assert scores["accuracy"] == scores["mcc"] == 1.0
    assert "log_loss" not in scores


def test_a_frame_reaches_a_predictor_as_a_frame() -> None:
    frame = pd.DataFrame({"age": [1.5, 2.5], "town": ["a", "b"]})

    @mt.spec(data=mt.Data(test=(frame, [0, 1])))
    def net() -> Any:
        return returning(0)

    got = inputs_of(load_data(net).test)
    pd.testing.assert_frame_equal(got, frame, check_dtype=False)


@pytest.mark.parametrize(
    ("model", "y", "why"),
    [
        (returning(TWO[:50]), TWO, "it predicts 50 rows for 90 samples of test"),
        (returning(X[:, :2]), THREE, "it cannot be told"),
        (
            FOREST.__class__(5, random_state=0).fit(X, TWO),
            THREE,
            "test has the class 2, which is none of: 0, 1",
        ),
        (returning(X[:, :2]), None, "test has no targets"),
    ],
    ids=["rows", "columns", "classes", "targets"],
)
def test_what_does_not_belong_to_the_targets_is_refused(model: Any, y: Any, why: str) -> None:
    one = Part("test", 90, "", x=X, y=y)
    with pytest.raises(SpecError, match=why):
        given(model).output(one)


@pytest.mark.parametrize(
    ("values", "id_", "why"),
    [
        (3, None, "3: write an array, or the path of a file"),
        ([0.1], "id", "id='id' names a column of a file; an array has none"),
        ("p.txt", None, "is none of .npy, .csv, .parquet"),
        ("p.npy", "id", "names a column, and a .npy file has none"),
        ("p.csv", None, "its columns are not all numbers: id, p; id= names that of ids"),
        ("p.csv", "id", "x of test has no such column to join by"),
    ],
)
def test_what_are_no_predictions_is_refused(
    tmp_path: Path, values: Any, id_: str | None, why: str
) -> None:
    np.save(tmp_path / "p.npy", np.zeros(2))
    (tmp_path / "p.csv").write_text("id,p\na,0.5\nb,0.6\n")
    with pytest.raises(ValueError, match=why):
        read_predictions(mt.Predictions(values, id_), tmp_path, part(TWO))
