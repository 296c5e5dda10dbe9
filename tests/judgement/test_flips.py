"""What the accepted model had right and this one has wrong is counted sample by sample, whatever means say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.measurements import Measurements
from modeltune.records.past import Past
from modeltune.records.runs import Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, Verdict

TRUTH = np.arange(100) % 2
VIP = np.arange(100) < 10


def answers(*wrong: int, refits: int = 1, prefix: str = "", truth: Any = TRUTH) -> Samples:
    """Return samples of refits that are wrong on these."""
    predicted = truth.copy()
    predicted[list(wrong)] = 1 - truth[list(wrong)]
    return Samples(
        len(truth),
        refits,
        {prefix: truth},
        {prefix: np.stack([predicted] * refits)},
        {prefix: [0, 1]},
        slices={"vip": VIP},
    )


def verdict(gate: Any, now: Samples | None, then: Samples | None, **past: Any) -> Verdict:
    refits = 1 if now is None else now.refits
    measured = Measurements(
        {"accuracy": Scores((0.9,) * refits)}, tuple((n, None) for n in range(refits)), now
    )
    accepted = Past("1a2b", "the accepted run 1a2b", {}, samples=then, **past)
    (only,) = judge([gate], measured, "spec_a.py::a", {"baseline": [accepted]})
    return only


FLIPS = mt.metric("negative_flips")


def test_a_mean_that_is_no_worse_may_hide_them() -> None:
    # Three new errors, three old ones mended.
    result = verdict(FLIPS <= 0.01, answers(0, 1, 2), answers(97, 98, 99))
    assert (result.outcome, result.measured) == (Outcome.FAILED, 0.03)
    assert verdict(FLIPS <= 0.03, answers(0, 1, 2), answers(97, 98, 99)).outcome is Outcome.PASSED
    # What was wrong before, or is mended, is none.
    assert verdict(FLIPS <= 0, answers(97), answers(97, 98)).measured == 0


def test_some_samples_must_never_flip() -> None:
    assert (
        verdict(FLIPS.on("vip", len, min_n=5) <= 0, answers(50), answers()).outcome
        is Outcome.PASSED
    )
    result = verdict(FLIPS.on("vip", len, min_n=5) <= 0, answers(3, 50), answers())
    assert (result.outcome, result.measured) == (Outcome.FAILED, pytest.approx(0.1))
    assert result.reason.endswith("right before and wrong now: test sample 3")


def test_pinned_samples_are_judged_however_few_they_are() -> None:
    pinned = FLIPS.on("vip", len)
    assert verdict(pinned <= 0, answers(3), answers()).outcome is Outcome.FAILED
    assert verdict(pinned <= 0, answers(50), answers()).outcome is Outcome.PASSED
    many = verdict(FLIPS <= 0, answers(*range(20)), answers())
    assert many.reason.endswith("test samples 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more")


def test_each_class_is_judged_for_itself() -> None:
    result = verdict(FLIPS.per_class() <= 0.05, answers(1, 3, 5), answers())
    assert result.outcome is Outcome.FAILED
    assert result.reason.startswith("class 1 (n=50): ")


def test_of_several_refits_the_mean_and_the_worst_are_judged() -> None:
    samples = answers(refits=2)
    samples.predicted[""][1, :10] = 1 - TRUTH[:10]
    assert verdict(FLIPS <= 0.05, samples, answers()).measured == pytest.approx(0.05)
    assert verdict(FLIPS.worst <= 0.05, samples, answers()).outcome is Outcome.FAILED


def test_of_labels_all_have_to_be_right() -> None:
    truth = np.zeros((10, 3), bool)
    then = Samples(10, 1, {"": truth}, {"": truth[None].copy()}, {"": []})
    wrong = truth[None].copy()
    wrong[0, 4, 2] = True
    now = Samples(10, 1, {"": truth}, {"": wrong}, {"": []})
    assert verdict(FLIPS <= 0, now, then).measured == pytest.approx(0.1)


def test_an_output_has_its_own() -> None:
    gate = mt.metric("kind_negative_flips") <= 0
    assert verdict(gate, answers(4, prefix="kind_"), answers(prefix="kind_")).measured == 0.01


def test_samples_without_a_class_do_not_count() -> None:
    truth = TRUTH.copy()
    truth[:50] = -1
    result = verdict(FLIPS <= 0.01, answers(60, truth=truth), answers(truth=truth))
    assert result.measured == pytest.approx(0.02)


NUMBERS = Samples(9, 1, {"": np.zeros((9, 1), np.float32)}, {"": np.zeros((1, 9, 1), np.float32)})


@pytest.mark.parametrize(
    ("now", "then", "outcome", "words"),
    [
        (answers(), answers(truth=1 - TRUTH), "invalid", "accept a run on today's data"),
        (answers(), answers(truth=TRUTH[:50]), "invalid", "has no predictions for these"),
        (answers(), None, "invalid", "the accepted run 1a2b has no predictions"),
        (NUMBERS, NUMBERS, "error", "the output has no classes"),
        (None, answers(), "error", "its predictions are not kept"),
    ],
    ids=["other truth", "other size", "no samples then", "numbers", "no samples now"],
)
def test_what_cannot_be_counted_says_why(
    now: Samples | None, then: Samples | None, outcome: str, words: str
) -> None:
    result = verdict(FLIPS <= 0, now, then)
    assert result.outcome.value == outcome
    assert words in result.reason


def test_a_run_that_cannot_be_compared_with_is_said() -> None:
    result = verdict(FLIPS <= 0, answers(), answers(), problem="it was measured on other test data")
    assert (result.outcome, result.reason) == (
        Outcome.INVALID,
        "it was measured on other test data",
    )
    measured = Measurements({"accuracy": Scores((0.9,))}, ((0, None),), answers())
    (first,) = judge([FLIPS <= 0], measured, "a", {"baseline": "nothing is accepted yet; ..."})
    assert (first.outcome, first.reason) == (Outcome.NO_BASELINE, "nothing is accepted yet; ...")


def test_they_are_held_to_a_number() -> None:
    ((_, problem),) = (mt.baseline >= FLIPS).problems()
    assert "it is counted against the accepted run already; write a number" in problem
