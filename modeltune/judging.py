"""Judge measured scores against gates; every declared gate gets exactly one verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from modeltune.gates import COMPARE, Gate, Outcome, Reference, Severity, Statistic, Verdict
from modeltune.runs import RunStatus, Scores

FLOAT32_EPSILON = 2.0**-23
"""Keras computes metrics in float32: 342 of 360 comes back as 0.94999999, not 0.95."""


def judge(gates: Sequence[Gate], scores: Mapping[str, Scores], spec: str) -> tuple[Verdict, ...]:
    """Return one verdict per gate, in order; a gate that cannot be evaluated is an error.

    A loss on test that is not finite fails the run even when no gate looks at it.
    """
    verdicts = [_verdict(gate, scores, spec) for gate in gates]
    loss = scores.get("loss")
    if loss is not None and not loss.is_finite:
        verdicts.append(
            Verdict(
                "loss is finite (always on)", Outcome.FAILED, loss.mean, None, _not_finite(loss)
            )
        )
    return tuple(verdicts)


def not_measured(gates: Sequence[Gate], reason: str) -> tuple[Verdict, ...]:
    """Return an error verdict for every gate of a run that ended before it was measured."""
    return tuple(
        Verdict(repr(gate), Outcome.ERROR, None, None, f"not measured: {reason}") for gate in gates
    )


def status_of(verdicts: Sequence[Verdict], strict: bool = False) -> RunStatus:
    """Return PASSED when no verdict is red."""
    red = any(verdict.outcome.is_red(strict) for verdict in verdicts)
    return RunStatus.FAILED if red else RunStatus.PASSED


def _verdict(gate: Gate, scores: Mapping[str, Scores], spec: str) -> Verdict:
    measured = scores.get(gate.measure.key)
    bound = None if isinstance(gate.bound, Reference) else float(gate.bound)  # type: ignore[arg-type]
    if measured is None or not measured.values:
        available = ", ".join(sorted(scores)) or "nothing"
        reason = f'no metric "{gate.measure.key}" in {spec}; measured: {available}'
        return Verdict(repr(gate), Outcome.ERROR, None, bound, reason)
    value = _statistic(gate, measured)
    if value is None:
        reason = (
            "the standard deviation of one refit is not defined; validate with two or more seeds"
        )
        return Verdict(repr(gate), Outcome.ERROR, None, bound, reason)
    if not math.isfinite(value):
        # Whatever the severity: a model that cannot be measured is never green.
        return Verdict(repr(gate), Outcome.FAILED, value, bound, _not_finite(measured))
    if bound is None:
        reason = f"no accepted run to compare with; measured {value:.6g}"
        return Verdict(repr(gate), Outcome.NO_BASELINE, value, None, reason)
    if holds(value, gate.comparison, bound):
        return Verdict(repr(gate), Outcome.PASSED, value, bound, _compared(gate, value, bound))
    outside = Outcome.WARNED if gate.severity is Severity.WARN else Outcome.FAILED
    return Verdict(repr(gate), outside, value, bound, _compared(gate, value, bound))


def holds(value: float, comparison: str, bound: float) -> bool:
    """Compare as float32 would: a value within one float32 step of the bound equals it."""
    if _is_on(value, bound):
        return comparison in (">=", "<=")
    return COMPARE[comparison](value, bound)


def _is_on(value: float, bound: float) -> bool:
    # A whole number was counted, or came out exact: 50_000_001 parameters are above 50_000_000.
    step = 0.0 if value.is_integer() else FLOAT32_EPSILON * max(abs(value), abs(bound))
    return abs(value - bound) <= step


def _statistic(gate: Gate, scores: Scores) -> float | None:
    if gate.measure.statistic is Statistic.MEAN:
        return scores.mean
    if gate.measure.statistic is Statistic.STD:
        return scores.std
    if not scores.is_finite:
        return math.nan
    return min(scores.values) if gate.wants_more else max(scores.values)


def _compared(gate: Gate, value: float, bound: float) -> str:
    if _is_on(value, bound):
        return f"{gate.measure} is on the bound"
    side = "above" if value > bound else "below"
    distance = abs(value - bound)
    # 35590, where .4g says 3.559e+04.
    said = f"{distance:.0f}" if 1e4 <= distance < 1e15 else f"{distance:.4g}"
    return f"{gate.measure} is {said} {side} the bound"


def _not_finite(scores: Scores) -> str:
    return f"not finite: measured {', '.join(f'{value:.6g}' for value in scores.values)}"
