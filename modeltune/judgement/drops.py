"""Find where a model got worse than a recorded one, and on which test samples: for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeltune.judgement.evidence import are_same_samples
from modeltune.judgement.flips import right_answers
from modeltune.judgement.measurements import Measurements
from modeltune.records import (
    MOST_SAMPLES,
    Array,
    ClassNames,
    Drop,
    Groups,
    MetricFacts,
    Past,
    Quantity,
    Samples,
    SliceResults,
    Verdict,
    WorsePart,
    WorseSample,
    names_of_output,
)
from modeltune.specs import NEGATIVE_FLIPS, Operator

MOST_PARTS = 5
"""How many classes, slices and groups a drop names: those that lost most."""

SMALLEST_PART = 5
"""Samples of a part below which nothing is said of it."""

MOST_PARTS_BY = 50
"""Different values of a column beyond which its groups are not looked at."""

MOST_TOLD_TARGETS = 4
"""Targets of a sample that are told."""


@dataclass(frozen=True, eq=False)
class _Sides:
    """How good both models are on each test sample; more is better.

    Args:
        values: what is measured: "right answers", "absolute error" or a metric.
        sign: 1 where more of it is better, -1 where less is.
        now, then: by refit and sample, float64 of shape (refits, n); the first refit is the kept model.
        counted: which samples count, bool of shape (n,).
        prefix: the output.
        is_right: whether a sample is either right or wrong.
    """

    values: str
    sign: int
    now: Array
    then: Array
    counted: Array
    prefix: str | None
    is_right: bool


def with_parts_and_samples(
    drop: Drop,
    verdict: Verdict,
    measured: Measurements,
    past: Past,
    columns: Mapping[str, Groups],
) -> Drop:
    """Return a drop with where it got worse, and on which samples; or with why that cannot be told.

    A part is named where its mean fell by more than that of all samples, in the order of what it lost
    beyond that. The parts are chosen among many by what they measured: a hint where to look, no finding.

    Args:
        drop: what is known already.
        verdict: on the gate.
        measured: by this run.
        past: the run compared with.
        columns: what else is known of the test samples, by column.
    """
    facts, mine = verdict.facts, measured.samples
    if not isinstance(facts, MetricFacts) or facts.quantity not in _ON_SAMPLES:
        return drop
    if mine is None or past.samples is None:
        whose = "this run" if mine is None else past.label
        lack = f"on which samples: what {whose} did on each was not kept"
        return replace(drop, untold=(*drop.untold, lack))
    if not are_same_samples(mine, past.samples):
        lack = f"on which samples: {past.label} was measured on other test samples"
        return replace(drop, untold=(*drop.untold, lack))
    sides = _sides(facts, mine, past.samples)
    if sides is None:
        lack = f"on which samples: {facts.metric} has no value of a single sample"
        return replace(drop, untold=(*drop.untold, lack))
    prefix = sides.prefix
    names = names_of_output(measured.class_names, (prefix or "").removesuffix("_"))
    chosen = sides.counted & _rows_of(verdict, mine, facts)
    flips = sides.sign * (sides.then[0] - sides.now[0]) > 0 if sides.is_right else None
    return replace(
        drop,
        values=sides.values,
        parts=tuple(_parts(sides, mine, columns, names)),
        flips=None if flips is None else int(np.count_nonzero(flips & chosen)),
        samples=tuple(_samples(sides, chosen, mine, past.samples, names)),
    )


_ON_SAMPLES = (Quantity.METRIC, Quantity.GAIN_OVER_DUMMY)


def _sides(facts: MetricFacts, mine: Samples, theirs: Samples) -> _Sides | None:
    """Return both models' values of each sample: the metric's own, else right or wrong, else the error."""
    metric = facts.metric
    prefix = mine.reported(metric)
    if prefix is None and len(mine.truth) == 1:
        prefix = next(iter(mine.truth))
    if metric.endswith(NEGATIVE_FLIPS):
        prefix = metric.removesuffix(NEGATIVE_FLIPS)
    elif metric in mine.values and metric in theirs.values:
        now, then = mine.values[metric], theirs.values[metric]
        is_more = facts.comparison.wants_more
        if facts.comparison is Operator.WITHIN:  # it is worse on whichever side it is
            is_more = float(np.mean(then)) >= float(np.mean(now))
        sign = 1 if is_more else -1
        counted = np.asarray(np.isfinite(now.astype(np.float64)).all(axis=0))
        if metric in mine.weights:
            counted &= mine.weights[metric] > 0
        is_right = now.dtype == then.dtype == bool and (
            sign > 0 or facts.comparison is not Operator.WITHIN
        )
        numbers = [np.asarray(side, np.float64) for side in (now, then)]
        return _Sides(metric, sign, numbers[0], numbers[1], counted, prefix, is_right)
    if prefix is None or prefix not in mine.truth or prefix not in theirs.truth:
        return None
    right = [right_answers(samples, prefix) for samples in (mine, theirs)]
    if right[0] is not None and right[1] is not None:
        truth = mine.truth[prefix]
        # Labels are never below 0.
        has_class: Array = np.asarray(truth.reshape(len(truth), -1)[:, 0] >= 0)
        numbers = [right[0].astype(np.float64), right[1].astype(np.float64)]
        return _Sides("right answers", 1, numbers[0], numbers[1], has_class, prefix, True)
    errors = [_errors(samples, prefix) for samples in (mine, theirs)]
    if errors[0] is None or errors[1] is None:
        return None
    known = [np.asarray(np.isfinite(side).all(axis=0)) for side in (errors[0], errors[1])]
    return _Sides("absolute error", -1, errors[0], errors[1], known[0] & known[1], prefix, False)


def _errors(samples: Samples, prefix: str) -> Array | None:
    """Return the mean absolute error of each sample's targets, (refits, n); None where they are not kept."""
    truth, predicted = samples.truth[prefix], samples.predicted.get(prefix)
    if predicted is None or truth.dtype.kind != "f" or predicted.shape[1:] != truth.shape:
        return None
    apart: Array = np.abs(predicted.astype(np.float64) - truth)
    return np.asarray(apart.reshape(*apart.shape[:2], -1).mean(axis=2))


def _rows_of(verdict: Verdict, samples: Samples, facts: MetricFacts) -> Array:
    """Return which samples a gate's red slices have, all of a gate without slices; bool of shape (n,)."""
    everything = np.ones(samples.size, bool)
    rule = facts.slices
    if rule is None:
        return everything
    if rule.name is not None and not rule.is_grouped:
        return samples.slices.get(rule.name, everything)
    results = verdict.details.slices if isinstance(verdict.details, SliceResults) else ()
    red = [result for result in results if result.outcome is verdict.outcome]
    chosen = np.zeros(samples.size, bool)
    for result in red:
        groups = None if rule.name is None else samples.groups.get(rule.name)
        if result.group is not None and groups is not None:
            chosen |= groups.mask(result.group)
        elif result.label is not None:
            try:
                chosen |= samples.of_class(facts.metric, result.label)
            except LookupError:
                return everything
    return chosen if chosen.any() else everything


def _parts(
    sides: _Sides, samples: Samples, columns: Mapping[str, Groups], names: ClassNames
) -> Iterator[WorsePart]:
    """Yield the parts of the test samples that lost more than all of them, what they lost beyond that first."""
    now, then = sides.now.mean(axis=0), sides.then.mean(axis=0)
    lost = sides.sign * (then - now)
    counted = sides.counted
    if not counted.any():
        return
    usual = max(0.0, float(lost[counted].mean()))
    ranked = []
    for place, (name, mask) in enumerate(_masks(samples, sides.prefix, columns, names)):
        rows = mask & counted
        n = int(np.count_nonzero(rows))
        beyond = float((lost[rows] - usual).sum()) if n >= SMALLEST_PART else 0.0
        if beyond > 1e-9:
            part = WorsePart(name, n, float(then[rows].mean()), float(now[rows].mean()))
            ranked.append((-beyond, place, part))
    yield from (part for _, _, part in sorted(ranked)[:MOST_PARTS])


def _masks(
    samples: Samples, prefix: str | None, columns: Mapping[str, Groups], names: ClassNames
) -> Iterator[tuple[str, Array]]:
    """Yield each class, slice and group by its name, with which samples it has, bool of shape (n,)."""
    truth = None if prefix is None else samples.truth.get(prefix)
    for label in samples.classes.get(prefix, ()) if prefix is not None else ():
        if truth is not None and truth.dtype.kind != "f":
            is_of_class = truth == label if truth.ndim == 1 else truth[:, label]
            yield f"class {names.label(label)}", np.asarray(is_of_class)
    for name, mask in samples.slices.items():
        yield f'slice "{name}"', mask
    for by, groups in {**columns, **samples.groups}.items():
        if len(groups.labels) <= MOST_PARTS_BY and len(groups.codes) == samples.size:
            for value in groups.labels:
                yield f'{by} "{value}"', groups.mask(value)


def _samples(
    sides: _Sides, chosen: Array, mine: Samples, theirs: Samples, names: ClassNames
) -> Iterator[WorseSample]:
    """Yield the samples that flipped, those first that most refits have wrong; or whose error grew most."""
    lost = sides.sign * (sides.then[0] - sides.now[0])
    worse = np.flatnonzero(chosen & (lost > 0))
    weight = -sides.sign * sides.now.mean(axis=0) if sides.is_right else lost
    for row in worse[np.argsort(-weight[worse], kind="stable")][:MOST_SAMPLES].tolist():
        truth = None if sides.prefix is None else mine.truth.get(sides.prefix)
        answers = [_predicted(side, sides.prefix, row) for side in (theirs, mine)]
        told = "" if truth is None else _text(truth[row], names)
        then, now = (("" if one is None else _text(one, names)) for one in answers)
        yield WorseSample(row, told, then, now, None if sides.is_right else float(lost[row]))


def _predicted(samples: Samples, prefix: str | None, row: int) -> Array | None:
    predicted = None if prefix is None else samples.predicted.get(prefix)
    return None if predicted is None or not len(predicted) else predicted[0, row]


def _text(answer: Array, names: ClassNames) -> str:
    """Return a class, labels or numbers as text."""
    values = np.asarray(answer)
    if values.dtype == bool:
        return ", ".join(names.label(int(label)) for label in np.flatnonzero(values)) or "none"
    if values.dtype.kind != "f":
        return names.label(int(values)) if values.ndim == 0 else ""
    listed: Sequence[float] = values.reshape(-1).tolist()
    more = ", ..." if len(listed) > MOST_TOLD_TARGETS else ""
    return ", ".join(f"{number:.4g}" for number in listed[:MOST_TOLD_TARGETS]) + more
