"""Runs, trials and learning curves come as frames of documented columns and dtypes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.histories import frames
from modeltune.histories.frames import CURVE_COLUMNS, TRIAL_COLUMNS, _mean_std
from modeltune.histories.store import open_store
from modeltune.records.runs import Run, Scores
from tests.support.histories import DIGITS

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


@given(st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=5).map(tuple))
@example((math.nan, 1.0))
@example((math.inf, 1.0))
@example((1e300, 1e308))
@example((0.1, 0.1, 0.1))
def test_a_frames_means_and_deviations_are_those_of_the_run(values: tuple[float, ...]) -> None:
    run = Scores(values)
    largest = max(map(abs, values))
    rounding = 1e-15 * largest if math.isfinite(largest) else 0.0
    for rounded, exact in zip(_mean_std(run), (run.mean, run.std), strict=True):
        assert rounded == pytest.approx(exact, rel=1e-12, abs=rounding, nan_ok=True)


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


def test_a_history_shows_its_last_runs_in_a_notebook_and_why_there_is_none(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = mt.history(url)
    assert "there is no history yet" in history._repr_html_()
    monkeypatch.setattr(frames, "SHOWN_RUNS", 2)
    record(url, *(replace(DIGITS, id=f"run-{i}") for i in range(3)))
    shown = history._repr_html_()
    assert "run-2" in shown
    assert "run-0" not in shown
    assert "the last 2 of 3 runs" in shown
    assert history.run(-1).id == "run-2"
