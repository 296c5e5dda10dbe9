"""A run is strict JSON that gives the same run back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given

from modeltune.records.json_form import from_json, to_json
from modeltune.records.runs import Best, Durations, Run, Scores
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


@pytest.mark.parametrize("key", ["status", "outcome", "trial"])
def test_a_word_no_outcome_has_is_refused(key: str) -> None:
    data = to_json(DIGITS)
    place = {"status": data, "outcome": data["verdicts"][0], "trial": data["trials"][0]}[key]
    place["outcome" if key == "outcome" else "status"] = "splendid"
    with pytest.raises(ValueError, match="'splendid' is not a valid"):
        from_json(data)
