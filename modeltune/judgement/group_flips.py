"""Compare two models on samples that belong together, by whole groups or blocks in time: only these are independent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from modeltune.judgement.significance import (
    ALPHA,
    POWER,
    REPLICATES,
    TOLERANCE,
    Numbers,
    settle_claims,
)
from modeltune.records import Question, Unit

FEWEST_GROUPS = 20
"""With fewer nothing is proven: a test over groups is only as good as its groups are many."""


@final
@dataclass(frozen=True, eq=False)
class GroupFlips:
    """A metric's delta on the test samples and on random subsets of their groups, both models on the same ones.

    A group is in a subset with probability 1/2. The p-value against a bound is the share of subsets
    whose delta is on its other side. Of a mean over samples that is the sign-flip test of the groups'
    sums: the sum of all, with those of a subset turned, reaches the sum as measured exactly where the
    subset's own delta does not exceed the bound. It is exact where a group's sum is as likely as its
    opposite (Fisher, The Design of Experiments, 1935, 21), and McNemar's exact test where each sample
    is a group of its own. The interval lies between quantiles of the subsets (Hartigan, JASA 64, 1969,
    1303-1317), which spread as delta itself does, for other metrics too. No p-value is below 2^-n; with
    fewer than ``FEWEST_GROUPS`` nothing is proven.

    Args:
        delta: candidate minus reference on all samples.
        n: how many groups.
        subsets: delta on each subset, in rising order.
        unit: what the groups are.
    """

    delta: float
    n: int
    subsets: Numbers
    unit: Unit = Unit.GROUPS

    @property
    def question(self) -> Question:
        return Question.ARTIFACT

    @property
    def test(self) -> str:
        return "sign-flip test"

    @property
    def p_worse(self) -> float:
        return self.p_below(0.0)

    def p_above(self, bound: float) -> float:
        return self._p(int(np.count_nonzero(self.subsets <= bound + TOLERANCE)))

    def p_below(self, bound: float) -> float:
        return self._p(int(np.count_nonzero(self.subsets >= bound - TOLERANCE)))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        if self.n < FEWEST_GROUPS:
            return -math.inf, math.inf
        low, high = np.quantile(self.subsets, [alpha, 1 - alpha])
        return float(low), float(high)

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float | None:
        if self.n < FEWEST_GROUPS:
            return None
        return float(special.ndtri(power) - special.ndtri(alpha)) * self._error or None

    def settle(self, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
        def needed(bound: float, alpha: float) -> float:
            quantiles = float(special.ndtri(power) - special.ndtri(alpha))
            return self.n * (quantiles * self._error / (self.delta - bound)) ** 2

        number = settle_claims(self.delta, margin, alpha, needed)
        return None if number is None else max(FEWEST_GROUPS, number)

    @property
    def _error(self) -> float:
        """The standard error of delta."""
        return float(np.std(self.subsets))

    def _p(self, against: int) -> float:
        if self.n < FEWEST_GROUPS:
            return 1.0
        # Turning no group at all is one more subset (Davison & Hinkley, 1997, 4.2).
        return max((1 + against) / (len(self.subsets) + 1), 2.0**-self.n)


def subsets(groups: int, number: int = REPLICATES, seed: int = 0) -> NDArray[np.bool_]:
    """Return which groups are in each of some random subsets, bool of shape (B, groups); none is empty."""
    random = np.random.default_rng(seed)
    drawn: NDArray[np.bool_] = random.integers(0, 2, (number, groups), dtype=np.int8) == 1
    return drawn[drawn.any(axis=1)]


def compare_group_means(
    differences: ArrayLike,
    codes: ArrayLike,
    weights: ArrayLike | None = None,
    unit: Unit = Unit.GROUPS,
) -> GroupFlips | None:
    """Compare a metric that is a mean over samples, by candidate minus reference on each.

    Args:
        differences: of each sample, shape (n,).
        codes: the group of each sample by number, int of shape (n,); of blocks in the order of time.
        weights: how much each counts, shape (n,); default: all alike.
        unit: groups, or blocks of samples in time.

    Returns:
        None when no sample has any weight.
    """
    values = np.asarray(differences, np.float64)
    counts = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    values, counts, places = (array[counts > 0] for array in (values, counts, np.asarray(codes)))
    if not len(values):
        return None
    _, places = np.unique(places, return_inverse=True)
    sums, sizes = np.bincount(places, values * counts), np.bincount(places, counts)
    # Differences of equal means leave their last digits.
    sums[np.abs(sums) <= TOLERANCE * max(1.0, float(np.max(np.abs(values)))) * sizes] = 0.0
    drawn = subsets(len(sums))
    deltas, delta = (drawn @ sums) / (drawn @ sizes), float(sums.sum() / sizes.sum())
    if unit is Unit.BLOCKS:
        deltas = delta + widening(sums) * (deltas - delta)
    return compare_group_scores(deltas, delta, len(sums), unit)


def compare_group_scores(
    deltas: ArrayLike, delta: float, groups: int, unit: Unit = Unit.GROUPS
) -> GroupFlips:
    """Compare a metric of all samples together (F1, R2): its delta on each subset of the groups, (B,).

    ``delta`` is the difference on all samples. Leave out subsets on which it has no value.
    """
    return GroupFlips(delta, groups, np.sort(np.asarray(deltas, np.float64)), unit)


def widening(sums: ArrayLike) -> float:
    """Return how much more a sum of blocks spreads than it would, were neighbours of these sums (k,) independent.

    By their covariance (Newey & West, Econometrica 55, 1987, 703-708, with one lag); at least 1.
    """
    values = np.asarray(sums, np.float64)
    alone = float(values @ values)
    if not alone:
        return 1.0
    return math.sqrt(max(1.0, 1 + 2 * float(values[1:] @ values[:-1]) / alone))


def members(codes: ArrayLike, number: int = REPLICATES) -> Iterator[NDArray[np.integer]]:
    """Yield the places of the samples in each random subset of their groups, which ``codes`` (n,) tells."""
    _, places = np.unique(np.asarray(codes), return_inverse=True)
    for chosen in subsets(int(places.max()) + 1, number):
        yield np.flatnonzero(chosen[places])


def cluster_resamples(
    codes: ArrayLike, seed: int, number: int = REPLICATES
) -> Iterator[NDArray[np.integer]]:
    """Yield the places of the samples in resamples of their groups with replacement; ``codes`` as ``members``.

    Field & Welsh, Journal of the Royal Statistical Society B 69, 2007, 369-390.
    """
    _, places = np.unique(np.asarray(codes), return_inverse=True)
    order = np.argsort(places, kind="stable")
    of_group = np.split(order, np.cumsum(np.bincount(places))[:-1])
    random = np.random.default_rng(seed)
    for _ in range(number):
        yield np.concatenate(
            [of_group[k] for k in random.integers(0, len(of_group), len(of_group))]
        )
