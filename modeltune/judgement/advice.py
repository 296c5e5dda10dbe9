"""Advise on gates to look at: far from what runs measure, unable to see a drop, or on an old baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from datetime import date, datetime

from modeltune.records import Outcome, Past, Scores, Summary, Unit, Verdict
from modeltune.specs import Behaviour, Gate, Reference, Source, Statistic

LAST = 10
"""How many of the last runs are looked at."""

ENOUGH = 5
"""The fewest runs that say something about a bound."""

STALE_DAYS = 180

CLEAR = 3.0
"""How many standard deviations, over runs or seeds, a distance must be to count as more than noise."""


def advise(
    gates: Sequence[Gate | Behaviour],
    verdicts: Sequence[Verdict],
    recent: Sequence[Summary],
    accepted: Past | None,
    today: date,
) -> tuple[str, ...]:
    """Return what the author of these gates should look at, one line each; it changes no verdict.

    Args:
        gates: of the spec as it is.
        verdicts: on them, in their order.
        recent: the last finished runs of the spec, the newest first.
        accepted: the baseline, if there is one.
        today: the day.
    """
    return (
        *_far_bounds(gates, recent[:LAST]),
        *_blind(verdicts),
        *_stale(gates, recent[:LAST], accepted, today),
    )


def _far_bounds(gates: Sequence[Gate | Behaviour], recent: Sequence[Summary]) -> Iterator[str]:
    """Yield the gates whose bound is far from the worst of the last runs.

    The bound on a share between 0 and 1 is far when twice the error of the worst run would still
    pass, any other bound when it is a quarter of the value away.
    """
    for gate in gates:
        if isinstance(gate, Behaviour) or not isinstance(gate.bound, int | float):
            continue
        if gate.measure.statistic is Statistic.STD or gate.measure.slices is not None:
            continue
        if gate.measure.export is not None:  # the scores of runs are those of the tuned model
            continue
        measured = _scores_of(gate, recent)
        if len(measured) < ENOUGH:
            continue
        sign = 1 if gate.wants_more else -1
        values = [sign * scores.mean for scores in measured]
        worst, bound = min(values), sign * float(gate.bound)
        spread = _spread(measured)
        slack = worst - bound
        is_share = gate.wants_more and all(0 <= scores.mean <= 1 for scores in measured)
        far = 1 - worst if is_share else 0.25 * abs(worst)
        if slack <= max(CLEAR * spread, far, 1e-9):
            continue
        suggested = _round(sign * (worst - max(CLEAR * spread, 0.1 * slack)), down=sign > 0)
        low, high = sorted((sign * min(values), sign * max(values)))
        yield (
            f"{gate!r} is far from what is measured: {low:.4g} to {high:.4g} in the last "
            f"{len(measured)} runs; {gate.comparison} {suggested:g} would have passed them all"
        )


def _blind(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the regression gates that did not fail but could not have seen a drop of twice their margin."""
    for verdict in verdicts:
        regression = verdict.regression
        if regression is None or verdict.outcome in (Outcome.FAILED, Outcome.WARNED):
            continue
        margin, detectable = regression.margin, regression.detectable
        if margin <= 0 or (regression.delta == 0 and not detectable):
            continue
        if detectable is None or detectable > 2 * margin:
            drops = (
                "no drop at all"
                if detectable is None
                else f"only drops of {detectable:.2g} or more"
            )
            unit = "test samples" if regression.unit is Unit.SAMPLES else regression.unit.value
            yield (
                f"{verdict.gate} detects {drops} with the {regression.n} {unit} there are, but "
                f"allows {margin:.2g}: give it more {unit}, or a larger margin"
            )


def _stale(
    gates: Sequence[Gate | Behaviour],
    recent: Sequence[Summary],
    accepted: Past | None,
    today: date,
) -> Iterator[str]:
    """Yield a line when the baseline is old, and one when all of the last runs are better than it."""
    if accepted is None or accepted.problem or accepted.rescored:
        return
    if accepted.accepted:
        days = (today - datetime.fromisoformat(accepted.accepted).date()).days
        if days > STALE_DAYS:
            yield (
                f"the baseline was accepted {days} days ago ({accepted.run[:8]}): accept a newer run, "
                "or accept it again with a reason"
            )
    for gate in gates:
        if isinstance(gate, Behaviour) or not isinstance(gate.bound, Reference):
            continue
        if gate.bound.source is not Source.BASELINE or gate.margin is not None:
            continue
        measured, past = _scores_of(gate, recent), accepted.scores.get(gate.measure.key)
        if gate.measure.slices is not None or past is None or len(measured) < ENOUGH:
            continue
        sign = 1 if gate.wants_more else -1
        behind = min(sign * (scores.mean - past.mean) for scores in measured)
        if behind > CLEAR * max(_spread(measured), past.std or 0.0) and behind > 1e-9:
            yield (
                f"all of the last {len(measured)} runs are better than the baseline in "
                f"{gate.measure.key}, by {behind:.4g} or more: accept one, or a drop back to "
                f"{past.mean:.4g} would pass {gate!r}"
            )


def _scores_of(gate: Gate, recent: Sequence[Summary]) -> list[Scores]:
    measured = (summary.scores.get(gate.measure.key) for summary in recent)
    return [scores for scores in measured if scores is not None and scores.is_finite]


def _spread(measured: Sequence[Scores]) -> float:
    """Return the larger of the deviation over runs and the typical one over seeds."""
    means = [scores.mean for scores in measured]
    over_seeds = [scores.std for scores in measured if scores.std is not None]
    return max(statistics.stdev(means), statistics.median(over_seeds) if over_seeds else 0.0)


def _round(value: float, *, down: bool) -> float:
    """Return the number with three digits on the lenient side of a bound."""
    if value == 0:
        return 0.0
    scale = 10.0 ** (2 - math.floor(math.log10(abs(value))))
    return (math.floor if down else math.ceil)(value * scale) / scale
