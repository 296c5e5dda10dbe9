"""A run is a record: strict JSON that gives the same run back."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from modeltune.records.json_form import from_json, to_json
from modeltune.records.plain_data import plain
from modeltune.records.runs import Best, Durations, Run, RunStatus, Scores, Trial, TrialStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DIGITS, runs


def through_json(run: Run) -> Run:
    return from_json(json.loads(json.dumps(to_json(run), allow_nan=False)))


@given(run=runs)
def test_law_every_run_survives_json(run: Run) -> None:
    # By repr: it finds NaN equal to itself, and tells 1 from True.
    assert repr(through_json(run)) == repr(run)


def test_the_digits_run_survives_json() -> None:
    run = replace(DIGITS, trials=DIGITS.trials[:1])  # the other has a NaN, equal to nothing
    assert through_json(run) == run


def test_a_value_keeps_its_kind() -> None:
    values: dict[str, float | str | bool] = {
        "a": math.inf,
        "b": "inf",
        "c": 1,
        "d": 1.0,
        "e": True,
        "f": "1",
        "g": math.nan,
    }
    best = Best(trial=1, score=-math.inf, values=values)
    run = replace(DIGITS, best=best, trials=(replace(DIGITS.trials[1], values=values),))
    assert repr(through_json(run)) == repr(run)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_survive_wherever_they_are_measured(value: float) -> None:
    run = replace(
        DIGITS,
        scores={"loss": Scores((value, 1.0))},
        durations=Durations(value, value, value),
        verdicts=(replace(DIGITS.verdicts[0], measured=value, bound=value),),
        trials=(replace(DIGITS.trials[1], score=value, seconds=value, curve={"loss": (value,)}),),
    )
    assert repr(through_json(run)) == repr(run)


def test_the_keys_of_a_run_are_those_of_the_report() -> None:
    data = to_json(DIGITS)
    named = "id spec status cached scores verdicts best trials search durations data environment"
    assert {*named.split(), "baseline"} <= set(data)
    assert set(data["scores"]["accuracy"]) == {"mean", "std", "values"}
    assert list(data["verdicts"][0]) == [
        "gate",
        "outcome",
        "measured",
        "bound",
        "reason",
        "facts",
        "details",
    ]
    assert data["status"] == "failed"
    assert data["trials"][1]["curve"] == {"val_accuracy": [0.9, "nan", 0.9611]}


def test_the_mean_and_the_deviation_stand_beside_the_values() -> None:
    data = to_json(replace(DIGITS, scores={"a": Scores((1.0, 3.0)), "b": Scores((2.0,))}))
    assert data["scores"] == {
        "a": {"mean": 2.0, "std": pytest.approx(math.sqrt(2)), "values": [1.0, 3.0]},
        "b": {"mean": 2.0, "std": None, "values": [2.0]},
    }


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


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("a", "a"),
        (0.5, 0.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (Color.RED, "red"),
        ((1, (2, [3])), [1, [2, [3]]]),
        (OrderedDict(a=(1,)), {"a": [1]}),
        ({0: 1.5}, {"0": 1.5}),
        (Durations(1.0), {"data": 1.0, "search": 0.0, "validation": 0.0}),
        ({"a": Durations(2.0)}, {"a": {"data": 2.0, "search": 0.0, "validation": 0.0}}),
    ],
)
def test_plain_data(value: object, data: object) -> None:
    assert plain(value) == data
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        1j,
        Decimal("0.1"),
        Path("a"),
        object(),
        Durations,
        len,
        np.zeros(2),
        np.float32(1),
        np.int64(1),
        [{"deep": object()}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_types_have_no_place_in_a_run(value: object) -> None:
    with pytest.raises(TypeError, match="has no place in a run record"):
        plain(value)


def test_only_completed_trials_count_as_completed() -> None:
    failed, completed = DIGITS.trials
    assert (failed.status, completed.status) == (TrialStatus.FAILED, TrialStatus.COMPLETED)
    assert DIGITS.completed_trials == (completed,)


@pytest.mark.parametrize("status", RunStatus)
def test_only_a_passed_run_is_green(status: RunStatus) -> None:
    assert replace(DIGITS, status=status).passed is (status is RunStatus.PASSED)


@pytest.mark.parametrize("key", ["status", "outcome", "trial"])
def test_a_word_no_outcome_has_is_refused(key: str) -> None:
    data = to_json(DIGITS)
    place = {"status": data, "outcome": data["verdicts"][0], "trial": data["trials"][0]}[key]
    place["outcome" if key == "outcome" else "status"] = "splendid"
    with pytest.raises(ValueError, match="'splendid' is not a valid"):
        from_json(data)


def test_records_are_plain_values() -> None:
    assert isinstance(DIGITS.trials[0], Trial)
    assert {outcome.value for outcome in Outcome} >= {v.outcome.value for v in DIGITS.verdicts}
