"""Judge what is between groups of test samples, and say which groups are new, gone or too small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modeltune.ground import shorten
from modeltune.judgement.bounds import holds
from modeltune.judgement.measurements import Case, Slice
from modeltune.judgement.regressions import undefined
from modeltune.judgement.rows import Group
from modeltune.records import (
    BetweenGroups,
    Outcome,
    Past,
    SliceResult,
    SliceResults,
    Verdict,
)
from modeltune.specs import Between, Reference

if TYPE_CHECKING:
    from modeltune.records import Array

MOST_LISTED = 5
"""Groups that a sentence names."""


@dataclass(frozen=True)
class GroupChanges:
    """Which groups are new since a recorded run, and which it had that are gone; ``label`` is the run's."""

    label: str = ""
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [f"{listed(self.new)} new since {self.label}"] if self.new else []
        said += [f"{listed(self.gone)} gone since {self.label}"] if self.gone else []
        return "; ".join(said)


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: a few of them, each in quotes."""
    shown = ", ".join(f'"{shorten(name)}"' for name in names[:MOST_LISTED])
    left = len(names) - MOST_LISTED
    return f"{shown} and {left} more" if left > 0 else shown


def changes_of(case: Case) -> GroupChanges:
    """Return how the groups of a gate differ from those of the run it is held against, else the accepted one."""
    rule, samples = case.facts.slices, case.measured.samples
    if rule is None or not rule.is_grouped or rule.name is None or samples is None:
        return GroupChanges()
    today = samples.groups.get(rule.name)
    name = case.gate.bound.name if isinstance(case.gate.bound, Reference) else "baseline"
    pasts = case.references.get(name, "")
    known: Sequence[Past] = [] if isinstance(pasts, str) else pasts
    for past in known:
        then = past.groups_by(rule.name)
        if then and today is not None:
            new = tuple(label for label in today.labels if label not in then)
            gone = tuple(label for label in then if label not in today.labels)
            return GroupChanges(past.label, new, gone)
    return GroupChanges()


def gone_answers(case: Case, changes: GroupChanges) -> list[tuple[Slice, Verdict]]:
    """Return a verdict for each group that is gone: nothing shows that the gate holds there."""
    rule = case.facts.slices
    assert rule is not None
    assert rule.name is not None
    answers = []
    for value in changes.gone:
        part = Slice(Group(rule.name, value), 0, rule.min_n)
        reason = (
            f"{part.name} has no sample in test, and {changes.label} had some, so nothing shows that "
            "the gate holds there; add some, or accept a run without them"
        )
        answers.append((part, case.verdict(Outcome.INCONCLUSIVE, None, case.bound, reason)))
    return answers


def judge_between(case: Case, groups: Sequence[Slice], looks: int) -> Verdict:
    """Judge the largest difference, or the smallest ratio, between the groups that are large enough.

    It fails where two groups are farther apart than the bound beyond chance. Where they measure so
    but it may be chance, or a group is too small to tell, it is inconclusive.

    Args:
        case: the gate.
        groups: the groups of the test samples.
        looks: at how many stages the gate may be judged; alpha is split over them.
    """
    rule, bound = case.facts.slices, case.bound
    assert rule is not None
    assert bound is not None
    is_ratio = rule.between is Between.RATIO
    values: dict[Slice, float] = {}
    for part in groups:
        on = case.on(part)
        try:
            value = on.statistic(on.evidence().values(case.key))
        except ValueError as error:
            if part.size >= rule.min_n:
                return undefined(on, error)
            continue
        if value is None:
            continue
        if part.size >= rule.min_n and not math.isfinite(value):
            return case.verdict(Outcome.FAILED, value, bound, f"{part.name}: not finite: {value}")
        if is_ratio and value < 0:
            reason = (
                f"{part.name} measured {value:.4g}: no ratio of negative values says how far apart "
                "they are; judge their .gap"
            )
            return case.verdict(Outcome.ERROR, None, bound, reason)
        values[part] = value
    large = [part for part in values if part.size >= rule.min_n]
    small = [part for part in groups if part.size < rule.min_n]
    if len(large) < 2:
        reason = (
            f"there {'is one group' if len(large) == 1 else 'are no groups'} by "
            f'"{rule.name}" with the {rule.min_n} samples it takes to judge it, and two are compared'
        )
        results = _results(groups, values, Outcome.INCONCLUSIVE, rule.min_n, ())
        return case.verdict(Outcome.INCONCLUSIVE, None, bound, reason, SliceResults(results))
    return _judged(case, large, small, values, looks)


def _judged(
    case: Case,
    large: Sequence[Slice],
    small: Sequence[Slice],
    values: Mapping[Slice, float],
    looks: int,
) -> Verdict:
    import numpy as np

    from modeltune.judgement.evidence import MOST_UNDEFINED, group_replicates
    from modeltune.judgement.significance import ALPHA, compare_groups

    rule, bound = case.facts.slices, case.bound
    assert rule is not None
    assert bound is not None
    is_ratio, alpha = rule.between is Between.RATIO, ALPHA / looks
    ordered = sorted(large, key=values.__getitem__)
    lowest, highest = ordered[0], ordered[-1]
    low, high = values[lowest], values[highest]
    measured = high - low
    if is_ratio:
        measured = low / high if high > 0 else 1.0  # all are 0
    between: BetweenGroups | None = None
    outcome, reason = Outcome.PASSED, _distance(case, measured, lowest, highest, values)
    if not holds(measured, case.facts.comparison, bound):
        drawn: list[Array] = []
        for place, part in enumerate(large):
            scores = group_replicates(case.key, case.on(part).evidence(), place)
            known = scores[np.isfinite(scores)]
            if len(known) < (1 - MOST_UNDEFINED) * len(scores):
                reason = f"{reason}; cannot tell: {part.name} has no value on too many resamples"
                results = _results([*ordered, *small], values, Outcome.INCONCLUSIVE, rule.min_n, ())
                return case.verdict(
                    Outcome.INCONCLUSIVE, measured, bound, reason, SliceResults(results)
                )
            drawn.append(np.resize(known, len(scores)))
        sizes = [case.on(part).evidence().count(case.key) for part in large]
        middle = [values[part] for part in large]
        test = compare_groups(middle, np.column_stack(drawn), sizes, bound, is_ratio)
        outcome = Outcome.FAILED if test.p <= alpha else Outcome.INCONCLUSIVE
        between = BetweenGroups(
            lowest=_value(lowest),
            highest=_value(highest),
            groups=len(large),
            p=test.p,
            alpha=alpha,
            settle=test.settle,
        )
        reason += f"; max-t bootstrap over {len(large)} groups, p = {test.p:.2g}"
        if outcome is Outcome.INCONCLUSIVE:
            few = "more" if test.settle is None else f"about {test.settle}"
            unit = case.evidence().unit.value
            reason += f": cannot tell; {few} {unit} in each of the two would settle it"
    if small and outcome is Outcome.PASSED:
        outcome = Outcome.INCONCLUSIVE
        reason += f", but {listed([_value(part) for part in small])} too small to judge"
    results = _results([*ordered, *small], values, outcome, rule.min_n, (lowest, highest))
    return case.verdict(outcome, measured, bound, reason, SliceResults(results, between))


def _distance(
    case: Case, measured: float, lowest: Slice, highest: Slice, values: Mapping[Slice, float]
) -> str:
    rule = case.facts.slices
    assert rule is not None
    assert rule.between is not None
    low, high = (f"{part.name} ({values[part]:.4g}, n={part.size})" for part in (lowest, highest))
    return f"{rule.between.value} {measured:.4g} between {low} and {high}"


def _results(
    groups: Sequence[Slice],
    values: Mapping[Slice, float],
    outcome: Outcome,
    min_n: int,
    ends: Sequence[Slice],
) -> tuple[SliceResult, ...]:
    """Return what each group measured; those farthest apart have the gate's outcome."""
    results = []
    for part in groups:
        own, reason = Outcome.PASSED, f"{part.name} (n={part.size})"
        if part.size < min_n:
            own, reason = Outcome.INCONCLUSIVE, f"{reason}: fewer than {min_n} samples"
        elif part in ends or not ends:
            own = outcome
        results.append(
            SliceResult(
                slice=part.name,
                n=part.size,
                outcome=own,
                measured=values.get(part),
                bound=None,
                reason=reason,
                group=_value(part),
            )
        )
    return tuple(results)


def _value(part: Slice) -> str:
    return part.rows.value if isinstance(part.rows, Group) else part.name


def with_group_notes(verdict: Verdict, changes: GroupChanges) -> Verdict:
    """Return a verdict on groups that says which are new, gone, or too small to judge."""
    notes = [str(changes)] if changes.new or changes.gone else []
    details = verdict.details
    if isinstance(details, SliceResults) and details.between is None:
        small = [
            part.group
            for part in details.slices[1:]
            if part.group is not None
            and part.outcome is Outcome.INCONCLUSIVE
            and part.regression is None
            and part.n
        ]
        notes += [f"too small to judge: {listed(small)}"] if small else []
    return replace(verdict, reason="; ".join([verdict.reason, *notes])) if notes else verdict
