"""A table is read column by column, cut, and encoded by what is fitted on train."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.data.preparing import prepared_spec
from modeltune.engine.engine import Engine
from modeltune.engine.score.rebuilt import rebuilt_model
from modeltune.engine.score.refit import parts_of
from modeltune.specs import Refit, tables
from modeltune.specs.tables import told_by
from tests.support.small_models import spec_of

RNG = np.random.default_rng(0)


def tensors(x: Any) -> Any:
    """Return the inputs as Keras takes them: it has no arrays of text."""
    return {
        name: tf.constant(array.astype(str) if array.dtype == object else array)
        for name, array in x.items()
    }


def people(rows: int = 60) -> pd.DataFrame:
    age = RNG.integers(18, 80, rows).astype("float64")
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "city": RNG.choice(["Recife", "Lima", "Quito"], rows),
            "since": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows)[::-1], "D"),
            "member": np.arange(rows) % 2 == 0,
            "code": np.arange(rows) % 3,
            "paid": np.where(np.arange(rows) % 3 == 0, "yes", "no"),
        }
    )


def read(source: Any, **arguments: Any) -> Any:
    """Call the data function of a table."""
    return mt.table(source, **arguments)()


def net(hp: Any, prepared: Any) -> Any:
    hp.Choice("unused", [1, 2])
    inputs = prepared.inputs()
    x = keras.layers.Dense(2, activation="softmax")(prepared.encode(inputs))
    model = keras.Model(inputs, x)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_columns_are_numbers_or_text_by_what_they_hold() -> None:
    data = read(people(), target="paid", categorical=["code"])
    x, y = data.train
    kinds = {name: (array.dtype.kind, array.shape) for name, array in x.items()}
    one = (60, 1)
    assert kinds == {
        "age": ("f", one), told_by("age"): ("f", one), "city": ("O", one), "since": ("f", one),
        "member": ("f", one), "code": ("O", one),
    }  # fmt: skip
    assert x[told_by("age")].reshape(-1)[[0, 1, 7]].tolist() == [1, 0, 1]
    assert x["age"][0, 0] == 0
    assert np.diff(x["since"][:2, 0]).tolist() == [-1], "days"
    assert (y[:4].tolist(), data.class_names) == ([1, 0, 0, 1], ("no", "yes"))


def test_targets_keep_their_kind() -> None:
    frame = people()
    assert read(frame, target="code").train[1].dtype == np.int64
    assert read(frame.assign(z=frame.code / 2), target="z").train[1].dtype == np.float32
    assert read(frame, target=["code", "member"]).train[1].shape == (60, 2)
    assert read(frame, target="member").class_names == ("False", "True")


def test_rows_come_in_time_and_the_latest_are_test() -> None:
    data = load_data(spec_of(net, mt.table(people(), target="paid", time="since")))
    assert "since" not in data.train.x
    train, validation, test = (part.metadata["since"] for part in data.parts)
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    assert [part.size for part in data.parts] == [36, 12, 12]


def test_no_group_is_in_two_parts_or_in_two_folds() -> None:
    frame = people().assign(patient=np.arange(60) // 5)
    table = mt.table(frame, target="paid", groups="patient")
    spec = spec_of(net, table, validation=mt.KFold(k=3))
    data = load_data(spec)
    assert "patient" not in data.train.x
    folds = [parts_of(spec, data, refit) for refit in spec.validation.refits()]
    for parts in (data.parts, *((fold.train, fold.watched) for fold in folds)):
        patients = [set(part.metadata["patient"]) for part in parts]
        assert sum(map(len, patients)) == len(set.union(*patients))


def test_weights_are_those_of_a_column() -> None:
    weight = read(people().assign(w=2), target="paid", weight="w").train[2]
    assert weight.tolist() == [2.0] * 60


@pytest.mark.parametrize("end", [".csv", ".parquet"])
def test_a_file_is_looked_for_from_the_project_s_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(tables, "root_of_module", lambda _: tmp_path)
    frame = people()
    if end == ".csv":
        frame.to_csv(tmp_path / "people.csv", index=False)
    else:
        frame.to_parquet(tmp_path / "people.parquet")
    data = read(f"people{end}", target="paid")
    assert np.allclose(data.train[0]["age"], read(frame, target="paid").train[0]["age"])


def test_a_function_and_another_library_s_frame_are_read() -> None:
    class Foreign:
        """As Polars, PyArrow and Hugging Face's datasets have it."""

        def to_pandas(self) -> pd.DataFrame:
            return people()

    class Lazy:
        """As Polars has it."""

        def collect(self) -> Foreign:
            return Foreign()

    for source in (people, Foreign(), Foreign, Lazy, Lazy()):
        assert len(read(source, target="paid").train[1]) == 60


def test_what_is_encoded_is_fitted_on_train_and_on_nothing_else() -> None:
    frame = people()
    spec = spec_of(net, mt.table(frame, target="paid"))
    loaded = load_data(spec)
    prepared = prepared_spec(spec, loaded, loaded.train).prepared
    age, missing = loaded.train.x["age"], loaded.train.x[told_by("age")]
    assert prepared.means["age"] == pytest.approx(age[missing == 0].mean())
    assert prepared.vocabularies["city"] == ("Lima", "Quito", "Recife")

    inputs = prepared.inputs()
    model = keras.Model(inputs, prepared.encode(inputs))
    encoded = np.asarray(model(tensors(loaded.test.x)))
    assert encoded.shape == (12, 1 + 1 + 4 + 1 + 1 + 1)
    known = loaded.test.x[told_by("age")][:, 0] == 0
    expected = (loaded.test.x["age"][:, 0] - prepared.means["age"]) / prepared.variances[
        "age"
    ] ** 0.5
    assert encoded[known, 0] == pytest.approx(expected[known], rel=1e-5)
    assert set(encoded[~known, 0]) <= {0.0}, "what is missing is the mean"


def test_of_many_categories_each_has_a_learned_vector_and_a_new_one_is_told_apart() -> None:
    names = np.array([f"shop {n}" for n in range(150)])
    frame = pd.DataFrame({"shop": names, "y": np.arange(150) % 2})
    data = read(frame, target="y")
    prepared = data.prepare(data.train)
    inputs = prepared.inputs()
    model = keras.Model(inputs, prepared.encode(inputs))
    seen, unseen = np.asarray(model({"shop": tf.constant([["shop 3"], ["elsewhere"]])}))
    assert seen.shape == (12,)
    assert not np.allclose(seen, unseen)


def test_a_table_trains_and_its_model_keeps_the_encoding(tmp_path: Path) -> None:
    spec = spec_of(net, mt.table(people(), target="paid"), search=None, validation=mt.KFold(k=2))
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db")
    engine = Engine(spec, {}, tmp_path)
    engine.load()
    assert run.best is not None
    assert run.artifact is not None
    weights, exported = tmp_path / run.artifact.path, tmp_path / "exported.keras"
    assert engine.write_model(run.best.values, 0, weights, exported) == ()
    raw = tensors(engine.loaded().test.x)
    model = keras.saving.load_model(exported)
    with rebuilt_model(
        engine.prepared(Refit(0, 0)), run.best.values, 0, weights, engine.loaded().test
    ) as own:
        assert np.allclose(model.predict(raw, verbose=0), own.predict(raw, verbose=0))
    # Fitted on the train part of the first fold, whose weights are kept.
    scale = next(layer for layer in model.layers if layer.name.startswith("normalization"))
    fold = parts_of(spec, engine.loaded(), Refit(0, 0)).train.x
    assert np.asarray(scale.mean).item() == pytest.approx(
        fold["age"][fold[told_by("age")] == 0].mean()
    )
    assert run.status.value == "passed"
    assert not [note for note in run.notes if "default candidate" in note]
    assert run.data["class_names"] == {"": ["no", "yes"]}


def test_values_of_python_are_what_they_are() -> None:
    """Polars and Parquet give truth values with gaps, dates and decimals as objects."""
    day = datetime.date(2026, 1, 1)
    frame = pd.DataFrame(
        {
            "member": pd.Series([True, None, False] * 4, dtype=object),
            "day": pd.Series([day, None, day + datetime.timedelta(2)] * 4, dtype=object),
            "price": [Decimal("1.50"), None, Decimal("2.5")] * 4,
            "waited": pd.to_timedelta([36, None, 12] * 4, "h"),
            "note": pd.Series([True, "yes", 1] * 4, dtype=object),
            "y": [0, 1, 0] * 4,
        }
    )
    x = read(frame, target="y").train[0]
    shown = {name: x[name][:3, 0].tolist() for name in x if name not in map(told_by, x)}
    assert shown == {
        "member": [1, 0, 0], "day": [20454, 0, 20456], "price": [1.5, 0, 2.5], "waited": [1.5, 0, 0.5],
        "note": ["True", "yes", "1"],
    }  # fmt: skip
    assert {name for name in x if name in map(told_by, x)} == set(map(told_by, [*shown][:4]))


def test_a_time_of_text_is_read_as_a_date_or_refused() -> None:
    frame = pd.DataFrame(
        {"x": [1.0, 2, 3], "y": [0, 1, 0], "day": ["2026-10-01", "2026-09-30", "2025-12-31"]}
    )
    assert read(frame, target="y", time="day").train[0]["x"][:, 0].tolist() == [3, 2, 1]
    frame["day"] = ["1/10/2026", "30/9/2026", "31/12/2025"]
    with pytest.raises(
        mt.DataError, match="time 'day' is text and no dates as 2026-11-30; convert it in a"
    ):
        read(frame, target="y", time="day")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "pay"}, "target='pay' is no column; it has age, city, since"),
        ({"target": "paid", "weight": "w"}, "weight='w' is no column"),
        ({"target": "age"}, "target 'age' is missing in 9 of 60 rows; leave these rows out"),
        ({"target": ["code", "city"]}, "targets 'city' are no numbers"),
        ({"source": "nowhere.csv", "target": "paid"}, "there is no file"),
        ({"source": "people.xlsx", "target": "paid"}, "there is no file"),
        ({"source": 3, "target": "paid"}, "it is a int, and no frame"),
        ({"source": pd.DataFrame({"paid": []}), "target": "paid"}, "it has no rows"),
        (
            {"source": pd.DataFrame({"paid": [1, 2]}), "target": "paid"},
            "no column is left as input",
        ),
        ({"source": lambda: 1 / 0, "target": "paid"}, "it cannot be read: ZeroDivisionError"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_error(arguments: dict[str, Any], message: str) -> None:
    arguments.setdefault("source", people())
    with pytest.raises(mt.DataError, match=message):
        read(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 3}, "target is 3"),
        ({"target": []}, r"target is \[\]"),
        ({"target": "paid", "categorical": "city"}, "write a list of columns"),
        ({"target": "paid", "time": 1}, "time is 1; write the name of a column"),
        ({"target": "paid", "time": "since", "groups": "city"}, "parts are cut by one of them"),
    ],
)
def test_an_argument_of_another_kind_is_refused_when_it_is_written(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        mt.table(people(), **arguments)
