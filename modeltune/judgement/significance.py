"""Compare a candidate with a reference: the tests, intervals and decisions behind regression gates.

*Better is positive* everywhere: a delta of -0.02 is a drop of 0.02, in the metric's own unit. For
a loss the caller changes the sign. Nothing here draws from a global random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from modeltune.records import Outcome, Question, Unit, structural_components

Numbers = NDArray[np.float64]

ALPHA = 0.05
POWER = 0.8
REPLICATES = 2000
LEFT_OUT = 500
"""Into how many groups of samples at most a metric is computed without each in turn."""

TOLERANCE = 1e-12
"""What arithmetic may add to a difference: 0.91 - 0.90 is a drop of exactly a hundredth."""

BATCH = 1_000_000
"""How many indices a batch of resamples holds: 4 MB."""


class Comparison(Protocol):
    """How much better a candidate is than a reference, and how sure that is; positive is better.

    ``n`` counts the common test samples, their groups, or the candidate's seeds, as ``unit`` says. All
    p-values are one-sided.
    """

    @property
    def question(self) -> Question:
        """What the comparison answers."""
        ...

    @property
    def test(self) -> str:
        """The test's name, in words."""
        ...

    @property
    def n(self) -> int:
        """How much evidence there is."""
        ...

    @property
    def unit(self) -> Unit:
        """What ``n`` counts."""
        ...

    @property
    def delta(self) -> float:
        """Candidate minus reference as measured."""
        ...

    @property
    def p_worse(self) -> float:
        """The p-value of "not worse": small when the candidate is worse than the reference."""
        ...

    def p_above(self, bound: float) -> float:
        """Return the p-value of "delta <= bound": small when the true delta is above it."""
        ...

    def p_below(self, bound: float) -> float:
        """Return the p-value of "delta >= bound": small when the true delta is below it."""
        ...

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Return the two-sided interval of delta at confidence 1 - 2 alpha.

        Each end is what a one-sided test at ``alpha`` would just not exclude.
        """
        ...

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        """Return the smallest true drop found significant with this power, as a positive number.

        None when the data cannot say: there is too little, or no spread in it.
        """
        ...

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        """Return how many samples (groups, or seeds a side) would decide, were the truth as observed.

        To decide is to prove delta on its side of ``-margin``; for a drop of more than the margin,
        to find it significant and beyond the margin. None when no number would do, because the
        observed delta is exactly ``-margin``.
        """
        ...


@final
@dataclass(frozen=True)
class McNemar:
    """0/1 outcomes of two models on the same samples: only those they disagree on tell.

    Against 0 the test is McNemar's, exact: P[Bin(lost + won, 1/2) >= lost]. Against any other
    bound it is Tango's score test, asymptotic (Statistics in Medicine 17, 1998, 891-908), with no
    p-value below 2^-n: four samples never prove anything.
    """

    lost: int
    """Samples on which the reference is right and the candidate wrong."""
    won: int
    """Samples on which the candidate is right and the reference wrong."""
    n: int

    @property
    def question(self) -> Question:
        return Question.ARTIFACT

    @property
    def unit(self) -> Unit:
        return Unit.SAMPLES

    @property
    def test(self) -> str:
        return "exact McNemar"

    @property
    def delta(self) -> float:
        return (self.won - self.lost) / self.n

    @property
    def p_worse(self) -> float:
        discordant = self.lost + self.won
        if discordant == 0:
            return 1.0
        return float(special.bdtrc(self.lost - 1, discordant, 0.5))

    def p_above(self, bound: float) -> float:
        return max(float(special.ndtr(-self._z(bound))), 2.0**-self.n)

    def p_below(self, bound: float) -> float:
        return max(float(special.ndtr(self._z(bound))), 2.0**-self.n)

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        from scipy import optimize

        z = -float(special.ndtri(alpha))
        low = optimize.brentq(lambda x: self._z(x) - z, -1, self.delta) if self.delta > -1 else -1.0
        high = optimize.brentq(lambda x: self._z(x) + z, self.delta, 1) if self.delta < 1 else 1.0
        return float(low), float(high)

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        # Miettinen's sample size for McNemar's test, solved for the drop. A drop is itself
        # disagreement: where less was observed than the drop needs, the drop is all of it.
        quantiles = float(special.ndtri(power) - special.ndtri(alpha))
        disagreement = max((self.lost + self.won) / self.n, quantiles**2 / self.n)
        drop = quantiles * math.sqrt(disagreement / self.n)
        return drop if drop <= 1 else None

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        spread = math.sqrt(max((self.lost + self.won) / self.n - self.delta**2, 0.0))

        def needed(bound: float, alpha: float) -> float:
            at_bound = math.sqrt(self._variance(bound))
            quantiles = special.ndtri(power) * spread - special.ndtri(alpha) * at_bound
            # The exact test against 0 counts only the samples on which the models disagree.
            telling = 1.0 if bound else (self.lost + self.won) / self.n
            fewest = -math.log2(alpha) / telling
            return float(max(fewest, (quantiles / (self.delta - bound)) ** 2))

        return settle_claims(self.delta, margin, alpha, needed)

    def _z(self, bound: float) -> float:
        """Return Tango's score statistic of delta against a bound, positive when above it."""
        return _ratio(self.delta - bound, math.sqrt(self._variance(bound) / self.n))

    def _variance(self, bound: float) -> float:
        """Return the variance of one sample's difference, were the true delta the bound.

        ``q`` is the maximum likelihood estimate of the share of samples lost under that condition,
        in the form of its quadratic equation that does not subtract nearly equal numbers.
        """
        if abs(bound) >= 1:
            return 0.0
        # The same question with the models' roles swapped has the same answer.
        lost, won = (self.lost, self.won) if bound >= 0 else (self.won, self.lost)
        bound = abs(bound)
        b = (2 * self.n + lost - won) * bound - (lost + won)
        c = lost * bound * (1 - bound)
        root = math.sqrt(b * b + 8 * self.n * c)
        q = 2 * c / (root + b) if b > 0 else (root - b) / (4 * self.n)
        return 2 * q + bound * (1 - bound)


@final
@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A metric's delta on the test samples and on resamples of them, both models on the same ones.

    The p-value against a bound is the share of replicates on its other side, and the interval lies
    between quantiles of the replicates, both *expanded* (Hesterberg, The American Statistician 69,
    2015, 371-386): a plain percentile is as narrow as a normal interval with a variance divided by
    n, and this puts it right with Student's quantiles and n - 1. Where few of the samples tell, as those
    on which two models name different classes, their number stands for n there. No p-value is below 2^-n, the
    least a test of n paired samples (of their signs) can say: four samples never prove anything.
    """

    delta: float
    n: int
    replicates: Numbers
    """Delta on each resample, in rising order."""
    effective: float | None = None
    """By how many samples the spread of delta is known, as ``effective_size``; None: all n."""

    @property
    def question(self) -> Question:
        return Question.ARTIFACT

    @property
    def unit(self) -> Unit:
        return Unit.SAMPLES

    @property
    def test(self) -> str:
        return "paired bootstrap"

    @property
    def p_worse(self) -> float:
        return self.p_below(0.0)

    def p_above(self, bound: float) -> float:
        return self._p(int(np.count_nonzero(self.replicates <= bound)))

    def p_below(self, bound: float) -> float:
        return self._p(int(np.count_nonzero(self.replicates >= bound)))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        if 2.0**-self.n > alpha:
            return -math.inf, math.inf
        expanded = special.stdtrit(self._size - 1, alpha) * math.sqrt(self._size / (self._size - 1))
        share = float(special.ndtr(expanded))
        low, high = np.quantile(self.replicates, [share, 1 - share])
        return float(low), float(high)

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        if 2.0**-self.n > alpha or not self._error:
            return None
        quantiles = special.stdtrit(self._size - 1, power) - special.stdtrit(self._size - 1, alpha)
        return float(quantiles) * self._error

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        def needed(bound: float, alpha: float) -> float:
            quantiles = float(special.ndtri(power) - special.ndtri(alpha))
            fewest = -math.log2(alpha)
            return max(fewest, self.n * (quantiles * self._error / (self.delta - bound)) ** 2)

        return settle_claims(self.delta, margin, alpha, needed)

    @property
    def _size(self) -> float:
        return max(2.0, self.n if self.effective is None else self.effective)

    @property
    def _error(self) -> float:
        """The standard error of delta."""
        if self.n == 1 or not np.ptp(self.replicates):
            return 0.0
        return float(np.std(self.replicates)) * math.sqrt(self._size / (self._size - 1))

    def _p(self, against: int) -> float:
        count = len(self.replicates)
        # Counting delta itself as one more replicate keeps p above 0 (Davison & Hinkley, 1997, 4.2).
        share = min(1 + against, count) / (count + 1)
        size = self._size if self.n > 1 else 1.0
        p = special.stdtr(max(size - 1, 1), special.ndtri(share) * math.sqrt((size - 1) / size))
        return max(float(p), 2.0**-self.n)


@final
@dataclass(frozen=True)
class DeLong:
    """Two areas under ROC curves on the same samples, by the components of each sample.

    ``variances`` are those of the difference's components over the samples of class 1 and over the
    others, ``sizes`` how many these are: the standard error is sqrt(sum(v/k)) (DeLong, DeLong &
    Clarke-Pearson, Biometrics 44, 1988, 837-845). Without any variance, as of equal predictions, the
    p-values are 0, 1, and 0.5 on the bound.
    """

    delta: float
    variances: tuple[float, float]
    sizes: tuple[int, int]

    @property
    def question(self) -> Question:
        return Question.ARTIFACT

    @property
    def unit(self) -> Unit:
        return Unit.SAMPLES

    @property
    def test(self) -> str:
        return "DeLong"

    @property
    def n(self) -> int:
        return sum(self.sizes)

    @property
    def p_worse(self) -> float:
        return self.p_below(0.0)

    def p_above(self, bound: float) -> float:
        return max(float(special.ndtr(-_ratio(self.delta - bound, self._error))), 2.0**-self.n)

    def p_below(self, bound: float) -> float:
        return max(float(special.ndtr(_ratio(self.delta - bound, self._error))), 2.0**-self.n)

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        half = -float(special.ndtri(alpha)) * self._error
        return self.delta - half, self.delta + half

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        return float(special.ndtri(power) - special.ndtri(alpha)) * self._error or None

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        def needed(bound: float, alpha: float) -> float:
            quantiles = float(special.ndtri(power) - special.ndtri(alpha))
            return self.n * (quantiles * self._error / (self.delta - bound)) ** 2

        return settle_claims(self.delta, margin, alpha, needed)

    @property
    def _error(self) -> float:
        return math.sqrt(sum(v / k for v, k in zip(self.variances, self.sizes, strict=True)))


@final
@dataclass(frozen=True)
class StudentT:
    """Mean values over seeds: Student's t on the differences by seed, or Welch's t on two groups.

    ``variances`` and ``seeds`` have one entry for paired differences, two (candidate, reference)
    for groups: the standard error is sqrt(sum(v/k)), its degrees of freedom those of Welch and
    Satterthwaite, which are k - 1 for a single entry. Without any variance the p-values are 0, 1,
    and 0.5 on the bound.
    """

    delta: float
    variances: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def question(self) -> Question:
        return Question.RECIPE

    @property
    def unit(self) -> Unit:
        return Unit.SEEDS

    @property
    def test(self) -> str:
        return "paired t over seeds" if len(self.seeds) == 1 else "Welch's t over seeds"

    @property
    def n(self) -> int:
        return self.seeds[0]

    @property
    def p_worse(self) -> float:
        return self.p_below(0.0)

    def p_above(self, bound: float) -> float:
        error, freedom = self._error(self.seeds)
        return float(special.stdtr(freedom, -_ratio(self.delta - bound, error)))

    def p_below(self, bound: float) -> float:
        error, freedom = self._error(self.seeds)
        return float(special.stdtr(freedom, _ratio(self.delta - bound, error)))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        error, freedom = self._error(self.seeds)
        half = -float(special.stdtrit(freedom, alpha)) * error
        return self.delta - half, self.delta + half

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        return self._distance(self.seeds, alpha, power) or None

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        def needed(bound: float, alpha: float) -> float:
            distance = abs(self.delta - bound)
            quantiles = float(special.ndtri(power) - special.ndtri(alpha))
            seeds = max(2, math.ceil(sum(self.variances) * (quantiles / distance) ** 2))
            # Student's quantiles ask for a few seeds more than the normal ones; far out for none.
            while seeds < 1000 and distance < self._distance(
                (seeds,) * len(self.seeds), alpha, power
            ):
                seeds += 1
            return seeds

        return settle_claims(self.delta, margin, alpha, needed)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the standard error."""
        return self._error(self.seeds)[1]

    def _distance(self, seeds: tuple[int, ...], alpha: float, power: float) -> float:
        """Return how far from a bound delta must truly be for so many seeds to prove its side."""
        error, freedom = self._error(seeds)
        return float(special.stdtrit(freedom, power) - special.stdtrit(freedom, alpha)) * error

    def _error(self, seeds: tuple[int, ...]) -> tuple[float, float]:
        """Return the standard error of delta over so many seeds and its degrees of freedom."""
        shares = [v / k for v, k in zip(self.variances, seeds, strict=True)]
        total = sum(shares)
        if total == 0:
            return 0.0, float(sum(k - 1 for k in seeds))
        parts = [(share / total) ** 2 / (k - 1) for share, k in zip(shares, seeds, strict=True)]
        return math.sqrt(total), 1 / sum(parts)


def compare_outcomes(reference: ArrayLike, candidate: ArrayLike) -> McNemar:
    """Compare 0/1 (or bool) outcomes of the same samples, both of shape (n,); 1 is right.

    Raises ValueError for other values, other shapes or no sample.
    """
    before, after = _values(reference, "reference"), _values(candidate, "candidate")
    _same_length(before, after)
    if not (np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all()):
        raise ValueError("outcomes are 0 or 1; compare other values with compare_samples")
    return McNemar(
        lost=int(np.count_nonzero(before > after)),
        won=int(np.count_nonzero(after > before)),
        n=len(before),
    )


def compare_samples(
    differences: ArrayLike, replicates: int = REPLICATES, seed: int = 0
) -> Bootstrap:
    """Compare a metric that is a mean over samples, by candidate minus reference on each: (n,).

    Raises ValueError for another shape, no sample or a value that is not finite.
    """
    values = _values(differences, "differences")
    delta, spread = _mean_and_variance(values)
    if spread == 0:
        # Means of equal numbers differ in their last digits.
        return compare_resampled(np.full(replicates, delta), delta, len(values))
    means = [values[picked].mean(axis=1) for picked in resamples(len(values), replicates, seed)]
    return compare_resampled(np.concatenate(means), delta, len(values))


def compare_weighted(
    differences: ArrayLike, weights: ArrayLike, replicates: int = REPLICATES, seed: int = 0
) -> Bootstrap | None:
    """Compare a metric that is a weighted mean over samples, by candidate minus reference on each.

    Both of shape (n,); samples without weight do not count. A resample draws samples with their
    weights. None when no sample has any weight. Raises ValueError as ``compare_samples``.
    """
    values, counts = _values(differences, "differences"), _values(weights, "weights")
    _same_length(values, counts)
    values, counts = values[counts > 0], counts[counts > 0]
    if not len(values):
        return None
    sums = values * counts
    delta = float(sums.sum() / counts.sum())
    deltas = [
        sums[picked].sum(axis=1) / counts[picked].sum(axis=1)
        for picked in resamples(len(values), replicates, seed)
    ]
    return compare_resampled(np.concatenate(deltas), delta, len(values))


def compare_areas(truth: ArrayLike, reference: ArrayLike, candidate: ArrayLike) -> DeLong:
    """Compare areas under ROC curves, the mean over refits, of scores of the same samples.

    Args:
        truth: which samples are of class 1, bool of shape (n,).
        reference, candidate: scores, higher for class 1, of shape (refits, n).

    Raises ValueError where a class has fewer than two samples.
    """
    positive = np.asarray(truth, dtype=bool)
    sizes = int(positive.sum()), int((~positive).sum())
    if min(sizes) < 2:
        raise ValueError(f"there are {sizes[0]} samples of class 1 and {sizes[1]} others")
    means = []
    for scores in (reference, candidate):
        parts = [structural_components(positive, one) for one in np.asarray(scores)]
        means.append([np.mean(of_class, axis=0) for of_class in zip(*parts, strict=True)])
    above, below = (new - old for old, new in zip(*means, strict=True))
    (delta, of_class), (_, of_others) = (
        _mean_and_variance(one, scale=1.0) for one in (above, below)
    )
    return DeLong(delta, (of_class, of_others), sizes)


@final
@dataclass(frozen=True)
class GroupDistance:
    """How far apart the values of groups are, by a max-t test over all pairs of them.

    The largest of many differences is large by chance alone, so it is held against the largest that
    resamples within the groups give around their own values (Westfall & Young, Resampling-Based
    Multiple Testing, 1993). ``p`` is the chance of so large a distance beyond the bound in any pair,
    were every pair within it. ``settle`` is how many samples in each of the two groups farthest apart
    would decide, were the truth as measured; None where it is on the bound.
    """

    lowest: int
    highest: int
    p: float
    settle: int | None


def compare_groups(
    values: ArrayLike, replicates: ArrayLike, sizes: ArrayLike, bound: float, is_ratio: bool
) -> GroupDistance:
    """Ask whether two of k groups are farther apart than a bound: by difference, or by ratio.

    Args:
        values: the metric of each group, shape (k,); for a ratio none is negative.
        replicates: the same on resamples of each group, drawn apart, shape (B, k).
        sizes: the samples of each group, (k,).
        bound: the largest difference, or the smallest ratio of the smaller value to the larger.
        is_ratio: which of both.

    Raises ValueError for fewer than two groups, or values that are not finite.
    """
    middle, counts = _values(values, "values"), _values(sizes, "sizes")
    drawn = np.asarray(replicates, dtype=np.float64)
    if len(middle) < 2 or not np.isfinite(drawn).all():
        raise ValueError(f"{len(middle)} groups and replicates of shape {drawn.shape}")
    # As expanded as the percentiles of ``Bootstrap``: by n / (n - 1).
    deviations = (drawn - middle) * np.sqrt(counts / np.maximum(counts - 1, 1))
    variances = counts * np.mean(np.square(deviations), axis=0)
    # A group without any error on few samples is not without any variance: it has that of all.
    pooled = float(counts @ variances / counts.sum())
    errors = np.maximum(variances, pooled) / counts
    factor, offset = (bound, 0.0) if is_ratio else (1.0, bound)
    largest = np.full(len(drawn), -math.inf)
    observed = -math.inf
    others = np.arange(len(middle))
    for high in others:
        lows = others[others != high]
        spread = np.sqrt(errors[lows] + factor**2 * errors[high])
        beyond = factor * middle[high] - middle[lows] - offset
        if not spread.all():
            observed = max(observed, *(_ratio(b, e) for b, e in zip(beyond, spread, strict=True)))
            continue
        observed = max(observed, float(np.max(beyond / spread)))
        apart = factor * deviations[:, [high]] - deviations[:, lows]
        np.maximum(largest, np.max(apart / spread, axis=1), out=largest)
    count = len(drawn)
    p = (1 + int(np.count_nonzero(largest >= observed))) / (count + 1)
    lowest, highest = int(np.argmin(middle)), int(np.argmax(middle))
    # As of other tests: a few samples never prove anything.
    p = max(p, 2.0 ** -min(counts[lowest], counts[highest]))
    distance = factor * middle[highest] - middle[lowest] - offset
    settle = None
    if abs(distance) > TOLERANCE and np.isfinite(largest).all():
        quantile = float(np.quantile(largest, 1 - ALPHA)) + float(special.ndtri(POWER))
        variance = sum(
            errors[place] * counts[place] * scale
            for place, scale in ((lowest, 1.0), (highest, factor**2))
        )
        settle = max(1, math.ceil(float(variance) * (quantile / distance) ** 2))
    return GroupDistance(lowest, highest, min(p, 1.0), settle)


def compare_resampled(
    deltas: ArrayLike, delta: float, n: int, effective: float | None = None
) -> Bootstrap:
    """Compare a metric of the whole test part (F1, R2): its delta on each resample, shape (B,).

    ``resamples`` draws the indices; both models are scored on the same ones. ``delta`` is the
    difference on the n samples themselves, ``effective`` their ``effective_size``. Raises ValueError for values that are not finite, as
    F1 of a class that a resample misses: leave such replicates out.
    """
    replicates = np.sort(_values(deltas, "deltas"))
    if n < 1 or not math.isfinite(delta):
        raise ValueError(f"delta is {delta!r} on {n} samples; nothing can be compared")
    return Bootstrap(float(delta), n, replicates, effective)


def jackknife(n: int) -> Iterator[NDArray[np.integer]]:
    """Yield the indices of n samples without each of them, or each of ``LEFT_OUT`` groups, in turn."""
    groups = min(n, LEFT_OUT)
    for group in range(groups):
        yield np.flatnonzero(np.arange(n) % groups != group)


def effective_size(left_out: ArrayLike, counts: ArrayLike | None = None) -> float | None:
    """Return by how many samples the spread of a metric is known; None where it has none.

    These are Satterthwaite's degrees of freedom of a sum of squares, (sum u^2)^2 / sum u^4 (Biometrics
    Bulletin 2, 1946, 110-114), of the influences u of the samples by the jackknife (Efron, The
    Jackknife, the Bootstrap and Other Resampling Plans, 1982). Of two models that differ on m samples by
    as much each it is m, as McNemar's test counts them.

    Args:
        left_out: the metric without each sample, as ``jackknife`` leaves them out, (k,); without
            those that leave no value.
        counts: how many samples each of them stands for, (k,); default: one.
    """
    values = np.asarray(left_out, np.float64)
    if len(values) < 2:
        return None
    weights = np.ones(len(values)) if counts is None else np.asarray(counts, np.float64)
    squares = np.square(values - np.average(values, weights=weights))
    if float(np.max(squares)) <= TOLERANCE**2:
        return None
    squares /= np.max(squares)
    return float(weights @ squares) ** 2 / float(weights @ np.square(squares))


def resamples(n: int, replicates: int = REPLICATES, seed: int = 0) -> Iterator[NDArray[np.integer]]:
    """Yield indices of ``replicates`` resamples with replacement, in batches of shape (k, n)."""
    random = np.random.default_rng(seed)
    rows = max(1, BATCH // n)
    for start in range(0, replicates, rows):
        yield random.integers(0, n, (min(rows, replicates - start), n), dtype=np.int32)


def compare_seeds(
    reference: ArrayLike, candidate: ArrayLike, paired: bool, overlap: float = 0.0
) -> StudentT:
    """Compare a metric's values over seeds; ``paired`` when both are in order of the same seeds.

    ``overlap`` is 1/(k-1) when the values are those of k folds: models trained on nearly the same
    data vary less than trained on fresh data, and the variance of the mean is v (1/n + overlap)
    (Nadeau & Bengio, Machine Learning 52, 2003, 239-281).

    Raises ValueError for fewer than two values on a side, values that are not finite, or paired
    sides of different length.
    """
    before, after = _values(reference, "reference"), _values(candidate, "candidate")
    if min(len(before), len(after)) < 2:
        raise ValueError(
            f"{len(before)} and {len(after)} seeds; one value has no spread: give two or more a side"
        )
    if paired:
        _same_length(before, after)
        delta, variance = _mean_and_variance(after - before, scale=_largest(before, after))
        return StudentT(delta, (variance * (1 + overlap * len(after)),), (len(after),))
    (old, old_variance), (new, new_variance) = _mean_and_variance(before), _mean_and_variance(after)
    delta = new - old
    if abs(delta) <= TOLERANCE * _largest(before, after):
        delta = 0.0
    variances = (
        new_variance * (1 + overlap * len(after)),
        old_variance * (1 + overlap * len(before)),
    )
    return StudentT(delta, variances, (len(after), len(before)))


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's two-sided interval of a proportion (JASA 22, 1927, 209-212)."""
    z, share = float(special.ndtri((1 + confidence) / 2)), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    # What arithmetic adds leaves no end outside.
    return max(0.0, centre - half), min(1.0, centre + half)


def p_violated(comparison: Comparison, margin: float) -> float:
    """Return the p-value a failure rests on, to be adjusted with ``holm`` over a spec's gates.

    For a permitted drop (margin >= 0) it is that of "not worse", for a demanded improvement
    (margin < 0) that of "the improvement is at least as demanded".
    """
    return comparison.p_worse if margin >= 0 else comparison.p_below(-margin)


def decide(
    comparison: Comparison,
    margin: float,
    p_adjusted: float,
    alpha: float = ALPHA,
    level: float | None = None,
) -> Outcome:
    """Return FAILED, PASSED or INCONCLUSIVE for a permitted drop, or a demanded improvement.

    ``margin`` >= 0 permits a drop of that much, the margin itself included. FAILED: the drop is
    larger than the margin and significant against 0. PASSED: not worse as measured, or proven to be
    within the margin.

    ``margin`` < 0 demands an improvement of -margin. PASSED: proven to be at least that. FAILED:
    proven to be less.

    ``p_adjusted`` is ``p_violated`` after ``holm``, or itself for a single gate. What passes needs
    no adjustment: a false pass of one gate is not made likelier by the others. ``level`` is what
    ``p_adjusted`` is held against, alpha where it is None.
    """
    beyond = comparison.delta < -margin - TOLERANCE
    if beyond and p_adjusted <= (alpha if level is None else level):
        return Outcome.FAILED
    if margin >= 0 and comparison.delta >= -TOLERANCE:
        return Outcome.PASSED
    if not beyond and comparison.p_above(-margin - TOLERANCE) <= alpha:
        return Outcome.PASSED
    return Outcome.INCONCLUSIVE


def p_outside(comparison: Comparison, margin: float) -> float:
    """Return the p-value of "delta is within the margin on both sides": small when it is outside."""
    return min(comparison.p_below(-margin), comparison.p_above(margin))


def p_inside(comparison: Comparison, margin: float) -> float:
    """Return the p-value of "delta is outside the margin": small when it is inside on both sides.

    The larger of two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15,
    1987, 657-680).
    """
    return max(comparison.p_above(-margin), comparison.p_below(margin))


def decide_same(
    comparison: Comparison,
    margin: float,
    p_adjusted: float,
    alpha: float = ALPHA,
    level: float | None = None,
) -> Outcome:
    """Return PASSED where delta is proven to be within a margin above 0 on both sides, FAILED where outside.

    ``p_adjusted`` is ``p_outside`` after ``holm``, or itself for a single gate; ``level`` as of ``decide``.
    """
    if abs(comparison.delta) > margin + TOLERANCE and p_adjusted <= (
        alpha if level is None else level
    ):
        return Outcome.FAILED
    if p_inside(comparison, margin + TOLERANCE) <= alpha:
        return Outcome.PASSED
    return Outcome.INCONCLUSIVE


def settle_same(comparison: Comparison, margin: float, alpha: float = ALPHA) -> int | None:
    """Return how many samples (groups, or seeds a side) would prove on which side of the margin delta is.

    None when it is on the margin.
    """
    found, distance = comparison.detectable(alpha), margin - abs(comparison.delta)
    if abs(distance) <= TOLERANCE:
        return None
    if found is None:  # there is too little, or no spread in it
        return comparison.settle(margin, alpha)
    return max(1, math.ceil(comparison.n * (found / distance) ** 2))


def settle_claims(
    delta: float, margin: float, alpha: float, needed: Callable[[float, float], float]
) -> int | None:
    """Return the number that satisfies every claim which decides; ``needed(bound, alpha)`` each.

    A claim at alpha 0.5 is that delta is measured on its side of the bound, no more.
    """
    if abs(delta + margin) <= TOLERANCE:
        return None
    is_drop = delta < -margin <= 0
    claims = [(0.0, alpha), (-margin, 0.5)] if is_drop else [(-margin, alpha)]
    number = max(needed(bound, alpha) for bound, alpha in claims)
    return max(1, math.ceil(number)) if math.isfinite(number) else None


def _ratio(distance: float, error: float) -> float:
    """Return distance / error; without any error infinite, or 0 for no distance."""
    if error > 0:
        return distance / error
    return math.copysign(math.inf, distance) if distance else 0.0


def _mean_and_variance(values: Numbers, scale: float | None = None) -> tuple[float, float]:
    """Return mean and sample variance (ddof 1), free of what arithmetic adds to equal numbers.

    ``scale`` is the size of the numbers the values were computed from, if not their own.
    """
    scale = _largest(values) if scale is None else scale
    mean, spread = float(np.mean(values)), float(np.ptp(values))
    if abs(mean) <= TOLERANCE * scale:
        mean = 0.0
    return mean, 0.0 if spread <= TOLERANCE * scale else float(np.var(values, ddof=1))


def _largest(*arrays: Numbers) -> float:
    return max(float(np.max(np.abs(values))) for values in arrays)


def _values(numbers: ArrayLike, name: str) -> Numbers:
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"{name} has shape {values.shape}; expected (n,) with one value or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has {np.count_nonzero(~np.isfinite(values))} non-finite values")
    return values


def _same_length(reference: Numbers, candidate: Numbers) -> None:
    if len(reference) != len(candidate):
        raise ValueError(
            f"reference has {len(reference)} values, candidate {len(candidate)}: they are no pairs"
        )
