"""What a run and its scores say of themselves."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.records.runs import RunStatus, Scores, Trial, TrialStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DIGITS


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
