"""Compare a metric of this run and of a recorded one, by the best evidence that both have."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from modeltune.judgement.group_flips import (
    cluster_resamples,
    compare_group_means,
    compare_group_scores,
    members,
    widening,
)
from modeltune.judgement.rows import Group, Rows
from modeltune.judgement.seeds_and_samples import (
    CrossedT,
    SampleNoise,
    compare_crossed,
    influences_left_out,
    influences_of_means,
    influences_of_parts,
    is_worth_pairing,
)
from modeltune.judgement.significance import (
    REPLICATES,
    Comparison,
    compare_areas,
    compare_outcomes,
    compare_resampled,
    compare_samples,
    compare_seeds,
    compare_weighted,
    effective_size,
    jackknife,
    resamples,
)
from modeltune.judgement.time_blocks import time_blocks
from modeltune.records import (
    CLASS_METRICS,
    Answers,
    Array,
    Past,
    RefitId,
    Samples,
    Scores,
    UndefinedMetricError,
    Unit,
    are_same_truth,
    call_metric,
    class_metric,
    decision_curve,
    failure_of,
    label_metric,
    takes_metadata,
    usual_metric,
)
from modeltune.specs import CurvePoint, MetricFunction

ENOUGH_SEEDS = 3
"""With so many refits on both sides, the recipes are compared; with fewer, two of their models."""

MANY_SEEDS = 5
"""With so many refits on both sides the seeds alone decide which recipe is better."""

AS_SMALL = 1.01
"""By what factor two drops may differ that count as alike: the one decides that holds for new data too."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run kept about its refits on test; ``rows`` is a slice, a class, a group, or None for all.

    ``function`` computes the metric that is judged where it is the author's own.
    """

    scores: dict[str, Scores]
    refits: tuple[RefitId, ...]
    samples: Samples | None
    rows: Rows | None = None
    function: MetricFunction | None = None

    @classmethod
    def of(cls, past: Past, function: MetricFunction | None = None) -> Evidence:
        """Return the evidence of a recorded run."""
        return cls(dict(past.scores), past.refits, past.samples, None, function)

    def on(self, rows: Rows | None) -> Evidence:
        """Return the evidence on a slice, by its name, on a class, or on a group."""
        return replace(self, rows=rows)

    def beside(self, other: Evidence) -> Evidence:
        """Return the evidence with the metadata of the same samples, which a baseline file leaves out."""
        if self.samples is None or other.samples is None or other.samples.metadata is None:
            return self
        if not are_same_samples(self.samples, other.samples):
            return self
        return replace(self, samples=replace(self.samples, metadata=other.samples.metadata))

    def values(self, metric: str) -> tuple[float, ...]:
        """Return the metric's value of each refit; nothing where it was not measured.

        Raises:
            UndefinedMetricError: the slice or class gives no value.
        """
        if self.rows is None:
            scores = self.scores.get(metric)
            return scores.values if scores else ()
        if self.samples is None or not self.has_rows:
            return ()
        rows = np.flatnonzero(self.mask(metric))
        values = [self._score(metric, refit, rows) for refit in range(self.samples.refits)]
        return tuple(value for value in values if value is not None)

    @property
    def has_rows(self) -> bool:
        """Whether the samples know the slice, class or group."""
        if self.samples is None:
            return False
        if isinstance(self.rows, Group):
            known = self.samples.groups.get(self.rows.by)
            return known is not None and self.rows.value in known.labels
        if isinstance(self.rows, str):
            return self.rows in self.samples.slices
        return self.rows is None or bool(self.samples.truth)

    @property
    def unit(self) -> Unit:
        """What is independent of each other in it."""
        if self.samples is None or _are_apart(self.samples, self.samples):
            return Unit.SAMPLES
        return Unit.BLOCKS if self.samples.clusters is None else Unit.GROUPS

    def units(self, metric: str) -> Array:
        """Return which of its units each sample of the slice, class or group is in, int of shape (k,)."""
        samples = self.samples
        assert samples is not None
        rows = np.flatnonzero(self.mask(metric))
        if self.unit is Unit.SAMPLES:
            return rows
        if metric in samples.values:
            series = samples.values[metric][:, rows].mean(axis=0, dtype=np.float64)
        else:
            prefix = samples.reported(metric) or next(iter(samples.truth))
            series = _error(samples, prefix, samples.refits, rows)
        return _units(samples, samples, rows, series)[0]

    def count(self, metric: str) -> int:
        """Return how many of its units are in the slice, class or group."""
        return len(np.unique(self.units(metric)))

    def is_told(self, metric: str) -> bool:
        """Tell whether the samples give the metric on some of them."""
        samples = self.samples
        if samples is None:
            return False
        is_own = (
            self.function is not None
            and (samples.metadata is not None or not takes_metadata(self.function))
            and bool(samples.outputs_by_name(0))
        )
        return metric in samples.values or is_own or samples.reported(metric) is not None

    def nearest(self, metric: str, point: CurvePoint) -> str | None:
        """Say what comes nearest to the condition of a point where no threshold fulfils it; None if one does.

        None of labels too, of which each has a curve of its own.
        """
        samples, rows = self.samples, self.rows
        prefix = None if samples is None else samples.reported(metric)
        if samples is None or prefix is None or point.is_threshold or isinstance(rows, int):
            return None
        if samples.task(prefix) != "binary":
            return None
        chosen = np.flatnonzero(self.mask(metric))
        curves = [decision_curve(samples.answers(prefix, r, chosen)) for r in range(samples.refits)]
        near = [curve.nearest(point.condition, point.value) for curve in curves]
        lacking = [one for one in near if one is not None]
        if not lacking:
            return None
        which = "" if len(near) == 1 else f"in {len(lacking)} of {len(near)} refits "
        best, threshold = lacking[0]
        return (
            f"{which}no threshold has a {point.condition} of {point.value:g}: the best is {best:.4g}, "
            f"at {threshold:.4g}"
        )

    def mask(self, metric: str) -> Array:
        """Return which samples are in the slice, class or group, bool of shape (n,)."""
        assert self.samples is not None
        if self.rows is None:
            return np.ones(self.samples.size, bool)
        if isinstance(self.rows, Group):
            return self.samples.groups[self.rows.by].mask(self.rows.value)
        if isinstance(self.rows, str):
            return self.samples.slices[self.rows]
        return self.samples.of_class(metric, self.rows)

    def _score(self, metric: str, refit: int, rows: Array) -> float | None:
        samples = self.samples
        assert samples is not None
        if self.function is not None and metric not in samples.values:
            answers = samples.outputs_by_name(refit, rows)
            known = samples.metadata_on(rows)
            return own_value(self.function, answers, known) if answers else None
        if isinstance(self.rows, int):
            return samples.class_score(metric, refit, self.rows)
        return samples.score(metric, refit, rows)


def own_value(
    function: MetricFunction, answers: Mapping[str, Answers], metadata: Any = None
) -> float:
    """Return what a metric of the author's gives, the mean where it has one value per sample.

    Raises:
        UndefinedMetricError: it raised; says what, and where.
    """
    try:
        return float(np.mean(call_metric(function, answers, metadata)))
    except (Exception, SystemExit) as error:
        failure = failure_of(error)
        raise UndefinedMetricError(failure.reason, failure.traceback) from error


@dataclass(frozen=True, eq=False)
class ValuePair:
    """A candidate's and a reference's value, and the test of their difference, if one is possible.

    ``is_kept_model`` tells that only the refits whose weights are kept were compared. ``lack`` says
    why there is no test, ``problem`` why nothing can be told. ``crossed`` is the comparison for new data and
    new seeds, where there are several refits on the same samples; it may be the one that decides.
    """

    candidate: float
    reference: float
    comparison: Comparison | None
    is_kept_model: bool = False
    lack: str = "one refit, and no samples in common"
    problem: str | None = None
    crossed: CrossedT | None = None


MOST_UNDEFINED = 0.05
"""The share of resamples without a value of which nothing is told."""

SCORED_REPLICATES = 1000
"""Resamples of each group where the metric is computed on every one anew."""

MOST_RESAMPLED = 20_000
"""Samples of a group beyond which the mean over a resample is taken to be normal."""

MOST_COMBINATIONS = 10_000
"""Combinations of classes that are counted instead of drawing each sample of a resample."""

NOT_TOLD = "one refit, and single samples do not tell this metric"
NOT_TOLD_OF = {
    unit: f"{NOT_TOLD}, so that their {unit.value} are not looked at"
    for unit in (Unit.GROUPS, Unit.BLOCKS)
}
NOT_KEPT = "one refit, and the predictions it is computed from are not kept with both runs"


def compare_evidence(
    metric: str, sign: int, candidate: Evidence, reference: Evidence, overlap: float = 0.0
) -> ValuePair:
    """Compare by seeds when both have three or more, else sample by sample, else by what there is.

    On the same samples three or more seeds are also compared for new data and new seeds. That decides with
    fewer than ``MANY_SEEDS`` if it can detect as small a drop, and where the seeds have no spread at all.

    Args:
        metric: measured by both.
        sign: 1 where more is better, -1 where less is.
        overlap: 1/(k-1) when the refits are k folds, whose training parts are nearly the same.
    """
    mine, theirs = candidate.values(metric), reference.values(metric)
    fewest = min(len(mine), len(theirs))
    lack, crossed = ValuePair.lack, None
    if fewest >= 2 and not overlap:
        crossed = _crossed(metric, sign, candidate, reference)
    if fewest < ENOUGH_SEEDS and are_same_samples(candidate.samples, reference.samples):
        if is_kept_model := len(mine) != len(theirs):
            mine, theirs = mine[:1], theirs[:1]
        by_samples = _by_samples(metric, sign, candidate, reference, len(mine))
        means = float(np.mean(mine)), float(np.mean(theirs))
        if isinstance(by_samples, str):
            return ValuePair(*means, None, is_kept_model, problem=by_samples)
        if by_samples is not None:
            return ValuePair(*means, by_samples, is_kept_model, crossed=crossed)
        mine, theirs = candidate.values(metric), reference.values(metric)
        units = (side.unit for side in (candidate, reference))
        whole = next((unit for unit in units if unit is not Unit.SAMPLES), None)
        lack = NOT_TOLD if whole is None else NOT_TOLD_OF[whole]
        if candidate.function is not None or candidate.is_told(metric):
            lack = NOT_KEPT
    means = float(np.mean(mine)), float(np.mean(theirs))
    if fewest < 2:
        return ValuePair(*means, None, lack=lack)
    if crossed is None:
        before, after = (sign * np.array(values) for values in (theirs, mine))
        is_paired = candidate.refits == reference.refits and len(mine) == len(theirs)
        return ValuePair(*means, compare_seeds(before, after, is_paired, overlap))
    decides = _is_better(crossed, fewest)
    return ValuePair(*means, crossed if decides else crossed.over_seeds, crossed=crossed)


def _crossed(metric: str, sign: int, candidate: Evidence, reference: Evidence) -> CrossedT | None:
    """Return the comparison for new data and new seeds, None where no samples tell how the values vary with them."""
    mine, theirs = candidate.values(metric), reference.values(metric)
    noise = None
    if are_same_samples(candidate.samples, reference.samples):
        noise = _sample_noise(metric, candidate, reference, (len(mine), len(theirs)))
    if noise is None:
        return None
    is_paired = candidate.refits == reference.refits and is_worth_pairing(noise)
    return compare_crossed(sign * np.array(theirs), sign * np.array(mine), noise, is_paired)


def _is_better(crossed: CrossedT, seeds: int) -> bool:
    """Tell whether the comparison for new data finds as small drops as the seeds alone, which must be few."""
    smallest, of_seeds = crossed.detectable(), crossed.over_seeds.detectable()
    if of_seeds is None or smallest is None:  # one of them has no spread, or too few groups
        return of_seeds is None
    return seeds < MANY_SEEDS and smallest <= of_seeds * AS_SMALL


def are_same_samples(mine: Samples | None, theirs: Samples | None) -> bool:
    """Tell whether two runs were measured on the same test samples, as far as their truth shows."""
    if mine is None or theirs is None or mine.size != theirs.size:
        return False
    return all(
        are_same_truth(truth, theirs.truth[name])
        for name, truth in mine.truth.items()
        if name in theirs.truth
    )


def is_other_slice(candidate: Evidence, reference: Evidence) -> bool:
    """Tell whether a slice of the same test samples holds other samples today than it did then."""
    if candidate.samples is None or reference.samples is None:
        return False
    if not isinstance(candidate.rows, str | Group):
        return False
    are_same = are_same_samples(candidate.samples, reference.samples)
    # The metric's name tells only which output a class is of.
    return are_same and not np.array_equal(candidate.mask(""), reference.mask(""))


def _by_samples(
    metric: str, sign: int, candidate: Evidence, reference: Evidence, refits: int
) -> Comparison | str | None:
    """Return the comparison on the same samples, why it tells nothing, or None where they do not allow one."""
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    is_apart = _are_apart(mine, theirs)
    is_report_of_class = isinstance(candidate.rows, int) and metric not in mine.values
    if metric in mine.values and metric in theirs.values and not is_report_of_class:
        rows = candidate.mask(metric)
        one, other = mine.values[metric][:refits, rows], theirs.values[metric][:refits, rows]
        is_counted_alike = metric not in mine.weights and metric not in theirs.weights
        if is_apart and refits == 1 and one.dtype == other.dtype == bool and is_counted_alike:
            # A share of samples to be kept low is one of their complements to be kept high.
            return compare_outcomes(other[0] == (sign > 0), one[0] == (sign > 0))
        difference = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
        weights, others = mine.weights.get(metric), theirs.weights.get(metric)
        if not is_counted_alike and (
            weights is None or others is None or not np.array_equal(weights, others)
        ):
            return None  # other steps count today
        counts = None if weights is None else weights[rows]
        if not is_apart:
            codes, unit = _units(mine, theirs, np.flatnonzero(rows), difference)
            return compare_group_means(sign * difference, codes, counts, unit)
        if counts is None:
            return compare_samples(sign * difference)
        return compare_weighted(sign * difference, counts)
    if not candidate.is_told(metric) or not reference.is_told(metric):
        return None
    if metric in mine.values or metric in theirs.values:
        return None  # one of them gave a value per sample, the other did not
    areas = _areas(metric, candidate, reference, refits) if is_apart else None
    if areas is not None:
        truth, one, other = areas
        one, other = (one, other) if sign > 0 else (other, one)
        return compare_areas(truth, other, one)
    return _by_resamples(metric, sign, candidate, reference, refits)


NOISE_PARTS = 100
"""Into how many parts samples are divided at most, to compute a metric without each."""


def _sample_noise(
    metric: str, candidate: Evidence, reference: Evidence, refits: tuple[int, int]
) -> SampleNoise | None:
    """Return how the scores of all refits vary with the samples; None where these do not tell the metric."""
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    if (mine.refits, theirs.refits) != refits or (metric in mine.values) != (
        metric in theirs.values
    ):
        return None
    codes, unit = None, Unit.SAMPLES
    if metric in mine.values:
        rows = np.flatnonzero(candidate.mask(metric))
        values = np.concatenate([side.values[metric][:, rows] for side in (mine, theirs)])
        weights, others = mine.weights.get(metric), theirs.weights.get(metric)
        if (weights is None) != (others is None):
            return None  # other steps count today
        if weights is not None and others is not None:
            if not np.array_equal(weights, others):
                return None
            rows, values = rows[weights[rows] > 0], values[:, weights[rows] > 0]
            weights = weights[rows]
        if not len(rows):
            return None
        if not _are_apart(mine, theirs):
            apart = np.split(values, [refits[0]])
            series = apart[0].mean(axis=0, dtype=np.float64) - apart[1].mean(axis=0)
            codes, unit = _units(mine, theirs, rows, series)
        n = len(rows) if codes is None else len(np.unique(codes))
        if codes is None and n > MOST_RESAMPLED:
            codes = np.arange(n) % MOST_RESAMPLED  # sums of some samples each tell as much
        return SampleNoise(influences_of_means(values, codes, weights), refits[0], n, unit)
    if not candidate.is_told(metric) or not reference.is_told(metric):
        return None
    rows = _drawn_from(metric, candidate)
    parts = np.arange(len(rows))
    if not _are_apart(mine, theirs):
        prefix = mine.reported(metric) or next(iter(mine.truth))
        series = _error(theirs, prefix, refits[1], rows) - _error(mine, prefix, refits[0], rows)
        parts, unit = _units(mine, theirs, rows, series)
    _, parts = np.unique(parts, return_inverse=True)
    n = int(parts.max(initial=-1)) + 1
    # Blocks stay beside their neighbours.
    parts = parts * min(n, NOISE_PARTS) // n if unit is Unit.BLOCKS else parts % NOISE_PARTS
    # Of many samples a part tells enough by itself, and takes a hundredth of the time.
    is_alone = len(rows) > MOST_RESAMPLED
    picks = [np.flatnonzero((parts == part) == is_alone) for part in range(min(n, NOISE_PARTS))]
    scores = np.array(
        [
            _scores(partial(_refit_scorer(metric, side), refit), rows, iter(picks))
            for side, count in zip((candidate, reference), refits, strict=True)
            for refit in range(count)
        ]
    )
    is_defined = np.isfinite(scores).all(axis=0)
    if np.count_nonzero(is_defined) < max(2, (1 - MOST_UNDEFINED) * len(picks)):
        return None
    influences_of = influences_of_parts if is_alone else influences_left_out
    return SampleNoise(influences_of(scores[:, is_defined]), refits[0], n, unit)


def _are_apart(one: Samples, other: Samples) -> bool:
    """Tell whether each sample stands for itself. That one side says how they belong together is enough."""
    return not any(samples.is_ordered or samples.clusters is not None for samples in (one, other))


def _units(one: Samples, other: Samples, rows: Array, series: Array) -> tuple[Array, Unit]:
    """Return which group, or block in time, each of these rows (k,) is in, int of shape (k,), and what they are.

    ``series``, of shape (k,), says by which difference of both sides blocks are cut.
    """
    clusters = other.clusters if one.clusters is None else one.clusters
    if clusters is not None:
        return clusters[rows], Unit.GROUPS
    return time_blocks(series), Unit.BLOCKS


def _error(samples: Samples, prefix: str, refits: int, rows: Array) -> Array:
    """Return how wrong an output is on each of these rows (k,), the mean over refits, float64 of shape (k,)."""
    truth, predicted = samples.truth[prefix][rows], samples.predicted[prefix][:refits, rows]
    if truth.dtype.kind == "f":
        wrong = np.abs(np.nan_to_num(predicted.astype(np.float64) - truth))
    else:
        wrong = (predicted != truth).astype(np.float64)
    error: Array = wrong.reshape(refits, len(rows), -1).mean(axis=(0, 2))
    return error


def _by_resamples(
    metric: str, sign: int, candidate: Evidence, reference: Evidence, refits: int
) -> Comparison | str | None:
    """Return the comparison of a metric of all samples together, as ``_by_samples`` does."""
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    rows, drawn = np.flatnonzero(candidate.mask(metric)), _drawn_from(metric, candidate)
    codes, unit = None, Unit.SAMPLES
    prefix = mine.reported(metric) or next(iter(mine.truth))
    if not _are_apart(mine, theirs):
        series = _error(theirs, prefix, refits, drawn) - _error(mine, prefix, refits, drawn)
        codes, unit = _units(mine, theirs, drawn, series)
    classes = None
    if codes is None and len(rows) > MOST_RESAMPLED:
        classes = _class_replicates(metric, [candidate, reference], refits, rows, REPLICATES, 0)
    left_out = np.zeros(0)
    if _answer_alike(mine, theirs, refits):
        deltas = np.zeros(REPLICATES)
    elif codes is not None:
        deltas = _deltas(metric, candidate, reference, refits, members(codes, SCORED_REPLICATES))
    elif classes is not None:
        deltas = classes[0] - classes[1]
        left_out = _deltas(metric, candidate, reference, refits, jackknife(len(rows)))
    else:
        deltas, left_out = (
            _deltas(metric, candidate, reference, refits, picks)
            for picks in (_resampled(len(drawn)), jackknife(len(drawn)))
        )
    measured = [
        float(np.mean(evidence.values(metric)[:refits])) for evidence in (candidate, reference)
    ]
    defined = deltas[np.isfinite(deltas)]
    lost = 1 - len(defined) / len(deltas) if len(deltas) else 1.0
    is_of_report = candidate.function is None and mine.usual(metric) is None
    if lost > MOST_UNDEFINED and not is_of_report:
        return (
            f"{metric} has no value on {100 * lost:.2g} % of the resamples, as where one has no sample "
            "of a rare class; add such samples to test"
        )
    if not len(defined):
        return None
    delta = sign * (measured[0] - measured[1])
    if codes is not None:
        defined = sign * defined
        if unit is Unit.BLOCKS:
            defined = delta + widening(np.bincount(codes, series)) * (defined - delta)
        return compare_group_scores(defined, delta, len(np.unique(codes)), unit)
    effective = effective_size(left_out[np.isfinite(left_out)])
    return compare_resampled(sign * defined, delta, len(rows), effective)


def group_replicates(metric: str, evidence: Evidence, seed: int) -> Array:
    """Return the metric's mean over refits on resamples of the evidence's rows, float64 of shape (B,).

    Where the metric is no mean of values of the samples there are fewer, and NaN on those that give
    no value.
    """
    samples = evidence.samples
    assert samples is not None
    rows = np.flatnonzero(evidence.mask(metric))
    if evidence.unit is not Unit.SAMPLES:
        picks = cluster_resamples(evidence.units(metric), seed, SCORED_REPLICATES)
        return _scores(_scorer(metric, evidence, samples.refits), rows, picks)
    if metric in samples.values and metric not in samples.weights:
        values = samples.values[metric][:, rows]
        random = np.random.default_rng(seed)
        if len(values) == 1 and values.dtype == bool:
            return random.binomial(len(rows), values.mean(), REPLICATES) / len(rows)
        means = values.mean(axis=0, dtype=np.float64)
        if len(rows) > MOST_RESAMPLED:
            spread = float(np.std(means)) / math.sqrt(len(rows))
            return random.normal(float(np.mean(means)), spread, REPLICATES)
        batches = resamples(len(rows), REPLICATES, seed)
        return np.concatenate([means[picked].mean(axis=1) for picked in batches])
    if len(rows) > MOST_RESAMPLED:
        known = _class_replicates(metric, [evidence], samples.refits, rows, SCORED_REPLICATES, seed)
        if known is not None:
            return known[0]
    score = _scorer(metric, evidence, samples.refits)
    batches = resamples(len(rows), SCORED_REPLICATES, seed)
    return _scores(score, rows, (pick for batch in batches for pick in batch))


def _scores(score: Callable[[Array], float], rows: Array, picks: Iterator[Array]) -> Array:
    """Return what a scorer gives on picks of the rows, NaN where it has no value; (k,)."""
    scores = []
    with warnings.catch_warnings(), _checked_before():
        warnings.simplefilter("ignore")  # of a resample without some class
        for pick in picks:
            try:
                scores.append(score(rows[pick]))
            except UndefinedMetricError:
                scores.append(math.nan)
    return np.array(scores)


def _class_replicates(
    metric: str, sides: Sequence[Evidence], refits: int, rows: Array, replicates: int, seed: int
) -> list[Array] | None:
    """Return precision, recall or F1 of each side on resamples of many rows, float64 of shape (B,).

    A resample of rows is a multinomial draw of how often each combination of the true class and of those
    that the sides name occurs, so that the time it takes does not depend on how many rows there are.
    None where another metric is asked for, of one class, or where there are too many combinations.
    """
    columns: list[Array] = []
    name = ""
    for side in sides:
        samples = side.samples
        assert samples is not None
        prefix = samples.reported(metric)
        if prefix is None or side.function is not None or isinstance(side.rows, int):
            return None
        truth, name = samples.truth[prefix], metric.removeprefix(prefix)
        if name not in CLASS_METRICS or truth.ndim > 1:
            return None
        columns += [truth[rows], *samples.predicted[prefix][:refits, rows]]
    labels, codes = np.unique(np.array(columns), return_inverse=True)
    codes = codes.reshape(len(columns), len(rows))
    if len(labels) ** len(columns) > np.iinfo(np.int64).max:
        return None
    combined = np.ravel_multi_index(tuple(codes), (len(labels),) * len(columns))
    found, counts = np.unique(combined, return_counts=True)
    if len(found) > MOST_COMBINATIONS:
        return None
    cells = np.array(np.unravel_index(found, (len(labels),) * len(columns)))
    drawn = np.random.default_rng(seed).multinomial(len(rows), counts / len(rows), replicates)
    scores = []
    for sided in np.split(cells, len(sides)):
        truth, *predicted = sided
        values = [_class_metric_of(name, labels, truth, one, drawn) for one in predicted]
        scores.append(np.mean(values, axis=0))
    return scores


def _class_metric_of(
    name: str, labels: Array, truth: Array, predicted: Array, counts: Array
) -> Array:
    """Return what ``class_metric`` gives of counts (B, m) of m pairs of places among the labels, (B,)."""
    places = np.arange(len(labels))
    # Samples whose truth is negative do not count.
    counted = (labels[truth] >= 0)[:, None]
    is_true, is_named = (
        (truth[:, None] == places) & counted,
        (predicted[:, None] == places) & counted,
    )
    right, true, named = (counts @ of.astype(int) for of in (is_true & is_named, is_true, is_named))
    whole = {"precision": named, "recall": true, "f1": (true + named) / 2}[name]
    scores = np.divide(right, whole, out=np.zeros(right.shape), where=whole > 0)
    classes = np.count_nonzero(true, axis=1)
    mean = np.sum(scores, axis=1, where=true > 0) / np.maximum(classes, 1)
    return np.where(classes > 0, mean, np.nan)


def _answer_alike(one: Samples, other: Samples, refits: int) -> bool:
    """Tell whether both sides predicted the same, so that no resample of them can differ."""
    kept = [(one.predicted, other.predicted), (one.outputs, other.outputs)]
    return all(
        mine.keys() == theirs.keys()
        and all(np.array_equal(mine[name][:refits], theirs[name][:refits]) for name in mine)
        for mine, theirs in kept
    )


def _areas(
    metric: str, candidate: Evidence, reference: Evidence, refits: int
) -> tuple[Array, Array, Array] | None:
    """Return which samples are of a class, and the scores (refits, n) of both sides where ROC areas are compared."""
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    prefix = None if candidate.function is not None else mine.reported(metric)
    if prefix is None or metric.removeprefix(prefix) != "roc_auc":
        return None
    label = candidate.rows if isinstance(candidate.rows, int) else None
    if label is None and mine.task(prefix) != "binary":
        return None
    rows = np.arange(mine.size) if label is not None else np.flatnonzero(candidate.mask(metric))
    sides: list[list[Array]] = []
    truth = np.zeros(0, bool)
    for samples in (mine, theirs):
        sides.append([])
        for refit in range(refits):
            answers = samples.answers(prefix, refit, rows)
            answers = answers if label is None else answers.of_class(label)
            truth = answers.truth == 1
            sides[-1].append(answers.scores)
    return truth, np.array(sides[0]), np.array(sides[1])


def _resampled(n: int) -> Iterator[Array]:
    for batch in resamples(n):
        yield from batch


def _drawn_from(metric: str, candidate: Evidence) -> Array:
    """Return the rows that resamples are drawn from: all where a class is scored by its row of the report."""
    assert candidate.samples is not None
    if isinstance(candidate.rows, int) and candidate.function is None:
        return np.arange(candidate.samples.size)
    return np.flatnonzero(candidate.mask(metric))


def _deltas(
    metric: str, candidate: Evidence, reference: Evidence, refits: int, picks: Iterator[Array]
) -> Array:
    """Return candidate minus reference, of a metric of all samples together, on picks of the rows; (k,)."""
    rows = _drawn_from(metric, candidate)
    one, other = (_scorer(metric, side, refits) for side in (candidate, reference))
    return _scores(lambda picked: one(picked) - other(picked), rows, picks)


def _checked_before() -> AbstractContextManager[None]:
    """Return a context in which scikit-learn, where it is loaded, does not check arguments again."""
    if "sklearn" not in sys.modules:
        return nullcontext()
    from sklearn import config_context

    context: AbstractContextManager[None] = config_context(
        assume_finite=True, skip_parameter_validation=True
    )
    return context


def _scorer(metric: str, side: Evidence, refits: int) -> Callable[[Array], float]:
    """Return the function that scores a side on the samples of some numbers, its refits' mean."""
    score = _refit_scorer(metric, side)
    return lambda picked: float(np.mean([score(refit, picked) for refit in range(refits)]))


def _refit_scorer(metric: str, side: Evidence) -> Callable[[int, Array], float]:
    """Return the function that scores a refit of a side on the samples of some numbers."""
    samples, function = side.samples, side.function
    assert samples is not None
    if metric in samples.values:  # a weighted mean
        return lambda refit, picked: _require(samples.score(metric, refit, picked))
    if function is not None:

        def own(refit: int, picked: Array) -> float:
            answers, known = samples.outputs_by_name(refit, picked), samples.metadata_on(picked)
            return own_value(function, answers, known)

        return own
    prefix = samples.reported(metric)
    assert prefix is not None
    name, truth, predicted = (
        metric.removeprefix(prefix),
        samples.truth[prefix],
        samples.predicted[prefix],
    )
    label = side.rows if isinstance(side.rows, int) else None
    usual = samples.usual(metric) if label is None else usual_metric("binary", name)

    def score(refit: int, picked: Array) -> float:
        if usual is not None:
            answers = samples.answers(prefix, refit, picked)
            return usual.compute(answers if label is None else answers.of_class(label))
        if truth.dtype == bool and label is not None:
            column = truth[picked][:, [label]]
            return label_metric(name, column, predicted[refit][picked][:, [label]])
        if truth.ndim > 1:
            return _require(samples.score(metric, refit, picked))
        if label is not None and label not in truth[picked]:
            return float("nan")
        return class_metric(name, truth[picked], predicted[refit][picked], label)

    return score


def _require(value: float | None) -> float:
    return float("nan") if value is None else value


def classes_to_judge(metric: str, samples: Samples) -> Sequence[int]:
    """Return the classes a metric can be judged on: those that train or test have any of.

    Raises:
        LookupError: there are none, or the samples do not give the metric.
    """
    labels = samples.classes[samples.classified(metric)]
    prefix = samples.reported(metric)
    name = "" if prefix is None else metric.removeprefix(prefix)
    is_report = name in CLASS_METRICS or usual_metric("binary", name) is not None
    if metric not in samples.values and not is_report:
        raise LookupError("not a mean over samples")
    return labels
