"""Judge a number against a number, as float32 would compare them."""

from __future__ import annotations

import math
from dataclasses import replace

from modeltune.judgement.measurements import Case
from modeltune.records import MeasuredInterval, Outcome, Verdict
from modeltune.specs import Operator

FLOAT32_EPSILON = 2.0**-23
"""Keras computes metrics in float32: 342 of 360 comes back as 0.94999999, not 0.95."""


def judge_number(case: Case, value: float, bound: float, note: str = "") -> Verdict:
    """Return whether a value is on the right side of the bound."""
    outcome = Outcome.PASSED if holds(value, case.facts.comparison, bound) else Outcome.FAILED
    return case.verdict(outcome, value, bound, _distance(case, value, bound) + note)


def judge_interval(
    case: Case, value: float, bound: float, interval: tuple[float, float, float]
) -> Verdict:
    """Return whether the value's whole interval is on one side; inconclusive when it is on both."""
    _, low, high = interval
    sides = [holds(end, case.facts.comparison, bound) for end in (low, high)]
    reason = f"{_distance(case, value, bound)}; 90 % interval {low:.4g} to {high:.4g}"
    if all(sides):
        outcome = Outcome.PASSED
    elif any(sides):
        outcome = Outcome.INCONCLUSIVE
        reason += ", which has the bound in it"
    else:
        outcome = Outcome.FAILED
    return case.verdict(outcome, value, bound, reason, MeasuredInterval(low, high, 0.9))


def holds(value: float, comparison: Operator, bound: float) -> bool:
    """Compare as float32 would: a value within one float32 step of the bound equals it."""
    if is_on(value, bound):
        return not comparison.is_strict
    return comparison.holds(value, bound)


def is_on(value: float, bound: float) -> bool:
    """Tell whether a value is within one float32 step of the bound."""
    return math.isfinite(value - bound) and abs(value - bound) <= float32_step(value, bound)


def float32_step(value: float, bound: float) -> float:
    """Return how far apart float32 may bring two equal numbers of this size."""
    # A whole number was counted, or came out exact: 50_000_001 parameters are above 50_000_000.
    return 0.0 if value.is_integer() else FLOAT32_EPSILON * max(abs(value), abs(bound))


def _distance(case: Case, value: float, bound: float) -> str:
    measure = replace(case.gate.measure, slices=None)
    if is_on(value, bound):
        return f"{measure} is on the bound"
    side = "above" if value > bound else "below"
    distance = abs(value - bound)
    # 35590, where .4g says 3.559e+04.
    amount = f"{distance:.0f}" if 1e4 <= distance < 1e15 else f"{distance:.4g}"
    return f"{measure} is {amount} {side} the bound"
