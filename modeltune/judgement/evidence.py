"""Compare a metric of this run and of a recorded one, by the best evidence that both have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeltune.judgement.significance import (
    Comparison,
    compare_outcomes,
    compare_resampled,
    compare_samples,
    compare_seeds,
    compare_weighted,
    resamples,
)
from modeltune.records import (
    CLASS_METRICS,
    Array,
    Past,
    RefitId,
    Samples,
    Scores,
    are_same_truth,
    class_metric,
    label_metric,
)

ENOUGH_SEEDS = 3
"""With so many refits on both sides, the recipes are compared; with fewer, two of their models."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run kept about its refits on test; ``rows`` is a slice by name, a class, or None for all."""

    scores: dict[str, Scores]
    refits: tuple[RefitId, ...]
    samples: Samples | None
    rows: str | int | None = None

    @classmethod
    def of(cls, past: Past) -> Evidence:
        """Return the evidence of a recorded run."""
        return cls(dict(past.scores), past.refits, past.samples)

    def on(self, rows: str | int | None) -> Evidence:
        """Return the evidence on a slice, by its name, or on a class."""
        return replace(self, rows=rows)

    def values(self, metric: str) -> tuple[float, ...]:
        """Return the metric's value of each refit; nothing where it was not measured."""
        if self.rows is None:
            scores = self.scores.get(metric)
            return scores.values if scores else ()
        if self.samples is None or not self.has_rows:
            return ()
        values = [self._score(metric, refit) for refit in range(self.samples.refits)]
        return tuple(value for value in values if value is not None)

    @property
    def has_rows(self) -> bool:
        """Whether the samples know the slice or class."""
        if self.samples is None:
            return False
        if isinstance(self.rows, str):
            return self.rows in self.samples.slices
        return self.rows is None or bool(self.samples.truth)

    def mask(self, metric: str) -> Array:
        """Return which samples are in the slice or class, bool of shape (n,)."""
        assert self.samples is not None
        if self.rows is None:
            return np.ones(self.samples.size, bool)
        if isinstance(self.rows, str):
            return self.samples.slices[self.rows]
        return self.samples.of_class(metric, self.rows)

    def _score(self, metric: str, refit: int) -> float | None:
        assert self.samples is not None
        if isinstance(self.rows, int):
            return self.samples.class_score(metric, refit, self.rows)
        return self.samples.score(metric, refit, self.mask(metric))


@dataclass(frozen=True, eq=False)
class ValuePair:
    """A candidate's and a reference's value, and the test of their difference, if one is possible.

    ``is_kept_model`` tells that only the refits whose weights are kept were compared.
    """

    candidate: float
    reference: float
    comparison: Comparison | None
    is_kept_model: bool = False


def compare(
    metric: str, sign: int, candidate: Evidence, reference: Evidence, overlap: float = 0.0
) -> ValuePair:
    """Compare by seeds when both have three or more, else sample by sample, else by what there is.

    Args:
        metric: measured by both.
        sign: 1 where more is better, -1 where less is.
        overlap: 1/(k-1) when the refits are k folds, whose training parts are nearly the same.
    """
    mine, theirs = candidate.values(metric), reference.values(metric)
    fewest = min(len(mine), len(theirs))
    is_paired = candidate.refits == reference.refits and len(mine) == len(theirs)
    if fewest < ENOUGH_SEEDS and _are_same_samples(candidate, reference):
        if is_kept_model := len(mine) != len(theirs):
            mine, theirs = mine[:1], theirs[:1]
        by_samples = _by_samples(metric, sign, candidate, reference, len(mine))
        if by_samples is not None:
            means = float(np.mean(mine)), float(np.mean(theirs))
            return ValuePair(*means, by_samples, is_kept_model)
        mine, theirs = candidate.values(metric), reference.values(metric)
    means = float(np.mean(mine)), float(np.mean(theirs))
    if fewest < 2:
        return ValuePair(*means, None)
    by_seeds = compare_seeds(
        sign * np.array(theirs), sign * np.array(mine), paired=is_paired, overlap=overlap
    )
    return ValuePair(*means, by_seeds)


def _are_same_samples(one: Evidence, other: Evidence) -> bool:
    mine, theirs = one.samples, other.samples
    if mine is None or theirs is None or mine.size != theirs.size:
        return False
    return all(
        are_same_truth(truth, theirs.truth[name])
        for name, truth in mine.truth.items()
        if name in theirs.truth
    )


def is_other_slice(candidate: Evidence, reference: Evidence) -> bool:
    """Tell whether a slice of the same test samples holds other samples today than it did then."""
    mine, theirs, name = candidate.samples, reference.samples, candidate.rows
    if mine is None or theirs is None or not isinstance(name, str):
        return False
    are_same = _are_same_samples(candidate, reference)
    return are_same and not np.array_equal(mine.slices[name], theirs.slices[name])


def _by_samples(
    metric: str, sign: int, candidate: Evidence, reference: Evidence, refits: int
) -> Comparison | None:
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    is_report_of_class = isinstance(candidate.rows, int) and metric not in mine.values
    if metric in mine.values and metric in theirs.values and not is_report_of_class:
        rows = candidate.mask(metric)
        one, other = mine.values[metric][:refits, rows], theirs.values[metric][:refits, rows]
        is_counted_alike = metric not in mine.weights and metric not in theirs.weights
        if refits == 1 and one.dtype == other.dtype == bool and is_counted_alike:
            # A share of samples to be kept low is one of their complements to be kept high.
            return compare_outcomes(other[0] == (sign > 0), one[0] == (sign > 0))
        difference = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
        if is_counted_alike:
            return compare_samples(sign * difference)
        weights, others = mine.weights.get(metric), theirs.weights.get(metric)
        if weights is None or others is None or not np.array_equal(weights, others):
            return None  # other steps count today
        return compare_weighted(sign * difference, weights[rows])
    if mine.reported(metric) is None or theirs.reported(metric) is None:
        return None
    deltas = np.array(list(_resample(metric, candidate, reference, refits)))
    measured = [
        float(np.mean(evidence.values(metric)[:refits])) for evidence in (candidate, reference)
    ]
    deltas = deltas[np.isfinite(deltas)]
    if not len(deltas):
        return None
    size = int(np.count_nonzero(candidate.mask(metric)))
    return compare_resampled(sign * deltas, sign * (measured[0] - measured[1]), size)


def _resample(
    metric: str, candidate: Evidence, reference: Evidence, refits: int
) -> Iterator[float]:
    """Yield candidate minus reference, of a metric of the report, on resamples of the rows."""
    mine, theirs = candidate.samples, reference.samples
    assert mine is not None
    assert theirs is not None
    prefix = mine.reported(metric)
    assert prefix is not None
    name, truth = metric.removeprefix(prefix), mine.truth[prefix]
    label = candidate.rows if isinstance(candidate.rows, int) else None
    rows = np.arange(mine.size) if label is not None else np.flatnonzero(candidate.mask(metric))
    sides = [(side, side.predicted[prefix]) for side in (mine, theirs)]

    def score(side: Samples, predicted: Array, refit: int, picked: Array) -> float:
        if truth.dtype == bool and label is not None:
            column = truth[picked][:, [label]]
            return label_metric(name, column, predicted[refit][picked][:, [label]])
        if truth.ndim > 1:
            return _require(side.score(metric, refit, picked))
        if label is not None and label not in truth[picked]:
            return float("nan")
        return class_metric(name, truth[picked], predicted[refit][picked], label)

    for picks in resamples(len(rows)):
        for pick in picks:
            one, other = (
                np.mean([score(side, predicted, refit, rows[pick]) for refit in range(refits)])
                for side, predicted in sides
            )
            yield float(one - other)


def _require(value: float | None) -> float:
    return float("nan") if value is None else value


def classes_to_judge(metric: str, samples: Samples) -> Sequence[int]:
    """Return the classes a metric can be judged on: those that train or test have any of.

    Raises:
        LookupError: there are none, or the samples do not give the metric.
    """
    labels = samples.classes[samples.classified(metric)]
    prefix = samples.reported(metric)
    is_report = prefix is not None and metric.removeprefix(prefix) in CLASS_METRICS
    if metric not in samples.values and not is_report:
        raise LookupError("not a mean over samples")
    return labels
