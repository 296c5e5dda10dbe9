"""A silenced check says what it found, and makes no run red."""

from __future__ import annotations

import math

from modeltune.judgement.silenced_checks import silence
from modeltune.records.check_codes import LOSS_IS_FINITE
from modeltune.records.facts import Area
from modeltune.records.verdicts import Outcome, check_verdict


def test_what_a_silenced_check_found_is_waived_and_says_so() -> None:
    red = check_verdict(Area.MODEL, "integrity.evaluate", Outcome.FAILED, 1.0, 0.0, "they differ")
    fine = check_verdict(Area.SEARCH, "search.bounds", Outcome.PASSED, 0.0, 0.0, "inside")
    other = check_verdict(Area.DATA, "checks.drift", Outcome.WARNED, 0.5, 0.1, "apart")
    waived, *left = silence([red, fine, other], {"integrity.evaluate", "search.bounds"})
    assert (waived.outcome, waived.measured) == (Outcome.WAIVED, 1.0)
    assert waived.reason.startswith("silenced, by checks= of the spec")
    assert waived.reason.endswith("(MT303): they differ")
    assert left == [fine, other]


def test_a_loss_that_is_not_finite_is_red_whatever_is_silenced() -> None:
    lost = check_verdict(Area.MODEL, LOSS_IS_FINITE, Outcome.FAILED, math.nan, None, "nan")
    assert silence([lost], {LOSS_IS_FINITE}) == (lost,)
