"""A series is cut into windows in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import modeltune as mt
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
    assert (y[0], len(y), x["window"].dtype) == (40, 60, np.float32)


def test_no_window_reaches_from_one_part_into_another() -> None:
    data: Any = mt.windows(STEPS[:, 0], length=4)()
    seen = [
        set(np.unique(part[0]["window"])) | set(part[1])
        for part in (data.train, data.validation, data.test)
    ]
    assert seen == [set(range(64)), set(range(64, 80)), set(range(80, 100))]


def test_columns_are_scaled_by_train_alone() -> None:
    data: Any = mt.windows(STEPS, length=3, target=0)()
    prepared = data.prepare(data.train)
    inputs = prepared.inputs()
    model = keras.Model(inputs, prepared.encode(inputs))
    scaled = np.asarray(model(data.train[0]))
    assert scaled.mean(axis=(0, 1)) == pytest.approx([0, 0], abs=1e-6)
    assert scaled.std(axis=(0, 1)) == pytest.approx([1, 1], rel=1e-5)
    assert np.asarray(model(data.test[0])).min() > 1


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
            "validation has 16 of 100 steps, and a window with its target takes 31",
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
