"""Judge what a probe found about a model's behaviour: no violation at all, or a share of them."""

from __future__ import annotations

import math

from modeltune.judgement.significance import wilson
from modeltune.records import BehaviourResult, Outcome, Probe, Verdict, facts_of
from modeltune.specs import Behaviour, Kind, Severity, Z

CONFIDENCE = 0.9
"""The confidence of a share's interval; each of its two ends is right in 95 of 100 cases."""


def judge_behaviour(behaviour: Behaviour, probe: Probe) -> Verdict:
    """Return the verdict on a behaviour; a probe that could not be made is an error."""
    limit = behaviour.max_violation
    bound = 0.0 if limit is None else float(limit)
    measured: float | None = None
    result = BehaviourResult(probe)
    if probe.error is not None:
        outcome, reason = Outcome.ERROR, probe.error
    elif not probe.examples:
        outcome, reason = Outcome.ERROR, "nothing was tried"
    elif limit is None:
        outcome, measured, reason = _for_all(behaviour, probe)
    else:
        low, high = wilson(probe.violations, probe.examples, CONFIDENCE)
        result = BehaviourResult(probe, low, high)
        outcome, measured, reason = _rate(behaviour, probe, low, high)
    facts = facts_of(behaviour)
    return Verdict(repr(behaviour), outcome, measured, bound, reason, facts, result)


def examples_to_settle(share: float, limit: float) -> int | None:
    """Return how many examples decide if the share stays; None when it is the limit itself.

    Wilson's bounds leave the limit out when the score test does: n (share - limit)^2 is at least
    z^2 limit (1 - limit).
    """
    if abs(share - limit) < 1e-6:
        return None
    return math.ceil(limit * (1 - limit) * (Z / (share - limit)) ** 2)


def _for_all(behaviour: Behaviour, probe: Probe) -> tuple[Outcome, float, str]:
    measured = float(probe.violations)
    if not probe.violations:
        what = "case" if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY else "example"
        every = "all there are" if probe.is_exhaustive and what == "example" else "all"
        plural = "" if probe.examples == 1 else "s"
        return Outcome.PASSED, measured, f"held in {every} {probe.examples} {what}{plural}"
    return _violation_outcome(behaviour), measured, _counterexample(probe)


def _rate(
    behaviour: Behaviour, probe: Probe, low: float, high: float
) -> tuple[Outcome, float, str]:
    limit, share = float(behaviour.max_violation), probe.violations / probe.examples
    counts = (
        f"{probe.violations} of {probe.examples} examples violate it, one-sided 95% bounds "
        f"{_percent(low)} and {_percent(high)}; {_percent(limit)} may violate it"
    )
    if high <= limit:
        return Outcome.PASSED, share, counts
    if low > limit:
        return _violation_outcome(behaviour), share, f"{counts}; {_counterexample(probe)}"
    needed = examples_to_settle(share, limit)
    if needed is None:
        advice = "the share is on the limit, no number of examples would settle it"
    else:
        step: int = 10 ** max(0, len(str(needed)) - 2)
        advice = f"some {-(-needed // step) * step} examples would settle it if the share stays"
    return Outcome.INCONCLUSIVE, share, f"{counts}; {advice}"


def _violation_outcome(behaviour: Behaviour) -> Outcome:
    return Outcome.WARNED if behaviour.severity is Severity.WARN else Outcome.FAILED


def _counterexample(probe: Probe) -> str:
    if probe.counterexample is None:
        return "no counter-example was kept"
    known = ", known from an earlier run" if probe.counterexample.known else ""
    return f"{probe.counterexample.text}{known}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
