"""Judge measured scores against gates; every declared gate gets exactly one verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TypeAlias

from modeltune.judgement.allowances import Allowance
from modeltune.judgement.bounds import judge_interval, judge_number
from modeltune.judgement.flips import is_of_pinned_samples, with_flipped_samples, with_flips
from modeltune.judgement.group_verdicts import (
    changes_of,
    gone_answers,
    judge_between,
    with_group_notes,
)
from modeltune.judgement.measurements import Case, Measurements, Slice
from modeltune.judgement.regressions import (
    OpenCase,
    adjusted_p,
    decide_case,
    hold_against,
    undefined,
)
from modeltune.judgement.rows import Group, Rows
from modeltune.records import (
    LOSS_IS_FINITE,
    Area,
    ClassNames,
    MetricFacts,
    Outcome,
    RaisedError,
    References,
    Scores,
    SliceResult,
    SliceResults,
    Verdict,
    check_verdict,
    facts_of,
    names_of_output,
)
from modeltune.specs import Behaviour, Gate, Severity, Source, Waiver

Answer: TypeAlias = tuple[Slice | None, Verdict | OpenCase]
"""A slice, None for a gate without slices, with its verdict or the comparison that will decide it."""

NO_DEVIATION = "the standard deviation of one refit is not defined; validate with two or more seeds"

WORST_FIRST = (
    Outcome.ERROR,
    Outcome.INVALID,
    Outcome.FAILED,
    Outcome.INCONCLUSIVE,
    Outcome.NO_BASELINE,
    Outcome.WARNED,
    Outcome.PASSED,
)


def judge(
    gates: Sequence[Gate | Behaviour],
    measured: Mapping[str, Scores] | Measurements,
    spec: str,
    references: References | None = None,
    *,
    today: date | None = None,
    looks: int = 1,
    allowance: Allowance = Allowance(),
) -> tuple[Verdict, ...]:
    """Return one verdict per gate, in order; a gate that cannot be evaluated is an error.

    Gates against recorded runs are decided together: Holm's procedure keeps the chance that any
    of them fails by chance at 5 %. A loss on test that is not finite fails the run even when
    no gate looks at it.

    Args:
        gates: what the spec demands.
        measured: what its run measured.
        spec: its address, for messages.
        references: the runs that bounds name.
        today: the day waivers are held against; default: this one, in UTC.
        looks: at how many stages of an escalation the same gates may be judged; the 5 % are
            split over them.
        allowance: what the failures of gates against recorded runs may spend of the 5 %.
    """
    if not isinstance(measured, Measurements):
        measured = Measurements(measured)
    today = today or datetime.now(UTC).date()
    measured = _with_all_flips(measured, gates, references or {})
    answers = [_answers(gate, measured, spec, references or {}, looks) for gate in gates]
    undecided = [a for of_gate in answers for _, a in of_gate if isinstance(a, OpenCase)]
    p_values = iter(adjusted_p(undecided))
    verdicts = []
    for gate, of_gate in zip(gates, answers, strict=True):
        decided = [(part, _decided(a, p_values, looks, allowance)) for part, a in of_gate]
        verdict = _with_notes(gate, _combine(gate, decided), measured, references)
        verdicts.append(as_declared(gate.severity, gate.waiver, verdict, today))
    return (*verdicts, *_loss_verdict(measured.scores.get("loss")))


def _decided(
    answer: Verdict | OpenCase, p_values: Iterator[float], looks: int, allowance: Allowance
) -> Verdict:
    if isinstance(answer, OpenCase):
        return decide_case(answer, next(p_values), looks, allowance)
    return answer


def not_measured(gates: Sequence[Gate | Behaviour], reason: str) -> tuple[Verdict, ...]:
    """Return an error verdict for every gate of a run that ended before it was measured."""
    words = f"not measured: {reason}"
    return tuple(
        Verdict(repr(gate), Outcome.ERROR, None, None, words, facts_of(gate)) for gate in gates
    )


def _with_all_flips(
    measured: Measurements, gates: Sequence[Gate | Behaviour], references: References
) -> Measurements:
    """Return the measurements with the negative flips that gates name, of the exports too."""
    measures = [gate.measure for gate in gates if isinstance(gate, Gate)]
    own = [measure.key for measure in measures if measure.export is None]
    of_tuned = {Source.BASELINE.value: references.get(Source.TUNED.value, ())}
    exports = {
        name: one
        if isinstance(one, str)
        else with_flips(one, [m.key for m in measures if m.export == name], of_tuned)
        for name, one in measured.exports.items()
    }
    return replace(with_flips(measured, own, references), exports=exports)


# One gate


def _answers(
    gate: Gate | Behaviour, measured: Measurements, spec: str, references: References, looks: int
) -> list[Answer]:
    """Return the answer for the gate, or one for each of its slices."""
    if isinstance(gate, Behaviour):
        return [(None, _behaviour_verdict(gate, measured))]
    facts = facts_of(gate, measured.outputs)
    assert isinstance(facts, MetricFacts)
    of_export = measured if facts.export is None else measured.exports.get(facts.export)
    if not isinstance(of_export, Measurements):
        reason = of_export or f'the run has no export "{facts.export}"; run the spec once more'
        bound = None if facts.bound is None else float(facts.bound)
        return [(None, Verdict(repr(gate), Outcome.ERROR, None, bound, reason, facts))]
    if facts.export is not None:
        # Its groups are held against those of the tuned model alone.
        references = {n: pasts for n, pasts in references.items() if n == Source.TUNED.value}
    case = Case(gate, facts, of_export, references)
    if facts.slices is None:
        return [(None, _on_all(case, spec))]
    if case.key not in measured.scores:
        return [(None, _unmeasured(case) or _missing_metric(case, spec))]
    slices = _slices(case, spec)
    if isinstance(slices, Verdict):
        return [(None, slices)]
    if facts.slices.between is not None:
        return [(None, judge_between(case, slices, looks))]
    gone = gone_answers(case, changes_of(case)) if facts.slices.is_grouped else []
    return [*((part, _on_slice(case.on(part), part)) for part in slices), *gone]


def _behaviour_verdict(gate: Behaviour, measured: Measurements) -> Verdict:
    probe = (measured.probes or {}).get(gate.demand)
    if probe is None:
        reason = "the model was not probed for it"
        return Verdict(repr(gate), Outcome.ERROR, None, None, reason, facts_of(gate))
    # It imports SciPy, which other gates may not need.
    from modeltune.judgement.behaviour_verdicts import judge_behaviour

    return judge_behaviour(gate, probe)


def _on_all(case: Case, spec: str) -> Verdict | OpenCase:
    """Judge a gate on all test samples."""
    measured, bound = case.measured, case.bound
    if (unmeasured := _unmeasured(case)) is not None:
        return unmeasured
    scores = measured.scores.get(case.key)
    if scores is None or not scores.values:
        return _missing_metric(case, spec)
    value = case.statistic(scores.values)
    if value is None:
        return case.verdict(Outcome.ERROR, None, bound, NO_DEVIATION)
    if not math.isfinite(value):
        # Whatever the severity: a model that cannot be measured is never green.
        return case.verdict(Outcome.FAILED, value, bound, _not_finite(scores))
    if bound is None:
        return hold_against(case, value)
    interval = (measured.intervals or {}).get(case.key)
    if interval is not None:
        return judge_interval(case, value, bound, interval)
    return with_flipped_samples(case, _with_nearest(case, judge_number(case, value, bound)))


def _with_nearest(case: Case, verdict: Verdict) -> Verdict:
    """Return a failure with what the model comes to where no threshold is good enough."""
    if case.gate.measure.point is None or verdict.outcome is not Outcome.FAILED:
        return verdict
    nearest = case.evidence().nearest(case.key, case.gate.measure.point)
    return replace(verdict, reason=f"{verdict.reason}; {nearest}") if nearest else verdict


def _unmeasured(case: Case) -> Verdict | None:
    """Return the verdict on a metric of which it is known why it has no value."""
    why = (case.measured.unmeasured or {}).get(case.key)
    if why is None:
        return None
    traceback = (case.measured.tracebacks or {}).get(case.key)
    details = None if traceback is None else RaisedError(traceback)
    return case.verdict(why[0], None, case.bound, why[1], details)


def _slices(case: Case, spec: str) -> list[Slice] | Verdict:
    """Return the slices a gate is judged on, or its verdict when the samples do not have them."""
    samples, rule, bound = case.measured.samples, case.facts.slices, case.bound
    assert rule is not None
    if samples is None:
        reason = "no slice can be judged: the results on single test samples are not known"
        return case.verdict(Outcome.ERROR, None, bound, reason)
    from modeltune.judgement.evidence import classes_to_judge

    evidence = case.evidence()
    rows: Sequence[Rows] = ()
    names = ClassNames()
    why = "it is neither a mean over test samples nor part of the task's report"
    if rule.name is None:
        try:
            rows = classes_to_judge(case.key, samples)
            prefix = samples.classified(case.key).removesuffix("_")
            names = names_of_output(case.measured.class_names, prefix)
        except LookupError as error:
            why = str(error.args[0])
    elif rule.is_grouped:
        if rule.name not in samples.groups:
            why = "the groups of the test samples were not kept; run it once more"
        elif evidence.is_told(case.key):
            rows = [Group(rule.name, label) for label in samples.groups[rule.name].labels]
    elif rule.name in samples.slices and evidence.is_told(case.key):
        rows = [rule.name]
    if not rows:
        reason = (
            f'"{case.key}" cannot be measured on {case.gate.measure.slices!r:.60} in {spec}: {why}'
        )
        return case.verdict(Outcome.ERROR, None, bound, reason)
    sizes = [int(evidence.on(row).mask(case.key).sum()) for row in rows]
    return [Slice(row, size, rule.min_n, names) for row, size in zip(rows, sizes, strict=True)]


def _on_slice(case: Case, part: Slice) -> Verdict | OpenCase:
    """Judge a gate on one slice of the test samples."""
    bound = case.bound
    if part.size == 0:
        reason = f"{part.name} has no sample in test, so nothing shows that the gate holds there"
        return case.verdict(Outcome.FAILED, None, bound, reason)
    try:
        values = case.evidence().values(case.key)
    except ValueError as error:
        return undefined(case, error)
    value = case.statistic(values)
    if value is None:
        return case.verdict(Outcome.ERROR, None, bound, NO_DEVIATION)
    if not math.isfinite(value):
        return case.verdict(Outcome.FAILED, value, bound, _not_finite(Scores(values)))
    if part.size < part.min_n and not is_of_pinned_samples(case):
        reason = (
            f"{part.name} has {part.size} of the {part.min_n} samples it takes to judge it; "
            f"add {part.min_n - part.size} more to test"
        )
        return case.verdict(Outcome.INCONCLUSIVE, value, bound, reason)
    if bound is None:
        return hold_against(case, value)
    verdict = with_flipped_samples(case, _with_nearest(case, judge_number(case, value, bound)))
    return replace(verdict, reason=f"{part.name} (n={part.size}): {verdict.reason}")


def _missing_metric(case: Case, spec: str) -> Verdict:
    available = ", ".join(sorted(case.measured.scores)) or "nothing"
    reason = f'no metric "{case.key}" in {spec}; measured: {available}'
    return case.verdict(Outcome.ERROR, None, case.bound, reason)


def _not_finite(scores: Scores) -> str:
    return f"not finite: measured {', '.join(f'{value:.6g}' for value in scores.values)}"


def _loss_verdict(loss: Scores | None) -> Sequence[Verdict]:
    if loss is None or loss.is_finite:
        return ()
    reason = _not_finite(loss)
    return [check_verdict(Area.MODEL, LOSS_IS_FINITE, Outcome.FAILED, loss.mean, None, reason)]


# What becomes of a gate's verdicts


def _with_notes(
    gate: Gate | Behaviour,
    verdict: Verdict,
    measured: Measurements,
    references: References | None,
) -> Verdict:
    """Return a verdict on groups with what is to be said of them besides."""
    facts = verdict.facts
    if isinstance(gate, Behaviour) or not isinstance(facts, MetricFacts) or facts.slices is None:
        return verdict
    if facts.export is not None:  # its groups are those of the tuned model
        return verdict
    changes = changes_of(Case(gate, facts, measured, references or {}))
    return with_group_notes(verdict, changes) if facts.slices.is_grouped else verdict


def _combine(gate: Gate | Behaviour, parts: Sequence[tuple[Slice | None, Verdict]]) -> Verdict:
    """Return a gate's verdict: its worst slice's, with all of them in the details."""
    results = [(part, verdict) for part, verdict in parts if part is not None]
    if not results or isinstance(gate, Behaviour):
        return parts[0][1]
    sign = 1 if gate.operator.wants_more else -1

    def rank(result: tuple[Slice, Verdict]) -> tuple[int, float]:
        _, verdict = result
        place = WORST_FIRST.index(verdict.outcome)
        if verdict.measured is None:
            return place, 0.0
        if not math.isfinite(verdict.measured):
            return place, -math.inf
        distance = 0.0 if verdict.bound is None else verdict.measured - verdict.bound
        return place, -abs(distance) if gate.margin is not None else sign * distance

    ordered = sorted(results, key=rank)
    worst = ordered[0][1]
    same = sum(verdict.outcome is worst.outcome for _, verdict in results)
    is_common = all(verdict.reason == worst.reason for _, verdict in results)
    count = f" ({same} of {len(results)} slices {worst.outcome.value})"
    slices = SliceResults(tuple(_slice_result(part, verdict) for part, verdict in ordered))
    return replace(
        worst,
        reason=worst.reason if is_common else f"{worst.reason}{count}",
        # Where the author's function raised says more than what became of other slices.
        details=worst.details if isinstance(worst.details, RaisedError) else slices,
    )


def _slice_result(part: Slice, verdict: Verdict) -> SliceResult:
    return SliceResult(
        slice=part.name,
        n=part.size,
        outcome=verdict.outcome,
        measured=verdict.measured,
        bound=verdict.bound,
        reason=verdict.reason,
        label=part.rows if isinstance(part.rows, int) else None,
        regression=verdict.regression,
        group=part.rows.value if isinstance(part.rows, Group) else None,
    )


def as_declared(
    severity: Severity, waiver: Waiver | None, verdict: Verdict, today: date
) -> Verdict:
    """Return a verdict as its gate's severity and waiver turn it."""
    is_measured = verdict.measured is None or math.isfinite(verdict.measured)
    if verdict.outcome is Outcome.FAILED and severity is Severity.WARN and is_measured:
        verdict = replace(verdict, outcome=Outcome.WARNED)
    return verdict if waiver is None else _waive(waiver, verdict, today)


def _waive(waiver: Waiver, verdict: Verdict, today: date) -> Verdict:
    """Return the verdict under a waiver: a failure is expected until the waiver ends or the gate passes."""
    until = f"waived until {waiver.until} UTC ({waiver.reason})"
    if verdict.outcome in (Outcome.ERROR, Outcome.INVALID) or (
        verdict.measured is not None and not math.isfinite(verdict.measured)
    ):
        return verdict
    if waiver.is_over(today):
        reason = f"{until}, which is over: fix the model, or waive the gate again: {verdict.reason}"
        return replace(verdict, outcome=Outcome.FAILED, reason=reason)
    if verdict.outcome is Outcome.PASSED:
        reason = f"passes although {until}: remove the waiver: {verdict.reason}"
        return replace(verdict, outcome=Outcome.FAILED, reason=reason)
    if verdict.outcome in (Outcome.FAILED, Outcome.WARNED):
        return replace(verdict, outcome=Outcome.WAIVED, reason=f"{until}: {verdict.reason}")
    return verdict
