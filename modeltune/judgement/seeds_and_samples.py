"""Compare recipes by models of several seeds on the same test samples: for new seeds and new samples at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from modeltune.judgement.group_flips import FEWEST_GROUPS, widening
from modeltune.judgement.significance import (
    ALPHA,
    POWER,
    TOLERANCE,
    Numbers,
    StudentT,
    compare_seeds,
    settle_claims,
)
from modeltune.records import Question, Unit

MOST_SEEDS = 1000
"""With so many seeds nothing but the samples is left to luck."""


@final
@dataclass(frozen=True, eq=False)
class SampleNoise:
    """How the scores of models vary with the test samples they are measured on.

    Args:
        influences: what each sample, group or block adds to the distance of each model's score from its
            expectation, shape (candidate's models + reference's, units); each row sums to 0.
        candidates: how many of the models are the candidate's.
        n: how many samples, groups or blocks there are; more than there are columns where some of
            them were left out together.
        unit: what these are.
    """

    influences: Numbers
    candidates: int
    n: int
    unit: Unit = Unit.SAMPLES

    @property
    def of_delta(self) -> float:
        """The variance of the difference of both sides' means, of these very models."""
        variance = float(self._difference @ self._difference) * self._bessel
        return variance * (widening(self._difference) ** 2 if self.unit is Unit.BLOCKS else 1.0)

    @property
    def freedom(self) -> float:
        """By how many units less one that variance is known (Satterthwaite, 1946, of a sum of squares)."""
        squares = np.square(self._difference)
        if not squares.any():
            return float(max(self.n - 1, 1))
        squares /= squares.max()
        return max(1.0, float(squares.sum() ** 2 / (squares @ squares)) - 1)

    def of_seeds(self, paired: bool) -> float:
        """Return the part of that variance which new seeds on the same samples would show too.

        It is that of what each model does on a sample beside the mean of its side.
        """
        counts = (self.candidates, len(self._covariance) - self.candidates)
        own = sum(part / k for part, k in zip(self._own, counts, strict=True))
        return max(0.0, own - (2 * self._shared / counts[0] if paired else 0.0))

    @property
    def correlation(self) -> float:
        """How alike models of both sides err beside their side's means if they have the same seed, -1 to 1.

        0 where both sides have other numbers of models.
        """
        scale = math.sqrt(self._own[0] * self._own[1])
        return min(1.0, max(-1.0, self._shared / scale)) if scale else 0.0

    @cached_property
    def _difference(self) -> Numbers:
        """What each unit adds to the distance of the difference from its expectation, (units,)."""
        mine, theirs = np.split(self.influences, [self.candidates])
        difference: Numbers = mine.mean(axis=0) - theirs.mean(axis=0)
        return difference

    @property
    def _bessel(self) -> float:
        units = int(self.influences.shape[1])
        return units / max(units - 1, 1)

    @cached_property
    def _covariance(self) -> Numbers:
        covariance: Numbers = self.influences @ self.influences.T * self._bessel
        return covariance

    @cached_property
    def _own(self) -> tuple[float, float]:
        """Of each side the variance of a model's score less the covariance of two models'."""
        k = self.candidates
        sides = self._covariance[:k, :k], self._covariance[k:, k:]
        # Of models that err alike arithmetic leaves the last digits.
        mine, theirs = (
            own if own > TOLERANCE * np.trace(side) else 0.0
            for side, own in zip(sides, map(_beside_mean, sides), strict=True)
        )
        return mine, theirs

    @cached_property
    def _shared(self) -> float:
        """How much more two models of the same seed vary together than two of other seeds."""
        between = self._covariance[: self.candidates, self.candidates :]
        return _beside_mean(between) if between.shape[0] == between.shape[1] else 0.0


def _beside_mean(covariance: Numbers) -> float:
    """Return the mean of a square matrix's diagonal less that of all other entries."""
    k = len(covariance)
    trace = float(np.trace(covariance))
    return trace / k - (float(covariance.sum()) - trace) / (k * (k - 1))


@final
@dataclass(frozen=True)
class CrossedT:
    """Mean scores of models of several seeds on the same samples, for new seeds and new samples.

    The variance of delta is that over seeds, as ``StudentT`` takes it, and what the samples add which seeds
    do not show: all new seeds would be measured on the same samples. In studies of readers and cases this is
    the method of Obuchowski & Rockette for readers nested in treatments (Hillis, Statistics in Medicine 33,
    2014, 330-360): seeds are the readers, recipes the treatments, samples the cases. The degrees of freedom
    are those of Satterthwaite. With as many seeds on both sides their variances are pooled, so that it fails
    no two equal recipes that the t-test with pooled variances would not. No p-value is below 2^-n of n
    samples; with fewer than ``FEWEST_GROUPS`` groups or blocks nothing is proven.

    Args:
        over_seeds: the comparison of the same scores over seeds.
        over_samples: the variance that the samples add.
        freedom: by how many samples less one that is known.
        samples: how many samples, groups or blocks there are.
        sample_unit: what these are.
    """

    over_seeds: StudentT
    over_samples: float
    freedom: float
    samples: int
    sample_unit: Unit = Unit.SAMPLES

    @property
    def question(self) -> Question:
        return Question.RECIPE_ON_NEW_DATA

    @property
    def test(self) -> str:
        return "crossed t"

    @property
    def n(self) -> int:
        return self.over_seeds.n

    @property
    def unit(self) -> Unit:
        return Unit.SEEDS

    @property
    def delta(self) -> float:
        return self.over_seeds.delta

    @property
    def p_worse(self) -> float:
        return self.p_below(0.0)

    def p_above(self, bound: float) -> float:
        return self._p(bound - self.delta)

    def p_below(self, bound: float) -> float:
        return self._p(self.delta - bound)

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        if not self._is_enough:
            return -math.inf, math.inf
        error, freedom = self._error()
        half = -float(special.stdtrit(freedom, alpha)) * error
        return self.delta - half, self.delta + half

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        return (self._distance(1.0, 1.0, alpha, power) or None) if self._is_enough else None

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        def needed(bound: float, alpha: float) -> float:
            distance, seeds = abs(self.delta - bound), max(2, self.n)
            while self._distance(seeds / self.n, 1.0, alpha, power) > distance:
                seeds += max(1, seeds // 50)
                if seeds > MOST_SEEDS:
                    return math.inf
            return seeds

        return settle_claims(self.delta, margin, alpha, needed) if self._is_enough else None

    def settle_samples(
        self, margin: float, alpha: float = ALPHA, power: float = POWER
    ) -> int | None:
        """Return how many samples (groups, blocks) would decide with as many seeds, as ``settle`` does.

        None also where no number would do, because seeds vary more than that.
        """

        def needed(bound: float, alpha: float) -> float:
            _, freedom = self._error()
            quantiles = float(special.stdtrit(freedom, power) - special.stdtrit(freedom, alpha))
            left = ((self.delta - bound) / quantiles) ** 2 - self._seed_variance
            fewest = 0 if self.sample_unit is Unit.SAMPLES else FEWEST_GROUPS
            return max(fewest, self.samples * self.over_samples / left) if left > 0 else math.inf

        return settle_claims(self.delta, margin, alpha, needed)

    @property
    def _is_enough(self) -> bool:
        return self.sample_unit is Unit.SAMPLES or self.samples >= FEWEST_GROUPS

    @property
    def _seed_variance(self) -> float:
        seeds = self.over_seeds
        return sum(v / k for v, k in zip(seeds.variances, seeds.seeds, strict=True))

    def _error(self, more_seeds: float = 1.0, more_samples: float = 1.0) -> tuple[float, float]:
        """Return the standard error of delta with so many times the seeds and samples, and its degrees of freedom."""
        counts = self.over_seeds.seeds
        seeds, samples = self._seed_variance / more_seeds, self.over_samples / more_samples
        freedom = more_seeds * (sum(counts) - len(counts))
        if len(set(counts)) > 1 and seeds:
            freedom = more_seeds * self.over_seeds.freedom
        total = seeds + samples
        if not total:
            return 0.0, freedom
        shares = seeds / total, samples / total
        inverse = shares[0] ** 2 / freedom + shares[1] ** 2 / (more_samples * self.freedom)
        return math.sqrt(total), 1 / inverse

    def _distance(
        self, more_seeds: float, more_samples: float, alpha: float, power: float
    ) -> float:
        error, freedom = self._error(more_seeds, more_samples)
        return float(special.stdtrit(freedom, power) - special.stdtrit(freedom, alpha)) * error

    def _p(self, distance: float) -> float:
        """Return the chance of a difference that lies at most so far above a bound, negative where below."""
        if not self._is_enough:
            return 1.0
        error, freedom = self._error()
        ratio = math.copysign(math.inf, distance) if distance else 0.0
        if error:
            ratio = distance / error
        return max(float(special.stdtr(freedom, ratio)), 2.0**-self.samples)


def is_worth_pairing(noise: SampleNoise) -> bool:
    """Tell whether models of the same seed err so much alike that a paired test over seeds finds more.

    Paired differences vary less by this correlation, and have half the degrees of freedom.
    """
    k = noise.candidates
    if len(noise.influences) != 2 * k:
        return False
    quantiles = special.stdtrit([k - 1, 2 * k - 2], 1 - ALPHA)
    return bool(math.sqrt(1 - max(noise.correlation, 0.0)) * quantiles[0] < quantiles[1])


def compare_crossed(
    reference: ArrayLike, candidate: ArrayLike, noise: SampleNoise, paired: bool
) -> CrossedT:
    """Compare a metric's values over seeds, and over the samples on which all of them were measured.

    Args:
        reference, candidate: a value of each seed, as ``compare_seeds`` takes them.
        noise: how these vary with the samples.
        paired: whether both are in order of the same seeds and to be paired by them.

    Raises ValueError as ``compare_seeds``.
    """
    over_seeds = compare_seeds(reference, candidate, paired)
    added = noise.of_delta - noise.of_seeds(paired)
    scale = max(float(np.max(np.abs(side))) for side in (reference, candidate))
    # Of models that answer alike, and of recipes that do, arithmetic leaves the last digits.
    is_rounding = noise.of_delta <= (TOLERANCE * scale) ** 2 or added <= 1e-9 * noise.of_delta
    return CrossedT(over_seeds, 0.0 if is_rounding else added, noise.freedom, noise.n, noise.unit)


def influences_of_means(
    values: ArrayLike, codes: ArrayLike | None = None, weights: ArrayLike | None = None
) -> Numbers:
    """Return the influences on scores that are means over samples, as ``SampleNoise`` has them.

    Args:
        values: of each model on each sample, (models, n).
        codes: which group or block each sample is in, by number, (n,); default: each is one of its own.
        weights: how much each sample counts, (n,); default: all alike.
    """
    measured = np.asarray(values)
    counts = np.ones(measured.shape[1]) if weights is None else np.asarray(weights, np.float64)
    share = counts / counts.sum()
    places = None if codes is None else np.unique(np.asarray(codes), return_inverse=True)[1]
    rows = []
    for row in measured:
        one = row.astype(np.float64)
        one = share * (one - share @ one)
        rows.append(one if places is None else np.bincount(places, one))
    return np.array(rows)


def influences_left_out(left_out: ArrayLike) -> Numbers:
    """Return the influences by the jackknife: of each model the score without each part of the samples, (models, parts).

    Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982.
    """
    scores = np.asarray(left_out, np.float64)
    parts = scores.shape[1]
    influences: Numbers = (scores.mean(axis=1, keepdims=True) - scores) * (parts - 1) / parts
    return influences


def influences_of_parts(scores: ArrayLike) -> Numbers:
    """Return the influences by the scores of each model on each part of the samples alone, (models, parts)."""
    measured = np.asarray(scores, np.float64)
    influences: Numbers = (measured - measured.mean(axis=1, keepdims=True)) / measured.shape[1]
    return influences
