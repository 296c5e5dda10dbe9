"""What a run and its scores say of themselves."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.records.runs import RunStatus, Scores, Trial, TrialStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DIGITS
from tests.support.hostile import HOSTILE, hostile_run


@pytest.mark.parametrize("values", [(math.nan, 1.0), (math.inf, -math.inf), ()])
def test_the_mean_of_what_is_not_finite_is_not_finite(values: tuple[float, ...]) -> None:
    scores = Scores(values)
    assert not scores.is_finite
    assert math.isnan(scores.mean)
    assert scores.std is None or math.isnan(scores.std)


def test_the_largest_numbers_have_a_mean() -> None:
    largest = 1.7976931348623157e308
    assert Scores((largest, largest)).mean == largest
    assert Scores((largest, -largest)).std == math.inf


def test_one_refit_has_no_deviation() -> None:
    assert Scores((0.9,)).std is None


def test_only_completed_trials_count_as_completed() -> None:
    failed, completed = DIGITS.trials
    assert (failed.status, completed.status) == (TrialStatus.FAILED, TrialStatus.COMPLETED)
    assert DIGITS.completed_trials == (completed,)


@pytest.mark.parametrize("status", RunStatus)
def test_only_a_passed_run_is_green(status: RunStatus) -> None:
    assert replace(DIGITS, status=status).passed is (status is RunStatus.PASSED)


def test_records_are_plain_values() -> None:
    assert isinstance(DIGITS.trials[0], Trial)
    assert {outcome.value for outcome in Outcome} >= {v.outcome.value for v in DIGITS.verdicts}


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=5))
def test_law_mean_and_deviation_are_those_of_the_statistics_module(values: list[float]) -> None:
    scores = Scores(tuple(values))
    assert min(values) <= scores.mean <= max(values)
    try:
        expected: Any = statistics.stdev(values)
    except OverflowError:
        expected = math.inf
    assert scores.std == expected


def test_a_run_and_what_it_consists_of_print_in_a_line_each() -> None:
    assert repr(DIGITS) == str(DIGITS) == (
        "<Run 20261120-211000-0a1b2c3d of spec_digits.py::mlp: failed, accuracy 0.9496 ± 0.0014, "
        "gates: 1 failed, 1 passed, 1 error, 1 inconclusive>"
    )  # fmt: skip
    assert [f"{trial}" for trial in DIGITS.trials] == [
        "<Trial 0: failed, OOM | killed, units=32>",
        "<Trial 1: completed, score 0.9611, units=64, rate=0.001, norm=True>",
    ]
    below = DIGITS.verdicts[0]
    assert repr(below) == '<Verdict failed: mt.metric("accuracy") >= 0.95, measured 0.94999>'
    assert str(below).endswith("measured 0.94999: 1e-05 below the bound")
    assert f"{DIGITS.scores['accuracy']}, {Scores((0.5,))}" == "0.9496 ± 0.0014, 0.5"


def test_outcomes_and_statuses_print_as_words() -> None:
    printed = f"{DIGITS.status} {DIGITS.trials[0].status} {DIGITS.verdicts[0].outcome}"
    assert printed == "failed failed failed"
    assert str(mt.maximize("val_accuracy").direction) == "max"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_run_is_called_prints_on_one_line(text: str) -> None:
    run = hostile_run(text * 50, RunStatus.ERROR)
    for value in (run, *run.trials, *run.verdicts):
        for line in (repr(value), str(value)):
            assert line.isprintable()
            assert len(line) < 1_000
