"""Cut samples in time order into blocks that are long enough to tell nothing of each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeltune.judgement.group_flips import FEWEST_GROUPS


def block_length(series: ArrayLike) -> float:
    """Return how long blocks of a series, shape (n,), have to be, 1 where its values tell nothing of the next.

    The choice of Politis & White for the circular block bootstrap (Econometric Reviews 23, 2004, 53-70;
    corrected by Patton, Politis & White, 28, 2009, 372-375): the autocovariances up to twice the lag
    after which ``quiet`` in a row are within two standard errors of 0, by a flat-top window.
    """
    values = np.asarray(series, np.float64)
    values = values - values.mean()
    n = len(values)
    if n < 4 or not values.any():
        return 1.0
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    spectrum = np.fft.rfft(values, 2 * n)
    covariances = np.fft.irfft(spectrum * np.conj(spectrum), 2 * n)[: most + 1] / n
    is_quiet = np.abs(covariances[1:]) < 2 * math.sqrt(math.log10(n) / n) * covariances[0]
    runs = [lag for lag in range(len(is_quiet) - quiet + 1) if is_quiet[lag : lag + quiet].all()]
    loud = np.flatnonzero(~is_quiet)
    last = runs[0] if runs else int(loud[-1]) + 1 if len(loud) else 1
    window = min(2 * max(last, 1), most)
    lags = np.abs(np.arange(-window, window + 1))
    weights = np.clip(2 * (1 - lags / window), 0, 1)
    slope, level = (float(weights @ (power * covariances[lags])) for power in (lags, 1.0))
    if not level:
        return 1.0
    length = (2 * slope**2 / (4 / 3 * level**2)) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3 * math.sqrt(n), n / 3))))


def time_blocks(series: ArrayLike) -> NDArray[np.integer]:
    """Return which block each sample of a series in time order is in, int of shape (n,).

    Blocks are equally long but for one sample, as ``block_length`` says, and no longer than what
    leaves as many of them as it takes to compare anything.
    """
    n = len(np.asarray(series))
    length = min(math.ceil(block_length(series)), max(1, n // FEWEST_GROUPS))
    return np.arange(n) * (n // length) // n
