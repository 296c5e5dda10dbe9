"""Judge measured scores against gates; every declared gate gets exactly one verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from modeltune.records import Json, Past, References, RefitId, RunStatus, Scores
from modeltune.specs import (
    COMPARE,
    Behaviour,
    Gate,
    On,
    Outcome,
    PerClass,
    Probed,
    Reference,
    Severity,
    Statistic,
    Verdict,
    Waiver,
)

if TYPE_CHECKING:
    from modeltune.judgement.evidence import Evidence
    from modeltune.judgement.significance import Comparison
    from modeltune.records import Samples

FLOAT32_EPSILON = 2.0**-23
"""Keras computes metrics in float32: 342 of 360 comes back as 0.94999999, not 0.95."""

ALPHA = 0.05
"""How often a gate may fail, or pass as proven, by chance."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything a run has measured that gates are judged by.

    Args:
        scores: every metric's values over refits.
        refits: their seeds and folds.
        samples: what happened on each test sample, None when that is not known.
        folds: k when the refits are folds, None when they differ in their seeds only.
        intervals: by metric a value with its 90 % confidence interval (value, low, high).
        unmeasured: by metric why there is no value, as outcome and words.
        probed: by a behaviour gate's ``demand`` what was found out about it.
    """

    scores: Mapping[str, Scores]
    refits: tuple[RefitId, ...] = ()
    samples: Samples | None = None
    folds: int | None = None
    intervals: Mapping[str, tuple[float, float, float]] | None = None
    unmeasured: Mapping[str, tuple[Outcome, str]] | None = None
    probed: Mapping[str, Probed] | None = None


def judge(
    gates: Sequence[Gate | Behaviour],
    measured: Mapping[str, Scores] | Measured,
    spec: str,
    references: References | None = None,
    *,
    today: date | None = None,
    looks: int = 1,
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
    """
    if not isinstance(measured, Measured):
        measured = Measured(measured)
    today = today or datetime.now(UTC).date()
    parts = [_parts(gate, measured, spec, references or {}) for gate in gates]
    undecided = [part for of_gate in parts for part in of_gate if isinstance(part, _Open)]
    adjusted = dict(zip(map(id, undecided), _adjusted(undecided), strict=True))
    verdicts = []
    for gate, of_gate in zip(gates, parts, strict=True):
        decided = [
            _decided(part, adjusted[id(part)], ALPHA / looks) if isinstance(part, _Open) else part
            for part in of_gate
        ]
        verdict = _as_severe(gate, _combined(gate, decided))
        verdicts.append(verdict if gate.waiver is None else _waived(gate.waiver, verdict, today))
    loss = measured.scores.get("loss")
    if loss is not None and not loss.is_finite:
        verdicts.append(
            Verdict(
                "loss is finite (always on)", Outcome.FAILED, loss.mean, None, _not_finite(loss)
            )
        )
    return tuple(verdicts)


def not_measured(gates: Sequence[Gate | Behaviour], reason: str) -> tuple[Verdict, ...]:
    """Return an error verdict for every gate of a run that ended before it was measured."""
    return tuple(
        Verdict(repr(gate), Outcome.ERROR, None, None, f"not measured: {reason}") for gate in gates
    )


@dataclass(frozen=True)
class Strictness:
    """Whether open questions are red.

    Of a run that becomes the baseline now it is not red that there was none
    (``is_first_allowed``), or none it could be compared with (``is_other_allowed``).
    """

    is_strict: bool = False
    is_first_allowed: bool = False
    is_other_allowed: bool = False

    def is_red(self, verdict: Verdict) -> bool:
        """Tell whether a verdict fails the run."""
        if self.is_other_allowed and is_incomparable(verdict):
            return False
        is_first = verdict.outcome is Outcome.NO_BASELINE and self.is_first_allowed
        return verdict.outcome.is_red(self.is_strict and not is_first)


def is_incomparable(verdict: Verdict) -> bool:
    """Tell whether a gate is invalid for the baseline's sake, which a new baseline would end."""
    return verdict.outcome is Outcome.INVALID and verdict.details.get("source") == "baseline"


def status_of(
    verdicts: Sequence[Verdict],
    strictness: Strictness = Strictness(),
    checks: Sequence[Verdict] = (),
) -> RunStatus:
    """Return PASSED when no verdict is red; open questions of checks, which nobody asked, are not."""
    red = any(map(strictness.is_red, verdicts)) or any(c.outcome.is_red() for c in checks)
    return RunStatus.FAILED if red else RunStatus.PASSED


@dataclass(frozen=True, eq=False)
class _Open:
    """A gate, or a slice of one, that a comparison has to decide."""

    gate: Gate
    slice: str
    n: int | None
    measured: float
    bound: float
    reference: float
    past: Past
    comparison: Comparison
    is_kept_model: bool = False
    is_over_folds: bool = False

    @property
    def margin(self) -> float:
        """The drop that is allowed; negative where an improvement is demanded."""
        sign = 1 if self.gate.wants_more else -1
        return sign * (self.reference - self.bound)


def _parts(
    gate: Gate | Behaviour, measured: Measured, spec: str, references: References
) -> list[Verdict | _Open]:
    """Return the gate's parts: itself, or one for each of its slices."""
    if isinstance(gate, Behaviour):
        probed = (measured.probed or {}).get(gate.demand)
        if probed is None:
            return [Verdict(repr(gate), Outcome.ERROR, None, None, "it was not probed")]
        from modeltune.judgement.behaviour_verdicts import (
            verdict,  # imports SciPy, which other gates may not need
        )

        found = verdict(gate, probed)
        return [replace(found, details={**found.details, "key": gate.key, "demand": gate.demand})]
    slices = gate.measure.slices
    if slices is None:
        return [_part(gate, measured, spec, references)]
    key = gate.measure.key
    if key not in measured.scores:
        return [_missing(gate, measured, spec)]
    if measured.samples is None:
        reason = "what happened on each test sample is not known: no slice can be judged"
        return [Verdict(repr(gate), Outcome.ERROR, None, _number(gate), reason)]
    return _sliced(gate, slices, measured, spec, references)


def _part(gate: Gate, measured: Measured, spec: str, references: References) -> Verdict | _Open:
    key, bound = gate.measure.key, _number(gate)
    unmeasured = (measured.unmeasured or {}).get(key)
    if unmeasured is not None:
        outcome, reason = unmeasured
        return Verdict(repr(gate), outcome, None, bound, reason, {"source": "baseline"})
    scores = measured.scores.get(key)
    if scores is None or not scores.values:
        return _missing(gate, measured, spec)
    value = _statistic(gate, scores.values)
    if value is None:
        return Verdict(repr(gate), Outcome.ERROR, None, bound, _NO_DEVIATION)
    if not math.isfinite(value):
        # Whatever the severity: a model that cannot be measured is never green.
        return Verdict(repr(gate), Outcome.FAILED, value, bound, _not_finite(scores))
    if bound is None:
        return _against(gate, "", None, value, measured, references)
    if key in (measured.intervals or {}):
        return _by_interval(gate, value, bound, (measured.intervals or {})[key])
    return _absolute(gate, value, bound)


def _absolute(gate: Gate, value: float, bound: float, note: str = "") -> Verdict:
    outcome = Outcome.PASSED if holds(value, gate.comparison, bound) else Outcome.FAILED
    return Verdict(repr(gate), outcome, value, bound, _compared(gate, value, bound) + note)


def _by_interval(
    gate: Gate, value: float, bound: float, interval: tuple[float, float, float]
) -> Verdict:
    _, low, high = interval
    sides = holds(low, gate.comparison, bound), holds(high, gate.comparison, bound)
    outcome = Outcome.INCONCLUSIVE
    if all(sides) or not any(sides):
        outcome = Outcome.PASSED if all(sides) else Outcome.FAILED
    reason = f"{_compared(gate, value, bound)}; 90 % interval {low:.4g} to {high:.4g}"
    if outcome is Outcome.INCONCLUSIVE:
        reason += ", which has the bound in it"
    return Verdict(
        repr(gate),
        outcome,
        value,
        bound,
        reason,
        {"metric": gate.measure.key, "interval": [low, high], "confidence": 0.9},
    )


def _sliced(
    gate: Gate,
    slices: PerClass | On,
    measured: Measured,
    spec: str,
    references: References,
) -> list[Verdict | _Open]:
    from modeltune.judgement.evidence import Evidence, measured_on_classes

    samples, key = measured.samples, gate.measure.key
    assert samples is not None
    rows: Sequence[str | int]
    if isinstance(slices, On):
        rows = [slices.name]
        is_told = slices.name in samples.slices and samples.score(key, 0) is not None
        why = "it is no mean over test samples, and not of the task's report"
    else:
        try:
            rows = measured_on_classes(key, samples)
            is_told = True
        except LookupError as error:
            rows, is_told, why = (), False, str(error.args[0])
    if not is_told or not rows:
        reason = f'"{key}" cannot be measured on {gate.measure.slices!r:.60} in {spec}: {why}'
        return [Verdict(repr(gate), Outcome.ERROR, None, _number(gate), reason)]
    evidence = Evidence(dict(measured.scores), measured.refits, samples)
    parts: list[Verdict | _Open] = []
    for row in rows:
        name = f'slice "{row}"' if isinstance(row, str) else f"class {row}"
        there = evidence.on(row)
        size = int(there.mask(key).sum())
        parts.append(_on_slice(gate, slices, name, size, row, there, measured, references))
    return parts


def _on_slice(
    gate: Gate,
    slices: PerClass | On,
    name: str,
    size: int,
    row: str | int,
    there: Evidence,
    measured: Measured,
    references: References,
) -> Verdict | _Open:
    bound, details = _number(gate), {"slice": name, "n": size}
    if size == 0:
        reason = f"{name} has no sample in test: what is not there cannot be shown to hold"
        return Verdict(repr(gate), Outcome.FAILED, None, bound, reason, details)
    values = there.values(gate.measure.key)
    value = _statistic(gate, values)
    if value is None:
        return Verdict(repr(gate), Outcome.ERROR, None, bound, _NO_DEVIATION, details)
    if not math.isfinite(value):
        return Verdict(
            repr(gate), Outcome.FAILED, value, bound, _not_finite(Scores(values)), details
        )
    if size < slices.min_n:
        reason = (
            f"{name} has {size} of the {slices.min_n} samples it takes to judge it; "
            f"{slices.min_n - size} more in test would do"
        )
        return Verdict(repr(gate), Outcome.INCONCLUSIVE, value, bound, reason, details)
    if bound is None:
        return _against(gate, name, row, value, measured, references, size)
    verdict = _absolute(gate, value, bound)
    return replace(verdict, reason=f"{name} (n={size}): {verdict.reason}", details=details)


def _against(
    gate: Gate,
    name: str,
    row: str | int | None,
    value: float,
    measured: Measured,
    references: References,
    size: int | None = None,
) -> Verdict | _Open:
    """Hold a value against recorded runs."""
    assert isinstance(gate.bound, Reference)
    from modeltune.judgement.evidence import Evidence, compare, is_other_slice

    source, key = gate.bound.source, gate.measure.key
    details: dict[str, Json] = {"source": source}
    if name:
        details |= {"slice": name, "n": size}
    where = f"{name}: " if name else ""

    def closed(outcome: Outcome, bound: float | None, reason: str) -> Verdict:
        return Verdict(repr(gate), outcome, value, bound, where + reason, details)

    pasts = references.get(source, f"no run to compare with; measured {value:.6g}")
    if isinstance(pasts, str):
        return Verdict(repr(gate), Outcome.NO_BASELINE, value, None, pasts, details)
    if problem := next((past.problem for past in pasts if past.problem), None):
        return closed(Outcome.INVALID, None, problem)
    evidences = [(past, Evidence.of(past).on(row)) for past in pasts]
    known = [(past, there) for past, there in evidences if there.values(key)]
    if not known:
        labels = " and ".join(past.label for past in pasts[:2])
        if any(past.rescored for past in pasts):
            return closed(
                Outcome.INVALID, None, f"{labels} does not tell {key}; accept a run on today's data"
            )
        return closed(
            Outcome.NO_BASELINE, None, f"{labels} did not measure {key}; accept a newer run"
        )
    for past, _ in known:
        if problem := _redefined(key, measured, past):
            return closed(Outcome.INVALID, None, problem)
    bases = [_statistic(gate, there.values(key)) for _, there in known]
    for (past, _), each in zip(known, bases, strict=True):
        if each is None or not math.isfinite(each):
            return closed(
                Outcome.INVALID, None, f"{past.label} measured {each}, which is no number to hold"
            )
    base = _median([base for base in bases if base is not None])
    bound = gate.bound.applied(base)
    nearest = min(range(len(known)), key=lambda i: abs((bases[i] or 0.0) - base))
    past, there = known[nearest]
    if gate.measure.statistic is not Statistic.MEAN:
        note = f" ({past.label}: {base:.4g}); point estimate only: its noise is not known"
        return replace(_absolute(gate, value, bound, note), details=details)
    mine = Evidence(dict(measured.scores), measured.refits, measured.samples).on(row)
    overlap = 0.0 if measured.folds is None else 1 / (measured.folds - 1)
    if is_other_slice(mine, there):
        return closed(Outcome.INVALID, bound, f"it has other samples than in {past.label}")
    try:
        compared = compare(key, 1 if gate.wants_more else -1, mine, there, overlap)
    except ValueError as error:
        return closed(Outcome.ERROR, bound, f"it cannot be compared with {past.label}: {error}")
    if compared.comparison is None:
        note = (
            f" ({past.label}: {base:.4g}); point estimate only: one refit, and no samples in common"
        )
        return replace(_absolute(gate, value, bound, note), details=details)
    if len(known) == 1:
        # What was compared may be one refit's model of several.
        base, value = compared.reference, compared.candidate
        bound = gate.bound.applied(base)
    else:
        # The median of an even number of runs lies between two; the drop is against one of them.
        base = bases[nearest] or 0.0
    return _Open(
        gate,
        name,
        size,
        value,
        bound,
        base,
        past,
        compared.comparison,
        is_kept_model=compared.is_kept_model,
        is_over_folds=measured.folds is not None,
    )


def _redefined(key: str, measured: Measured, past: Past) -> str | None:
    """Return that a metric is another than it was, None when nothing says so."""
    if measured.samples is None or past.samples is None:
        return None
    now, then = measured.samples.definitions.get(key), past.samples.definitions.get(key)
    if now == then:
        return None
    now, then = (each or "not compiled, but as the report has it" for each in (now, then))
    return f"{key} is computed in another way than by {past.label}: {now}, then {then}"


def _adjusted(parts: Sequence[_Open]) -> Sequence[float]:
    if not parts:
        return ()
    from modeltune.judgement.significance import holm, p_violated

    return holm([p_violated(part.comparison, part.margin) for part in parts])


def _decided(part: _Open, p: float, alpha: float) -> Verdict:
    """Return the verdict a comparison comes to, with everything a reader needs to redo it."""
    from modeltune.judgement.significance import Question, decide, p_violated

    comparison, gate = part.comparison, part.gate
    outcome = decide(comparison, part.margin + _step(part.measured, part.bound), p, alpha)
    is_strict = gate.comparison in (">", "<")
    if outcome is Outcome.PASSED and is_strict and _is_on(part.measured, part.bound):
        # As good as the bound is not better than it.
        outcome = Outcome.INCONCLUSIVE
    low, high = comparison.interval(alpha)
    settle, detectable = comparison.settle(part.margin, alpha), comparison.detectable(alpha)
    unit, test = "samples", comparison.test
    if comparison.question is Question.RECIPE:
        unit = "folds" if part.is_over_folds else "seeds"
        test = test.replace("seeds", unit)
    count = f"{comparison.n} {unit}"
    if comparison.question is Question.RECIPE and comparison.n != len(part.past.refits):
        count += f" against {len(part.past.refits)}"
    if part.is_kept_model:
        count += ", of the models that are kept"
    details: dict[str, Json] = {
        "question": comparison.question.value,
        "test": test,
        "n": comparison.n,
        "unit": unit,
        "reference": part.past.run,
        "reference_value": part.reference,
        "rescored": part.past.rescored,
        "delta": comparison.delta,
        "margin": part.margin,
        "p": p_violated(comparison, part.margin),
        "p_adjusted": p,
        "interval": [low, high],
        "alpha": alpha,
        "settle": settle,
        "detectable": detectable,
        "reference_refits": len(part.past.refits),
    }
    if part.slice:
        details |= {"slice": part.slice, "slice_n": part.n}
    reason = (
        f"{f'{part.slice} (n={part.n}): ' if part.slice else ''}"
        f"{_change(part)} {part.past.label} ({part.reference:.6g}), "
        f"{_allowed(part.margin)}; is this {comparison.question.value} worse: "
        f"{test} on {count}, p = {p:.2g}"
    )
    if outcome is Outcome.INCONCLUSIVE:
        reason += f": cannot tell; {_would_settle(part, settle, detectable, unit)}"
    return Verdict(repr(gate), outcome, part.measured, part.bound, reason, details)


def _change(part: _Open) -> str:
    delta = part.comparison.delta
    if delta == 0:
        return "as good as"
    return f"{abs(delta):.4g} {'better' if delta > 0 else 'worse'} than"


def _allowed(margin: float) -> str:
    if margin < 0:
        return f"to be better by {-margin:.4g}"
    return f"{margin:.4g} worse is allowed" if margin > 0 else "nothing worse is allowed"


def _would_settle(part: _Open, settle: int | None, detectable: float | None, unit: str) -> str:
    if settle is None:
        said = "it is exactly on the bound"
    elif settle <= part.comparison.n:
        said = f"about as many {unit} once more would settle it"
    else:
        said = f"{settle} {unit} would settle it"
    if detectable is not None:
        said += f"; the smallest drop this gate can detect is {detectable:.2g}"
    return said


_NO_DEVIATION = (
    "the standard deviation of one refit is not defined; validate with two or more seeds"
)

_WORST_FIRST = (
    Outcome.ERROR,
    Outcome.INVALID,
    Outcome.FAILED,
    Outcome.INCONCLUSIVE,
    Outcome.NO_BASELINE,
    Outcome.WARNED,
    Outcome.PASSED,
)


def _combined(gate: Gate | Behaviour, parts: Sequence[Verdict]) -> Verdict:
    """Return a gate's verdict: its worst slice's, with all of them in the details."""
    if len(parts) == 1 or isinstance(gate, Behaviour):
        return parts[0]

    def rank(part: Verdict) -> tuple[int, float]:
        distance = 0.0
        if part.measured is not None and not math.isfinite(part.measured):
            return _WORST_FIRST.index(part.outcome), -math.inf
        if part.measured is not None and part.bound is not None:
            distance = (part.measured - part.bound) * (1 if gate.wants_more else -1)
        return _WORST_FIRST.index(part.outcome), distance

    ordered = sorted(parts, key=rank)
    worst = ordered[0]
    same = sum(part.outcome is worst.outcome for part in parts)
    is_common = all(part.reason == worst.reason for part in parts)
    count = f" ({same} of {len(parts)} slices {worst.outcome.value})"
    return replace(
        worst,
        reason=worst.reason if is_common else f"{worst.reason}{count}",
        details={
            **worst.details,
            "slices": [
                {
                    "slice": part.details.get("slice", ""),
                    "n": part.details.get("slice_n", part.details.get("n")),
                    "outcome": part.outcome.value,
                    "measured": part.measured,
                    "bound": part.bound,
                    "reason": part.reason,
                }
                for part in ordered
            ],
        },
    )


def _as_severe(gate: Gate | Behaviour, verdict: Verdict) -> Verdict:
    is_measured = verdict.measured is None or math.isfinite(verdict.measured)
    if verdict.outcome is Outcome.FAILED and gate.severity is Severity.WARN and is_measured:
        return replace(verdict, outcome=Outcome.WARNED)
    return verdict


def _waived(waiver: Waiver, verdict: Verdict, today: date) -> Verdict:
    """Return the verdict under a waiver: an expected failure, until the waiver is to go."""
    until = f"waived until {waiver.until} ({waiver.reason})"
    if verdict.outcome in (Outcome.ERROR, Outcome.INVALID) or (
        verdict.measured is not None and not math.isfinite(verdict.measured)
    ):
        return verdict
    if waiver.is_over(today):
        reason = f"{until}, which is over: mend the model, or waive the gate anew: {verdict.reason}"
        return replace(verdict, outcome=Outcome.FAILED, reason=reason)
    if verdict.outcome is Outcome.PASSED:
        reason = f"passes although {until}: remove the waiver: {verdict.reason}"
        return replace(verdict, outcome=Outcome.FAILED, reason=reason)
    if verdict.outcome in (Outcome.FAILED, Outcome.WARNED):
        return replace(verdict, outcome=Outcome.WAIVED, reason=f"{until}: {verdict.reason}")
    return verdict


def holds(value: float, comparison: str, bound: float) -> bool:
    """Compare as float32 would: a value within one float32 step of the bound equals it."""
    if _is_on(value, bound):
        return comparison in (">=", "<=")
    return COMPARE[comparison](value, bound)


def _is_on(value: float, bound: float) -> bool:
    return math.isfinite(value - bound) and abs(value - bound) <= _step(value, bound)


def _step(value: float, bound: float) -> float:
    # A whole number was counted, or came out exact: 50_000_001 parameters are above 50_000_000.
    return 0.0 if value.is_integer() else FLOAT32_EPSILON * max(abs(value), abs(bound))


def _number(gate: Gate) -> float | None:
    """Return the gate's bound where it is a number."""
    return None if isinstance(gate.bound, Reference) else float(gate.bound)  # type: ignore[arg-type]


def _statistic(gate: Gate, values: Sequence[float]) -> float | None:
    scores = Scores(tuple(values))
    if gate.measure.statistic is Statistic.MEAN:
        return scores.mean
    if gate.measure.statistic is Statistic.STD:
        return scores.std
    if not scores.is_finite:
        return math.nan
    return min(values) if gate.wants_more else max(values)


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values)


def _missing(gate: Gate, measured: Measured, spec: str) -> Verdict:
    available = ", ".join(sorted(measured.scores)) or "nothing"
    reason = f'no metric "{gate.measure.key}" in {spec}; measured: {available}'
    return Verdict(repr(gate), Outcome.ERROR, None, _number(gate), reason)


def _compared(gate: Gate, value: float, bound: float) -> str:
    measure = replace(gate.measure, slices=None)
    if _is_on(value, bound):
        return f"{measure} is on the bound"
    side = "above" if value > bound else "below"
    distance = abs(value - bound)
    # 35590, where .4g says 3.559e+04.
    said = f"{distance:.0f}" if 1e4 <= distance < 1e15 else f"{distance:.4g}"
    return f"{measure} is {said} {side} the bound"


def _not_finite(scores: Scores) -> str:
    return f"not finite: measured {', '.join(f'{value:.6g}' for value in scores.values)}"
