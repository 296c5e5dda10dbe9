"""What gates measured on slices, as bars with intervals; prints nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeltune.records import (
    MetricFacts,
    Outcome,
    Quantity,
    Run,
    SliceResult,
    SliceResults,
    Verdict,
)
from modeltune.specs import Statistic

if TYPE_CHECKING:
    from modeltune.records import Array, Samples

STANDARD_ERRORS = 1.959964
"""How many standard errors a two-sided interval of 95 % reaches to either side."""

SLICE_RESAMPLES = 200
"""Resamples of a slice by a bootstrap."""

LARGEST_RESAMPLE = 1_000
"""Samples of a resample; of a larger slice so many are drawn, and the interval is as much narrower as
all would make it (m out of n, Politis, Romano & Wolf, Subsampling, 1999)."""

MOST_BOOTSTRAPS = 20
"""Slices of a gate that may have a bootstrap: the worst ones."""


@dataclass(frozen=True)
class SliceBar:
    """What a gate came to on a slice, with the 95 % interval of what it measured.

    ``low`` and ``high`` are Wilson's for a share of the samples (JASA 22, 1927, 209-212), as recall and
    precision of a class, and for a class's F1, which is made of such a share; the mean and
    1.96 standard errors for another mean of values of each, and for other metrics percentiles of a
    bootstrap of the first refit's samples; None of what the kept samples do not tell.
    """

    result: SliceResult
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SliceGroup:
    """Slices beside each other: of a gate, or of several gates on one metric."""

    title: str
    bars: Sequence[SliceBar]

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value drawn; 0 is one, and so is 1 where nothing is above it."""
        values = [0.0]
        for bar in self.bars:
            numbers = (bar.result.measured, bar.result.bound, bar.low, bar.high)
            values += [v for v in numbers if v is not None and math.isfinite(v)]
        low, high = min(values), max(values)
        if low >= 0 and 0 < high <= 1:
            high = 1.0
        return low, high if high > low else low + 1


def slice_groups(run: Run, samples: Samples | None) -> list[SliceGroup]:
    """Return the slices of each gate that has several, and those of gates with one by their metric."""
    groups: list[SliceGroup] = []
    single: dict[str, list[SliceBar]] = {}
    for verdict in run.verdicts:
        bars = list(_bars(verdict, samples))
        if len(bars) > 1:
            groups.append(SliceGroup(verdict.gate, bars))
        elif bars and isinstance(verdict.facts, MetricFacts):
            single.setdefault(verdict.facts.key, []).append(bars[0])
    return groups + [SliceGroup(key, bars) for key, bars in single.items() if len(bars) > 1]


def _bars(verdict: Verdict, samples: Samples | None) -> Iterator[SliceBar]:
    results = verdict.details.slices if isinstance(verdict.details, SliceResults) else ()
    for place, result in enumerate(results):
        interval = None
        if isinstance(verdict.facts, MetricFacts) and result.outcome is not Outcome.ERROR:
            interval = _interval(verdict.facts, result, samples, place < MOST_BOOTSTRAPS)
        yield SliceBar(result, *(interval or (None, None)))


def _interval(
    facts: MetricFacts, result: SliceResult, samples: Samples | None, may_resample: bool
) -> tuple[float, float] | None:
    key, measured, n = facts.key, result.measured, result.n
    is_mean = facts.quantity is Quantity.METRIC and facts.statistic is Statistic.MEAN
    if samples is None or not is_mean or measured is None or not math.isfinite(measured) or n < 1:
        return None
    values = samples.values.get(key)
    if values is None and result.label is not None:
        return _of_class(samples, key, result.label, measured)
    if values is not None and values.dtype == bool and key not in samples.weights:
        return _wilson(measured, n) if 0 <= measured <= 1 else None
    rows = _rows(facts, result, samples)
    if rows is None or n < 2 or rows.sum() != n:
        return None
    if values is None:
        return _bootstrap(samples, key, rows, measured) if may_resample else None
    if key in samples.weights:
        return None
    of_each = values[:, rows].mean(axis=0, dtype=float)
    error = STANDARD_ERRORS * float(of_each.std(ddof=1)) / math.sqrt(n)
    return measured - error, measured + error


def _of_class(
    samples: Samples, key: str, label: int, measured: float
) -> tuple[float, float] | None:
    """Return the interval of a number of one class that is a share of some samples, or made of one.

    F1 is 2s / (1 + s), where s is the share of right samples among those that are of the class or
    named so.
    """
    import numpy as np

    prefix = samples.reported(key)
    predicted = None if prefix is None else samples.predicted.get(prefix)
    if prefix is None or predicted is None or not 0 <= measured <= 1:
        return None
    truth = samples.truth[prefix]
    is_label = truth.dtype == bool
    if truth.dtype.kind == "f" or (is_label and not 0 <= label < truth.shape[1]):
        return None
    counted = np.ones(len(truth), bool) if is_label else truth >= 0
    of_class = (truth[:, label] if is_label else truth == label) & counted
    named = (predicted[..., label] if is_label else predicted == label) & counted
    right = np.count_nonzero(of_class & named, axis=-1)
    # Of several refits the shares are of so many samples in the mean.
    of = float(np.count_nonzero(of_class))
    named_so = float(np.mean(np.count_nonzero(named, axis=-1)))
    either = of + named_so - float(np.mean(right))
    others = float(np.count_nonzero(counted)) - of
    name = key.removeprefix(prefix)
    if name == "f1":
        if not either:
            return None
        low, high = _wilson(measured / (2 - measured), either)
        return 2 * low / (1 + low), 2 * high / (1 + high)
    sizes = {
        "recall": of,
        "precision": named_so,
        "specificity": others,
        "false_positive_rate": others,
    }
    n = sizes.get(name, 0.0)
    return _wilson(measured, n) if n else None


def _bootstrap(
    samples: Samples, key: str, rows: Array, measured: float
) -> tuple[float, float] | None:
    import numpy as np

    if samples.reported(key) is None:
        return None
    places = np.flatnonzero(rows)
    count = min(len(places), LARGEST_RESAMPLE)
    draw = np.random.default_rng(0)
    try:
        whole = samples.score(key, 0, places)
        scores = [samples.score(key, 0, draw.choice(places, count)) for _ in range(SLICE_RESAMPLES)]
    except ValueError:  # some resample gives no value, as where a class is missing
        return None
    if whole is None or any(score is None or not math.isfinite(score) for score in scores):
        return None
    low, high = np.quantile(np.array(scores, float) - whole, (0.025, 0.975))
    narrower = math.sqrt(count / len(places))
    return measured + float(low) * narrower, measured + float(high) * narrower


def _rows(facts: MetricFacts, result: SliceResult, samples: Samples) -> Array | None:
    """Return which samples a slice has, None where they are not kept."""
    name = None if facts.slices is None else facts.slices.name
    if result.group is not None:
        groups = None if name is None else samples.groups.get(name)
        return None if groups is None else groups.mask(result.group)
    if result.label is None:
        return None if name is None else samples.slices.get(name)
    try:
        return samples.of_class(facts.key, result.label)
    except LookupError:
        return None


def _wilson(share: float, n: float) -> tuple[float, float]:
    middle, whole = (
        share + STANDARD_ERRORS * STANDARD_ERRORS / (2 * n),
        1 + STANDARD_ERRORS * STANDARD_ERRORS / n,
    )
    reach = STANDARD_ERRORS * math.sqrt(
        share * (1 - share) / n + STANDARD_ERRORS * STANDARD_ERRORS / (4 * n * n)
    )
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)
