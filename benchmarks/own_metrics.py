"""Measure how often gates on metrics of all samples together are wrong: false alarms, and drops found.

Two models score the same samples; their errors are in part the same. "Equal" models draw from
one distribution, a "worse" one is less sure of the truth. A gate is ``mt.metric(...) >= mt.baseline - margin``,
of a cost ``<=``. ``python benchmarks/own_metrics.py`` prints a table per situation and margin in about
ten minutes.

Of a metric that depends on predicted classes alone, a resample of rows is a multinomial draw of the
counts of (truth, one model's class, the other's), which is what is drawn here, and the jackknife leaves
out one of each count. An area is computed on resampled rows. Resamples are drawn a hundred at a time,
and no more once so many are on the other side that the gate cannot fail; what fails is decided by the
judge's own functions. Beside the bootstrap of an area stands DeLong's test, which judges it by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from modeltune.judgement.significance import (
    ALPHA,
    REPLICATES,
    compare_areas,
    compare_resampled,
    decide,
    effective_size,
    jackknife,
    p_violated,
)
from modeltune.records import Outcome

SIZES = (100, 300, 1000, 5000)
"""Test samples."""

MARGINS = (0.0, 0.01)

SEPARATION, WORSE = 1.5, 1.2
"""How far apart the classes' mean scores are, in standard deviations: of equal models, of a worse one."""

SHARED = 0.7
"""The part of a score's variance that both models share."""

BLOCK = 100
"""Resamples drawn at once."""

CHUNK = 500
"""Gates simulated at once."""


def kappa(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """Return Cohen's kappa of counts."""
    n = tp + fp + fn + tn
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    return ((tp + tn) / n - chance) / (1 - chance)


def f1(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """Return the F1 score of counts."""
    return 2 * tp / (2 * tp + fp + fn)


def cost(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """Return minus what is lost for each sample of class 1: five for a missed one, one for an alarm."""
    return -(5 * fn + fp) / (tp + fn)


METRICS: dict[str, Callable[..., Any]] = {"kappa": kappa, "f1": f1, "cost": cost}
NAMES = ("roc_auc (DeLong)", "roc_auc (bootstrap)", *METRICS)


def difference(metric: Callable[..., Any], cells: Any) -> Any:
    """Return a model's metric less the other's, of counts of (truth, class, other class), (..., 8)."""
    by = cells.reshape(*cells.shape[:-1], 2, 2, 2)
    one, other = (
        metric(m[..., 1, 1], m[..., 0, 1], m[..., 1, 0], m[..., 0, 0])
        for m in (by.sum(axis=-1), by.sum(axis=-2))
    )
    return one - other


def without_one(metric: Callable[..., Any], cells: Any) -> float | None:
    """Return the effective size of the difference of a metric, of counts (8,)."""
    deltas, counts = difference(metric, cells - np.eye(8)[cells > 0]), cells[cells > 0]
    known = np.isfinite(deltas)
    return effective_size(deltas[known], counts[known])


def areas(truth: Any, orders: Any, weights: Any) -> Any:
    """Return a model's area less the other's, (k,).

    Args:
        truth: which samples are of class 1, (n,).
        orders: the samples by rising score of each model, (2, n).
        weights: how often each sample is in each resample, (k, n).
    """
    both = []
    for order in orders:
        ordered, positive = weights[:, order], truth[order]
        below = np.cumsum(ordered * ~positive, axis=1, dtype=np.float32)
        both.append(np.einsum("kn,kn->k", below[:, positive], ordered[:, positive]))
    pairs = weights[:, truth].sum(axis=1) * weights[:, ~truth].sum(axis=1)
    return (both[0] - both[1]) / pairs


def drawn_weights(n: int, count: int, random: np.random.Generator) -> Any:
    """Return how often each of n samples is in each of so many resamples, (count, n)."""
    picks = random.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
    return np.bincount(picks.ravel(), minlength=count * n).reshape(count, n).astype(np.float32)


def areas_in_doubt(truth: Any, orders: Any, random: np.random.Generator) -> Any:
    """Return the differences of areas on all resamples; None when too many are no drop for the gate to fail.

    A share of them above alpha is a p-value above alpha.
    """
    blocks: list[Any] = []
    against = 0
    while len(blocks) * BLOCK < REPLICATES:
        blocks.append(areas(truth, orders, drawn_weights(len(truth), BLOCK, random)))
        against += int(np.count_nonzero(blocks[-1] >= 0))
        if against > ALPHA * (REPLICATES + 1):
            return None
    return np.concatenate(blocks)


def counted_in_doubt(
    metric: Callable[..., Any], cells: Any, random: np.random.Generator
) -> dict[int, Any]:
    """Return the differences on all resamples by gate, of those that may fail, of counts (gates, 8)."""
    n = int(cells[0].sum())
    left = np.flatnonzero(difference(metric, cells) < 0)
    blocks: dict[int, list[Any]] = {int(gate): [] for gate in left}
    against = np.zeros(len(cells))
    for _ in range(0, REPLICATES, BLOCK):
        drawn = random.multinomial(n, cells[left, None] / n, (len(left), BLOCK))
        deltas = difference(metric, drawn)
        against[left] += np.count_nonzero(deltas >= 0, axis=1)
        for gate, of_gate in zip(left, deltas, strict=True):
            blocks[int(gate)].append(of_gate)
        left = left[against[left] <= ALPHA * (REPLICATES + 1)]
    return {int(gate): np.concatenate(blocks[int(gate)]) for gate in left}


def failed(comparison: Any, margin: float) -> bool:
    """Tell whether the only gate of a spec fails."""
    return decide(comparison, margin, p_violated(comparison, margin)) is Outcome.FAILED


def failures(n: int, separation: float, repetitions: int, seed: int) -> dict[str, Any]:
    """Return by metric how many gates on a model of this separation fail, at each margin."""
    random = np.random.default_rng(seed)
    count = dict.fromkeys(NAMES, np.zeros(len(MARGINS), int))
    for start in range(0, repetitions, CHUNK):
        size = min(CHUNK, repetitions - start)
        all_cells = np.zeros((size, 8), int)
        for gate in range(size):
            truth = random.random(n) < 0.4
            common = random.normal(size=n)
            scores = [
                apart * truth
                + np.sqrt(SHARED) * common
                + np.sqrt(1 - SHARED) * random.normal(size=n)
                for apart in (separation, SEPARATION)
            ]
            named = [score > SEPARATION / 2 for score in scores]
            all_cells[gate] = np.bincount(4 * truth + 2 * named[0] + named[1], minlength=8)
            exact = compare_areas(truth, scores[1][None], scores[0][None])
            count[NAMES[0]] = count[NAMES[0]] + [failed(exact, margin) for margin in MARGINS]
            if exact.delta >= 0:
                continue
            orders = np.argsort(scores, axis=1)
            if (deltas := areas_in_doubt(truth, orders, random)) is not None:
                kept = np.array([np.bincount(some, minlength=n) for some in jackknife(n)])
                effective = effective_size(areas(truth, orders, kept.astype(np.float32)))
                compared = compare_resampled(deltas, exact.delta, n, effective)
                count[NAMES[1]] = count[NAMES[1]] + [failed(compared, margin) for margin in MARGINS]
        for name, metric in METRICS.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                in_doubt = counted_in_doubt(metric, all_cells, random)
                for gate, deltas in in_doubt.items():
                    cells = all_cells[gate]
                    delta = float(difference(metric, cells))
                    effective = without_one(metric, cells)
                    known = deltas[np.isfinite(deltas)]
                    compared = compare_resampled(known, delta, n, effective)
                    count[name] = count[name] + [failed(compared, margin) for margin in MARGINS]
    return count


def main() -> None:
    """Print how often each gate fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", choices=("equal", "worse"))
    options = parser.parse_args()
    count = options.repetitions
    for title, separation in (("equal", SEPARATION), ("worse", WORSE)):
        if options.only not in (None, title):
            continue
        print(f"\n{title}: share of {count} gates that fail, with a margin of {MARGINS[0]:g}")
        print(f"and in brackets of {MARGINS[1]:g}\n")
        print("| n | " + " | ".join(NAMES) + " |")
        print("|---|" + "---|" * len(NAMES))
        for n in options.sizes:
            failed_of = failures(n, separation, count, seed=n)
            shares = [100 * failed_of[name] / count for name in NAMES]
            cells = " | ".join(f"{plain:.1f} % ({within:.1f} %)" for plain, within in shares)
            print(f"| {n} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
