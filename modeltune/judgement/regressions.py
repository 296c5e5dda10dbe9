"""Compare a value with recorded runs: find what they measured, compare, and decide all gates together.

NumPy and SciPy are imported where a comparison is made: gates on numbers do without.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modeltune.ground import holm
from modeltune.judgement.allowances import Allowance
from modeltune.judgement.bounds import float32_step, is_on, judge_number
from modeltune.judgement.measurements import Case
from modeltune.judgement.rows import Group
from modeltune.records import (
    Outcome,
    Past,
    Question,
    RaisedError,
    Regression,
    Unit,
    Verdict,
)
from modeltune.specs import Operator, Reference, Statistic

if TYPE_CHECKING:
    from modeltune.judgement.evidence import Evidence
    from modeltune.judgement.seeds_and_samples import CrossedT
    from modeltune.judgement.significance import Comparison


@dataclass(frozen=True, eq=False)
class RecordedValue:
    """A recorded run, its evidence on the case's samples, and its value of the gate's statistic."""

    past: Past
    evidence: Evidence
    value: float


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A case that a comparison has to decide, together with the spec's other comparisons.

    Args:
        case: the gate, and the slice if it has any.
        measured, bound: the value and the bound it is held against.
        reference: what the run compared with measured.
        past: that run.
        comparison: of both.
        is_kept_model: whether of several refits only those were compared whose weights are kept.
        crossed: the comparison for new data and new seeds, where there is one; it may be the one that decides.
    """

    case: Case
    measured: float
    bound: float
    reference: float
    past: Past
    comparison: Comparison
    is_kept_model: bool = False
    crossed: CrossedT | None = None

    @property
    def margin(self) -> float:
        """The drop that is allowed, negative where an improvement is demanded; how far it may be of ``.within``."""
        if self.case.facts.margin is not None:
            return self.case.facts.margin
        sign = 1 if self.case.facts.comparison.wants_more else -1
        return sign * (self.reference - self.bound)

    @property
    def is_same(self) -> bool:
        """Whether it has to be the same, and not only no worse."""
        return self.case.facts.comparison is Operator.WITHIN

    @property
    def unit(self) -> Unit:
        """What the comparison counts."""
        unit = self.comparison.unit
        is_of_folds = unit is Unit.SEEDS and self.case.measured.folds is not None
        return Unit.FOLDS if is_of_folds else unit


def hold_against(case: Case, value: float) -> Verdict | OpenCase:
    """Compare a value with the recorded runs that the gate names."""
    from modeltune.judgement.evidence import compare_evidence, is_other_slice

    recorded = _recorded_values(case, value)
    if isinstance(recorded, Verdict):
        return recorded
    base = statistics.median(past.value for past in recorded)
    bound = _reference(case).bound_at(base)
    nearest = min(recorded, key=lambda past: abs(past.value - base))
    past, label = nearest.past, nearest.past.label
    if case.facts.statistic is not Statistic.MEAN:
        note = f" ({label}: {base:.4g}); point estimate only: its noise is not known"
        return judge_number(case, value, bound, note)
    mine, folds = case.evidence(), case.measured.folds
    if is_other_slice(mine, nearest.evidence):
        return _close(case, Outcome.INVALID, value, bound, f"it has other samples than in {label}")
    # What has to be the same is better where it is more, as every number is.
    is_more = case.facts.comparison.wants_more or case.facts.comparison is Operator.WITHIN
    sign = 1 if is_more else -1
    overlap = 0.0 if folds is None else 1 / (folds - 1)
    try:
        pair = compare_evidence(case.key, sign, mine, nearest.evidence, overlap)
    except ValueError as error:
        reason = f"it cannot be compared with {label}: {error}"
        return _close(case, Outcome.ERROR, value, bound, reason)
    if pair.problem is not None:
        return _close(case, Outcome.INCONCLUSIVE, value, bound, f"cannot tell: {pair.problem}")
    if pair.comparison is None and case.facts.margin is not None:
        distance = abs(value - base)
        outcome = Outcome.FAILED if distance > case.facts.margin else Outcome.INCONCLUSIVE
        reason = f"{distance:.4g} from {label} ({base:.4g}); point estimate only: {pair.lack}"
        return _close(case, outcome, value, bound, reason)
    if pair.comparison is None:
        note = f" ({label}: {base:.4g}); point estimate only: {pair.lack}"
        return judge_number(case, value, bound, note)
    if len(recorded) == 1:
        # What was compared may be one refit's model of several.
        base, value = pair.reference, pair.candidate
        bound = _reference(case).bound_at(base)
    else:
        # The median of an even number of runs lies between two; the drop is against one of them.
        base = nearest.value
    return OpenCase(
        case, value, bound, base, past, pair.comparison, pair.is_kept_model, pair.crossed
    )


def undefined(case: Case, error: ValueError) -> Verdict:
    """Return the verdict on a metric that has no value on the case's samples."""
    traceback = getattr(error, "traceback", None)
    verdict = _close(case, Outcome.ERROR, None, case.bound, f"{case.key} has no value: {error}")
    return verdict if traceback is None else replace(verdict, details=RaisedError(traceback))


def adjusted_p(cases: Sequence[OpenCase]) -> Sequence[float]:
    """Return the p-value a failure of each case rests on, with Holm's correction over all."""
    if not cases:
        return ()
    return holm([_p(case) for case in cases])


def _p(part: OpenCase, comparison: Comparison | None = None) -> float:
    """Return the p-value a failure of a case rests on, as if it were the only one; by another comparison if given."""
    from modeltune.judgement.significance import p_outside, p_violated

    compared = part.comparison if comparison is None else comparison
    return (p_outside if part.is_same else p_violated)(compared, part.margin)


def decide_case(part: OpenCase, p: float, looks: int, allowance: Allowance) -> Verdict:
    """Return the verdict a comparison comes to, with everything a reader needs to redo it.

    Args:
        part: what is to be decided.
        p: its p-value, of ``adjusted_p``.
        looks: at how many stages the same gates may be judged; alpha is split over them.
        allowance: what failures may spend of alpha. What passes spends nothing.
    """
    from modeltune.judgement.significance import ALPHA, decide, decide_same

    comparison, alpha = part.comparison, ALPHA / looks
    level = allowance.level(alpha)
    margin = part.margin + float32_step(part.measured, part.bound)
    outcome = (decide_same if part.is_same else decide)(comparison, margin, p, alpha, level)
    is_strict = part.case.facts.comparison.is_strict
    if outcome is Outcome.PASSED and is_strict and is_on(part.measured, part.bound):
        # As good as the bound is not better than it.
        outcome = Outcome.INCONCLUSIVE
    details = _details(part, p, alpha, allowance)
    reason = _reason(part, details)
    if outcome is Outcome.INCONCLUSIVE:
        reason += f": cannot tell; {_would_settle(details)}"
    return part.case.verdict(outcome, part.measured, part.bound, reason, details)


# The runs that a gate names


def _recorded_values(case: Case, value: float) -> list[RecordedValue] | Verdict:
    """Return what the named runs measured, or the verdict when this run cannot be compared with it."""
    from modeltune.judgement.evidence import Evidence

    name = _reference(case).name
    pasts = case.references.get(name, f"no run to compare with; measured {value:.6g}")
    if isinstance(pasts, str):
        return case.verdict(Outcome.NO_BASELINE, value, None, pasts)
    if problem := next((past.problem for past in pasts if past.problem), None):
        return _close(case, Outcome.INVALID, value, None, problem)
    function = case.gate.measure.function
    mine = case.evidence()
    left = [(past, Evidence.of(past, function).beside(mine).on(case.rows)) for past in pasts]
    try:
        known = [(past, evidence) for past, evidence in left if evidence.values(case.key)]
    except ValueError as error:
        return undefined(case, error)
    if not known:
        return _unknown(case, value, pasts)
    for past, _ in known:
        if problem := _redefinition(case, past):
            return _close(case, Outcome.INVALID, value, None, problem)
    recorded = []
    for past, evidence in known:
        number = case.statistic(evidence.values(case.key))
        if number is None or not math.isfinite(number):
            reason = f"{past.label} measured {number}, which nothing can be compared with"
            return _close(case, Outcome.INVALID, value, None, reason)
        recorded.append(RecordedValue(past, evidence, number))
    return recorded


def _unknown(case: Case, value: float, pasts: Sequence[Past]) -> Verdict:
    labels = " and ".join(past.label for past in pasts[:2])
    by = case.rows.by if isinstance(case.rows, Group) else None
    if by is not None and any(past.groups_by(by) for past in pasts):
        reason = f"{case.rows} is new: {labels} had no sample of it; accept a newer run"
        return case.verdict(Outcome.NO_BASELINE, value, None, reason)
    if any(past.rescored for past in pasts):
        reason = f"{labels} has no value of {case.key}; accept a run on today's data"
        return _close(case, Outcome.INVALID, value, None, reason)
    if any(past.is_of_other for past in pasts):
        reason = (
            f"{labels} did not measure {case.key}; have both specs measure it, with metrics=[...]"
        )
        return _close(case, Outcome.INVALID, value, None, reason)
    reason = f"{labels} did not measure {case.key}; accept a newer run"
    return _close(case, Outcome.NO_BASELINE, value, None, reason)


def _redefinition(case: Case, past: Past) -> str | None:
    """Return how the definition of a metric has changed, None when it has not or is not known."""
    mine, theirs = case.measured.samples, past.samples
    if mine is None or theirs is None:
        return None
    now, then = mine.definitions.get(case.key), theirs.definitions.get(case.key)
    is_loss_of_many = then is None and (case.key == "loss" or case.key.endswith("_loss"))
    if now == then or is_loss_of_many:  # older runs do not tell how several losses are computed
        return None
    if past.is_of_other and (now is None or then is None):
        return None  # a report, or an estimator, has a metric of this name that nobody compiled
    now, then = (text or "by the report, not compiled" for text in (now, then))
    return f"{case.key} is computed differently than by {past.label}: now {now}, then {then}"


def _close(
    case: Case, outcome: Outcome, value: float | None, bound: float | None, reason: str
) -> Verdict:
    where = f"{case.slice.name}: " if case.slice else ""
    return case.verdict(outcome, value, bound, where + reason)


def _reference(case: Case) -> Reference:
    assert isinstance(case.gate.bound, Reference)
    return case.gate.bound


# What a comparison says


def _details(part: OpenCase, p: float, alpha: float, allowance: Allowance) -> Regression:
    from modeltune.judgement.significance import settle_same

    comparison = part.comparison
    level = allowance.level(alpha)
    is_outside = comparison.delta < -part.margin
    if part.is_same:
        is_outside = abs(comparison.delta) > part.margin
    settles = settle_same if part.is_same else type(comparison).settle
    settle = settles(comparison, part.margin, level if is_outside else alpha)
    crossed, settle_unit = part.crossed, None
    if settle is None and crossed is comparison and crossed is not None and not part.is_same:
        settle = crossed.settle_samples(part.margin, level if is_outside else alpha)
        settle_unit = None if settle is None else crossed.sample_unit
    is_of_folds = part.unit is Unit.FOLDS
    return Regression(
        question=comparison.question,
        test=comparison.test.replace("seeds", "folds") if is_of_folds else comparison.test,
        n=comparison.n,
        unit=part.unit,
        reference=part.past.run,
        reference_value=part.reference,
        reference_refits=len(part.past.refits),
        rescored=part.past.rescored,
        delta=comparison.delta,
        margin=part.margin,
        p=_p(part),
        p_adjusted=p,
        interval=comparison.interval(alpha),
        alpha=alpha,
        settle=settle,
        detectable=comparison.detectable(level),
        settle_unit=settle_unit,
        samples=None if crossed is None else crossed.samples,
        sample_unit=None if crossed is None else crossed.sample_unit,
        p_on_new_data=None if crossed is None else _p(part, crossed),
        level=level if str(allowance) else None,
        family=allowance.family,
        look=allowance.look,
    )


def _reason(part: OpenCase, details: Regression) -> str:
    where = f"{part.case.slice.name} (n={part.case.slice.size}): " if part.case.slice else ""
    count = f"{details.n} {details.unit.value}"
    is_by_seeds = details.question is not Question.ARTIFACT
    if is_by_seeds and details.n != details.reference_refits:
        count += f" against {details.reference_refits}"
    beside = ""
    if details.question is Question.RECIPE_ON_NEW_DATA:
        count += f" and {_samples(details)}"
    elif part.crossed is not None and not part.is_same:
        beside = (
            f"; {part.crossed.question.asked('worse')}: {part.crossed.test} on {part.crossed.n} seeds and "
            f"{_samples(details)}, p = {details.p_on_new_data:.2g}"
        )
    held = ""
    if details.level is not None:
        allowance = Allowance(details.family, details.look)
        held = f" ({details.level:.2g} or less fails: {allowance})"
    if part.is_kept_model:
        count += ", of the models that are kept"
    if part.is_same:
        from modeltune.judgement.significance import p_inside

        change = "as good as" if details.delta == 0 else f"{details.delta:+.4g} against"
        return (
            f"{where}{change} {part.past.label} ({details.reference_value:.6g}), {details.margin:.4g} on either "
            f"side is allowed; {details.question.asked('the same')}: two one-sided tests, "
            f"{details.test} on {count}, p = {p_inside(part.comparison, part.margin):.2g}"
            + (f", to be outside p = {details.p_adjusted:.2g}{held}" if held else "")
        )
    return (
        f"{where}{_change(details.delta)} {part.past.label} ({details.reference_value:.6g}), "
        f"{_allowance(details.margin)}; {details.question.asked('worse')}: "
        f"{details.test} on {count}, p = {details.p_adjusted:.2g}{held}{beside}"
    )


def _samples(details: Regression) -> str:
    """Say how many samples, groups or blocks a comparison for new data rests on."""
    assert details.sample_unit is not None
    return f"{details.samples} {details.sample_unit.value}"


def _change(delta: float) -> str:
    if delta == 0:
        return "as good as"
    return f"{abs(delta):.4g} {'better' if delta > 0 else 'worse'} than"


def _allowance(margin: float) -> str:
    if margin < 0:
        return f"{-margin:.4g} better is demanded"
    return f"{margin:.4g} worse is allowed" if margin > 0 else "nothing worse is allowed"


def _would_settle(details: Regression) -> str:
    unit, there = details.unit.value, details.n
    if details.settle_unit is not None and details.samples is not None:
        unit, there = details.settle_unit.value, details.samples
    is_on_new_data = details.question is Question.RECIPE_ON_NEW_DATA
    if details.settle is None and is_on_new_data and not is_on(details.delta, -details.margin):
        assert details.sample_unit is not None
        text = f"it takes more seeds and more {details.sample_unit.value}"
    elif details.settle is None:
        text = "it is exactly on the bound"
    elif details.settle <= there:
        text = f"about as many {unit} once more would settle it"
    else:
        text = f"{details.settle} {unit} would settle it"
    if details.detectable is not None:
        text += f"; the smallest drop this gate can detect is {details.detectable:.2g}"
    return text
