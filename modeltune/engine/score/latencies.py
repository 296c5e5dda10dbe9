"""Compare how fast two models predict, timed in turns on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

PAIRS = 60
"""How many times both models are timed, in turns."""

WARM_UP = 5
"""Pairs that do not count: a model's first calls are slower, since they are traced."""


def ratio_of_seconds(pair: Sequence[Callable[[], float]]) -> tuple[float, float, float]:
    """Return the median of the first's seconds over the second's, with its 90 % interval.

    Each of the pair predicts once, and returns how long that took. They are called in turns, each first
    as often as second. The interval lies between order statistics of the ratios (binomial, see Conover,
    Practical Nonparametric Statistics, 1999, 3.2).
    """
    from scipy import stats

    ratios = []
    for number in range(WARM_UP + PAIRS):
        first, second = (0, 1) if number % 2 else (1, 0)
        seconds = {first: pair[first](), second: pair[second]()}
        if number >= WARM_UP:
            ratios.append(seconds[0] / seconds[1])
    ratios.sort()
    low = int(stats.binom.ppf(0.05, PAIRS, 0.5)) - 1
    return float(np.median(ratios)), ratios[low], ratios[PAIRS - 1 - low]
