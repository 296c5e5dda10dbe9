"""Runs, trials and learning curves come as frames of documented columns and dtypes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from sample_runs import DIGITS

import modeltune as mt
from modeltune.histories.frames import CURVE_COLUMNS, TRIAL_COLUMNS
from modeltune.histories.store import open_store
from modeltune.runs import Run

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


def record(url: str, *recorded: Run) -> None:
    with open_store(url) as store:
        for run in recorded:
            store.record(run)


def test_a_history_is_a_value_that_reads_when_it_is_asked(url: str) -> None:
    history = mt.history(url)
    assert repr(history) == f"History(store={url!r})"
    assert history == mt.history(url)
    with pytest.raises(mt.HistoryError, match="there is no history yet"):
        history.frame()
    record(url, DIGITS)
    assert history.frame()["id"].tolist() == [DIGITS.id]
    assert history.frame("spec_digits.py::cnn").empty


def test_trials_are_rows_with_their_values(url: str) -> None:
    record(url, DIGITS)
    frame = mt.history(url).trials(-1)
    values = {"units": "int64", "rate": "float64", "norm": "object"}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TRIAL_COLUMNS | values
    assert frame["run"].unique().tolist() == [DIGITS.id]
    assert frame["trial"].tolist() == [0, 1]
    assert frame["status"].tolist() == ["failed", "completed"]
    assert frame["reason"].fillna("").tolist() == ["OOM | killed", ""]
    assert frame["parent"].isna().tolist() == [True, False]
    assert (frame["score"][1], frame["seed"][1]) == (0.9611, 2**32 - 1)
    assert frame["units"].tolist() == [32, 64]
    assert frame["norm"].tolist() == [None, True]


def test_a_value_named_like_a_column_keeps_apart(url: str) -> None:
    trial = replace(DIGITS.trials[0], values={"epochs": 5, "value_epochs": 6})
    record(url, replace(DIGITS, trials=(trial,)))
    frame = mt.history(url).trials("-1")
    assert frame["epochs"].tolist() == [0]
    assert frame["value_epochs"].tolist() == [5]
    assert frame["value_value_epochs"].tolist() == [6]


def test_curves_are_long_and_count_epochs_on(url: str) -> None:
    record(url, DIGITS)
    frame = mt.history(url).curves(DIGITS.id[:12])
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == CURVE_COLUMNS
    assert frame["epoch"].tolist() == [3, 4, 5]
    assert frame["value"].fillna(-1.0).tolist() == [0.9, -1.0, 0.9611]
    assert math.isnan(frame["value"][1])
    assert {*frame["metric"]} == {"val_accuracy"}


def test_a_run_without_trials_has_the_same_columns(url: str) -> None:
    record(url, replace(DIGITS, trials=()))
    history = mt.history(url)
    for frame, columns in (
        (history.trials(-1), TRIAL_COLUMNS),
        (history.curves(-1), CURVE_COLUMNS),
    ):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == columns
        assert frame.empty


def test_a_run_that_is_not_there_is_said(url: str) -> None:
    record(url, DIGITS)
    for read in (mt.history(url).trials, mt.history(url).curves):
        with pytest.raises(mt.HistoryError, match=r"no run -2: .* holds 1 run"):
            read(-2)
