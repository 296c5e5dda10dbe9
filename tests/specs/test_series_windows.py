"""A series is cut into windows in time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.data.preparing import prepared_spec
from modeltune.engine.score.refit import parts_of
from tests.support.small_models import spec_of

STEPS = np.stack([np.arange(100.0), 10 * np.arange(100.0)], axis=1)


def net(hp: Any, prepared: Any) -> Any:
    hp.Choice("unused", [1, 2])
    inputs = prepared.inputs()
    x = keras.layers.Flatten()(prepared.encode(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def test_a_target_is_so_many_steps_after_its_window() -> None:
    data: Any = mt.windows(STEPS, length=3, horizon=2, target=1)()
    x, y = data.train
    assert x["window"][0].tolist() == [[0, 0], [1, 10], [2, 20]]
    assert (y[0], len(y), x["window"].dtype) == (40, 96, np.float32)
    assert data.metadata["last"].tolist() == x["window"][:, -1, 1].tolist()


def test_no_window_shares_a_step_with_one_of_another_part_or_fold() -> None:
    spec = spec_of(net, mt.windows(STEPS[:, 0], length=4), validation=mt.KFold(k=3))
    data = load_data(spec)
    assert [part.size for part in data.parts] == [50, 19, 19]
    assert steps_of(data.train) == set(range(54))
    assert steps_of(data.test) == set(range(77, 100))
    folds = [parts_of(spec, data, refit) for refit in spec.validation.refits()]
    for parts in (data.parts, *((fold.train, fold.watched) for fold in folds)):
        steps = [steps_of(part) for part in parts]
        for before, after in itertools.pairwise(steps):
            assert max(before) < min(after)


def steps_of(part: Any) -> set[float]:
    """Return the steps that the windows of a part and their targets take."""
    return {*np.unique(part.x["window"]).tolist(), *part.y.tolist()}


def test_columns_are_scaled_by_train_alone() -> None:
    spec = spec_of(net, mt.windows(STEPS, length=3, target=0))
    data = load_data(spec)
    prepared = prepared_spec(spec, data, data.train).prepared
    inputs = prepared.inputs()
    model = keras.Model(inputs, prepared.encode(inputs))
    scaled = np.asarray(model(data.train.x))
    assert scaled.mean(axis=(0, 1)) == pytest.approx([0, 0], abs=1e-6)
    assert scaled.std(axis=(0, 1)) == pytest.approx([1, 1], rel=1e-5)
    assert np.asarray(model(data.test.x)).min() > 1


def test_a_column_is_a_series() -> None:
    for series in (pd.Series(STEPS[:, 1]), lambda: STEPS[:, 1]):
        data: Any = mt.windows(series, length=3)()
        assert data.train[1][0] == 30
    with pytest.raises(
        mt.DataError, match=r"mt\.windows\(<lambda>\): it cannot be read: ZeroDivisionError"
    ):
        mt.windows(lambda: 1 / 0, length=3)()


@pytest.mark.parametrize("target", ["b", 1, -1])
def test_frames_have_columns_by_name_or_place(target: Any) -> None:
    frame = pd.DataFrame(STEPS, columns=["a", "b"])
    data: Any = mt.windows(lambda: frame, length=3, target=target)()
    assert data.train[1][0] == 30


def test_windows_train(tmp_path: Path) -> None:
    spec = spec_of(net, mt.windows(STEPS / 100, length=3, target=0), search=None)
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db")
    assert run.status.value == "passed"
    assert run.data["prepared"]["by"] == "mt.windows"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"length": 30, "target": 0},
            "100 steps are too few for windows of length 30 and horizon 1 in three parts",
        ),
        ({"length": 3}, "target=None is none of its 2 columns"),
        ({"length": 3, "target": 2}, "target=2 is none of its 2 columns"),
        ({"length": 3, "series": np.array(["a", "b"])}, "write numbers of shape"),
        (
            {"length": 3, "target": "c", "series": pd.DataFrame({"a": [1], "b": [2]})},
            "no column; it has a, b",
        ),
        (
            {"length": 3, "series": pd.DataFrame({"a": [1], "b": ["x"]})},
            r"b \(\w+\) are no numbers",
        ),
    ],
)
def test_a_series_that_cannot_be_cut_is_one_error(arguments: Any, message: str) -> None:
    arguments.setdefault("series", STEPS)
    with pytest.raises(mt.DataError, match=message):
        mt.windows(**arguments)()


@pytest.mark.parametrize(
    "fields", [{"length": 0}, {"length": 3, "horizon": 0}, {"length": 3, "target": 1.5}]
)
def test_a_number_that_is_none_is_refused(fields: Any) -> None:
    with pytest.raises(TypeError, match=r"mt\.windows: "):
        mt.windows(STEPS, **fields)
