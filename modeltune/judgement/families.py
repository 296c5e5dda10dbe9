"""Judge the comparisons of several runs together: all of a session, or of the jobs it was split over.

A run is judged when it ends, by what its spec may spend whatever the others come to: what fails then
fails in the end. What the others leave it in addition is known once all have ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from modeltune.ground import false_discovery_level, holm_level
from modeltune.judgement.allowances import Allowance, share_of_look
from modeltune.judgement.bounds import float32_step
from modeltune.judgement.gate_verdicts import WORST_FIRST, as_declared
from modeltune.judgement.run_status import Strictness, status_of
from modeltune.judgement.significance import ALPHA, TOLERANCE
from modeltune.records import (
    Family,
    FamilyKind,
    MetricFacts,
    Outcome,
    Regression,
    Run,
    RunStatus,
    SliceResult,
    SliceResults,
    Verdict,
)
from modeltune.specs import Operator


def family_of(runs: Sequence[Run]) -> Family | None:
    """Return the family that the comparisons of these runs of one session were judged in.

    None where there is no comparison, or each spec has an error rate of its own.
    """
    found = [
        regression.family
        for run in runs
        for verdict in run.verdicts
        for regression in verdict.regressions
        if regression.family is not None
    ]
    if not found:
        return None
    return Family(found[0].kind, max(*(one.specs for one in found), compared_specs(runs)))


def compared_specs(runs: Sequence[Run]) -> int:
    """Return how many of these runs have gates against recorded runs."""
    return sum(any(_is_against_run(verdict) for verdict in run.verdicts) for run in runs)


def judge_family(runs: Sequence[Run], family: Family, today: date | None = None) -> tuple[Run, ...]:
    """Return the runs with their comparisons judged as one family; runs that stay as they are, as they are.

    Only what is recorded is used: the p-values of comparisons, and whether a drop is beyond its margin.

    Args:
        runs: the latest run of each spec.
        family: the error rate, and how many specs share it: those that have not ended among them.
        today: the day waivers are held against; default: this one, in UTC.
    """
    today = today or datetime.now(UTC).date()
    specs = [[p for verdict in run.verdicts for p in _alarms(verdict)] for run in runs]
    choose = false_discovery_level if family.kind is FamilyKind.FDR else holm_level
    level = choose(specs, family.specs, ALPHA)
    judged = []
    for run in runs:
        verdicts = tuple(_judge(verdict, family, level, today) for verdict in run.verdicts)
        judged.append(replace(run, verdicts=verdicts, status=_status(run, verdicts)))
    return tuple(judged)


def _status(run: Run, verdicts: Sequence[Verdict]) -> RunStatus:
    pairs = [
        [verdict.outcome.is_red(run.strict) for verdict in both]
        for both in zip(run.verdicts, verdicts, strict=True)
    ]
    if run.passed and [False, True] in pairs:
        return RunStatus.FAILED
    if run.status is RunStatus.FAILED and [True, False] in pairs:
        return status_of(verdicts, Strictness(run.strict), run.checks)
    return run.status


def open_gates(run: Run) -> list[str]:
    """Return the gates of a run that the other specs of its session may still turn red, as typed."""
    return [
        verdict.gate
        for verdict in run.verdicts
        if verdict.outcome is Outcome.INCONCLUSIVE
        and any(p <= ALPHA for p in _alarms(verdict))
        and any((one.family.specs if one.family else 1) > 1 for one in verdict.regressions)
    ]


def _is_against_run(verdict: Verdict) -> bool:
    return isinstance(verdict.facts, MetricFacts) and verdict.facts.reference is not None


def _alarms(verdict: Verdict) -> Iterator[float]:
    """Yield the p-value of each comparison of a gate, as if its spec were alone; 1 where nothing would fail."""
    details = verdict.details
    if isinstance(details, Regression):
        yield _alarm(verdict, details, verdict)
    elif isinstance(details, SliceResults):
        for part in details.slices:
            if part.regression is not None:
                yield _alarm(verdict, part.regression, part)


def _alarm(verdict: Verdict, regression: Regression, part: Verdict | SliceResult) -> float:
    step = 0.0
    if part.measured is not None and part.bound is not None:
        step = float32_step(part.measured, part.bound)
    facts, margin = verdict.facts, regression.margin + step + TOLERANCE
    is_same = isinstance(facts, MetricFacts) and facts.comparison is Operator.WITHIN
    is_beyond = abs(regression.delta) > margin if is_same else regression.delta < -margin
    # As many stages, and looks, as there are share alpha: what is left is what a family has.
    own = regression.alpha * share_of_look(regression.look)
    return min(1.0, regression.p_adjusted * ALPHA / own) if is_beyond else 1.0


def _judge(verdict: Verdict, family: Family, level: float, today: date) -> Verdict:
    """Return the verdict of a gate with its comparisons held against the family's level."""
    facts, details = verdict.facts, verdict.details
    if not isinstance(facts, MetricFacts) or not verdict.regressions:
        return verdict
    if verdict.outcome is Outcome.FAILED and facts.waiver is not None:
        return verdict  # for the waiver's sake
    if isinstance(details, Regression):
        raw, regression = _raw(verdict.outcome), _in_family(details, family, level)
        outcome = _outcome(raw, _alarm(verdict, details, verdict), level)
        verdict = replace(verdict, details=regression)
        if outcome is raw:
            return verdict
        reason = _changed(verdict.reason, outcome, regression)
        changed = replace(verdict, outcome=outcome, reason=reason)
        return as_declared(facts.severity, facts.waiver, changed, today)
    assert isinstance(details, SliceResults)
    parts = []
    for part in details.slices:
        if part.regression is not None:
            regression = _in_family(part.regression, family, level)
            outcome = _outcome(part.outcome, _alarm(verdict, part.regression, part), level)
            reason = part.reason
            if outcome is not part.outcome:
                reason = _changed(reason, outcome, regression)
            part = replace(part, outcome=outcome, reason=reason, regression=regression)
        parts.append(part)
    before = [part.outcome for part in details.slices]
    ordered = tuple(sorted(parts, key=lambda part: WORST_FIRST.index(part.outcome)))
    verdict = replace(verdict, details=replace(details, slices=ordered))
    if before == [part.outcome for part in parts]:
        return verdict
    worst = ordered[0]
    same = sum(part.outcome is worst.outcome for part in ordered)
    changed = replace(
        verdict,
        outcome=worst.outcome,
        measured=worst.measured,
        bound=worst.bound,
        reason=f"{worst.reason} ({same} of {len(ordered)} slices {worst.outcome.value})",
    )
    return as_declared(facts.severity, facts.waiver, changed, today)


def _raw(outcome: Outcome) -> Outcome:
    """Return the outcome of a gate without its severity and its waiver."""
    return Outcome.FAILED if outcome in (Outcome.WARNED, Outcome.WAIVED) else outcome


def _outcome(raw: Outcome, p: float, level: float) -> Outcome:
    if raw not in (Outcome.FAILED, Outcome.INCONCLUSIVE) or p == 1.0:
        return raw
    return Outcome.FAILED if p <= level else Outcome.INCONCLUSIVE


def _in_family(regression: Regression, family: Family, level: float) -> Regression:
    own = regression.alpha * share_of_look(regression.look)
    held = level * own / ALPHA
    if regression.family == family and math.isclose(held, regression.level or 0.0):
        return regression  # to the last digit as it was
    return replace(regression, family=family, level=held)


def _changed(reason: str, outcome: Outcome, regression: Regression) -> str:
    """Return why a comparison came to another outcome; what would have settled it is not said any more."""
    verb = "fails" if outcome is Outcome.FAILED else "cannot tell"
    reason = reason.partition(": cannot tell; ")[0]
    assert regression.level is not None
    allowance = Allowance(regression.family, regression.look)
    return (
        f"{reason}; judged with all specs it {verb}: p = {regression.p_adjusted:.2g}, and "
        f"{regression.level:.2g} or less fails ({allowance})"
    )
