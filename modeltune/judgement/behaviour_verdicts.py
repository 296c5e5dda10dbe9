"""Judge what was probed of a model's behaviour: no violation at all, or a share of them."""

from __future__ import annotations

import math
from typing import Any

from modeltune.judgement.significance import wilson
from modeltune.specs import Behaviour, Kind, Outcome, Probed, Severity, Verdict, Z

CONFIDENCE = 0.9
"""Of the interval of a share; each of its bounds is right in 95 of 100."""


def verdict(behaviour: Behaviour, probed: Probed) -> Verdict:
    """Return what the probe says about the behaviour; one that could not be made is an error."""
    limit = behaviour.max_violation
    details: dict[str, Any] = {
        "kind": behaviour.kind.value,
        "mode": "for_all" if limit is None else "rate",
        "examples": probed.examples,
        "violations": probed.violations,
        "is_exhaustive": probed.is_exhaustive,
        "tolerance": probed.tolerance,
        "counterexample": probed.counterexample,
    }
    bound = 0.0 if limit is None else float(limit)
    if probed.error is not None:
        return Verdict(repr(behaviour), Outcome.ERROR, None, bound, probed.error, details)
    if not probed.examples:
        reason = "nothing was tried"
        return Verdict(repr(behaviour), Outcome.ERROR, None, bound, reason, details)
    if limit is None:
        outcome, measured, reason = _for_all(behaviour, probed)
    else:
        low, high = wilson(probed.violations, probed.examples, CONFIDENCE)
        details |= {"share": probed.violations / probed.examples, "low": low, "high": high}
        outcome, measured, reason = _rate(behaviour, probed, low, high)
    return Verdict(repr(behaviour), outcome, measured, bound, reason, details)


def examples_to_settle(share: float, limit: float) -> int | None:
    """Return how many examples decide if the share stays; None when it is the limit itself.

    Wilson's bounds leave the limit out when the score test does: n (share - limit)^2 is at least
    z^2 limit (1 - limit).
    """
    if abs(share - limit) < 1e-6:
        return None
    return math.ceil(limit * (1 - limit) * (Z / (share - limit)) ** 2)


def _for_all(behaviour: Behaviour, probed: Probed) -> tuple[Outcome, float, str]:
    measured = float(probed.violations)
    if not probed.violations:
        what = "case" if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY else "example"
        every = "all there are" if probed.is_exhaustive and what == "example" else "all"
        plural = "" if probed.examples == 1 else "s"
        return Outcome.PASSED, measured, f"held in {every} {probed.examples} {what}{plural}"
    return _violated(behaviour), measured, _shown(probed)


def _rate(
    behaviour: Behaviour, probed: Probed, low: float, high: float
) -> tuple[Outcome, float, str]:
    limit, share = float(behaviour.max_violation), probed.violations / probed.examples
    said = (
        f"{probed.violations} of {probed.examples} examples violate it, 95% bounds "
        f"{_percent(low)} and {_percent(high)}; allowed are {_percent(limit)}"
    )
    if high <= limit:
        return Outcome.PASSED, share, said
    if low > limit:
        return _violated(behaviour), share, f"{said}; {_shown(probed)}"
    needed = examples_to_settle(share, limit)
    if needed is None:
        advice = "the share is on the limit, no number of examples would settle it"
    else:
        step: int = 10 ** max(0, len(str(needed)) - 2)
        advice = f"some {-(-needed // step) * step} examples would settle it if the share stays"
    return Outcome.INCONCLUSIVE, share, f"{said}; {advice}"


def _violated(behaviour: Behaviour) -> Outcome:
    return Outcome.WARNED if behaviour.severity is Severity.WARN else Outcome.FAILED


def _shown(probed: Probed) -> str:
    if probed.counterexample is None:
        return "no counter-example was kept"
    known = ", known from an earlier run" if probed.counterexample.get("known") else ""
    return f"{probed.counterexample['text']}{known}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
