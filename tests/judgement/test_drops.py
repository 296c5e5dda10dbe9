"""Where a model got worse, and on which samples, is found in what both runs did on the same test samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.judgement.drops import with_parts_and_samples
from modeltune.judgement.measurements import Measurements
from modeltune.records.drops import Drop, WorsePart
from modeltune.records.past import Past
from modeltune.records.samples import Groups, Samples
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults
from modeltune.specs.gates import Gate
from tests.support.verdicts import verdict_on

TRUTH = np.arange(100) % 2
VIP = np.arange(100) < 10
REGIONS = Groups.of(np.array(["north"] * 50 + ["south"] * 50))


def answers(*wrong: int, **fields: Any) -> Samples:
    """Return samples of a refit that is wrong on these."""
    predicted = TRUTH.copy()
    predicted[list(wrong)] = 1 - TRUTH[list(wrong)]
    kept = {"slices": {"vip": VIP}} | fields
    return Samples(100, 1, {"": TRUTH}, {"": predicted[None]}, {"": [0, 1]}, **kept)


def drop(gate: Any, now: Samples | None, then: Samples | None, **details: Any) -> Drop:
    assert isinstance(gate, Gate)
    names = {"": ["cat", "dog"]}
    return with_parts_and_samples(
        Drop("1a2b", "the accepted run 1a2b"),
        verdict_on(gate, Outcome.FAILED, **details),
        Measurements({}, samples=now, class_names=names),
        Past("1a2b", "the accepted run 1a2b", samples=then),
        {"region": REGIONS},
    )


ACCURACY = mt.metric("f1") >= mt.baseline


def test_flipped_samples_are_listed_with_both_answers() -> None:
    found = drop(ACCURACY, answers(1, 60), answers(2))
    assert found.flips == 2
    assert [(s.row, s.truth, s.then, s.now) for s in found.samples] == [
        (1, "1 dog", "1 dog", "0 cat"),
        (60, "0 cat", "0 cat", "1 dog"),
    ]
    many = drop(ACCURACY, answers(*range(30)), answers())
    assert (many.flips, len(many.samples)) == (30, 10)


def test_classes_slices_and_groups_that_lost_more_than_the_rest_are_named_worst_first() -> None:
    found = drop(ACCURACY, answers(51, 53, 55, 57), answers())
    assert found.values == "right answers"
    assert found.parts == (
        WorsePart("class 1 dog", 50, 1.0, 0.92),
        WorsePart('region "south"', 50, 1.0, 0.92),
    )
    # Where all lose alike none is named.
    assert drop(ACCURACY, answers(1, 12, 23, 34, 45, 56, 67, 78, 89, 90), answers()).parts == ()


def test_samples_of_a_red_slice_are_those_listed() -> None:
    gate = mt.metric("negative_flips").on("vip", len) <= 0
    assert [s.row for s in drop(gate, answers(3, 60), answers()).samples] == [3]
    gate = mt.metric("f1").per_class() >= mt.baseline
    of_class = SliceResult("class 1", 50, Outcome.FAILED, 0.9, 0.95, "", label=1)
    other = SliceResult("class 0", 50, Outcome.PASSED, 1.0, 0.95, "", label=0)
    details = SliceResults((of_class, other))
    found = drop(gate, answers(4, 5), answers(), details=details)
    assert [s.row for s in found.samples] == [5]


def test_of_numbers_the_errors_that_grew_most_are_listed() -> None:
    truth = np.zeros((100, 1), np.float32)
    then, now = np.ones((1, 100, 1), np.float32), np.ones((1, 100, 1), np.float32)
    now[0, 70], now[0, 20] = 4, -3
    sides = [Samples(100, 1, {"": truth}, {"": predicted}) for predicted in (now, then)]
    found = drop(mt.metric("rmse") <= mt.baseline, *sides)
    assert (found.values, found.flips) == ("absolute error", None)
    assert [(s.row, s.loss, s.now) for s in found.samples] == [(70, 3.0, "4"), (20, 2.0, "-3")]
    assert [part.name for part in found.parts] == ['region "south"']


def test_a_metric_of_its_own_values_is_compared_by_these() -> None:
    now, then = np.full((1, 100), 0.5, np.float32), np.full((1, 100), 0.5, np.float32)
    now[0, 9] = 2.5
    sides = [Samples(100, 1, {"": TRUTH}, values={"loss": values}) for values in (now, then)]
    found = drop(mt.metric("loss") <= mt.baseline, *sides)
    assert [(s.row, s.loss) for s in found.samples] == [(9, 2.0)]


@pytest.mark.parametrize(
    ("gate", "now", "then", "words"),
    [
        (ACCURACY, answers(), None, "what the accepted run 1a2b did on each was not kept"),
        (ACCURACY, None, answers(), "what this run did on each was not kept"),
        (ACCURACY, answers(), Samples(3, 1), "was measured on other test samples"),
        (ACCURACY, Samples(100, 1), Samples(100, 1), "f1 has no value of a single sample"),
    ],
    ids=["none then", "none now", "others", "no values"],
)
def test_what_cannot_be_told_is_said(
    gate: Any, now: Samples | None, then: Samples | None, words: str
) -> None:
    found = drop(gate, now, then)
    assert not found.samples
    assert words in found.untold[0]


def test_a_gate_on_a_resource_has_no_samples() -> None:
    assert drop(mt.metric("parameters") <= mt.baseline, answers(), answers()) == Drop(
        "1a2b", "the accepted run 1a2b"
    )
