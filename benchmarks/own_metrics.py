"""Measure how often gates on metrics of all samples together are wrong: false alarms, and drops found.

Two models score the same samples; their errors are in part the same. "Equal" models draw from
one distribution, a "worse" one is less sure of the truth. A gate is ``mt.metric(...) >= mt.baseline``,
of a cost ``<=``. ``python benchmarks/own_metrics.py`` prints a table per situation in about a minute.

Of a metric that depends on predicted classes alone, a resample of rows is a multinomial draw of the
counts of (truth, one model's class, the other's), which is what is drawn here, and the jackknife leaves
out one of each count. What is made of both is the judge's own. Areas are compared by ``compare_areas``
itself. In brackets: what it would be if all samples told of the spread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from modeltune.judgement.significance import (
    REPLICATES,
    compare_areas,
    compare_resampled,
    decide,
    effective_size,
    p_violated,
)
from modeltune.records import Outcome

SIZES = (100, 300, 1000, 5000)
"""Test samples."""

SEPARATION, WORSE = 1.5, 1.2
"""How far apart the classes' mean scores are, in standard deviations: of equal models, of a worse one."""

SHARED = 0.7
"""The part of a score's variance that both models share."""


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


def sides(cells: Any) -> list[tuple[Any, ...]]:
    """Return (tp, fp, fn, tn) of both models from counts of (truth, class, other class), (..., 8)."""
    by = cells.reshape(*cells.shape[:-1], 2, 2, 2)
    one, other = by.sum(axis=-1), by.sum(axis=-2)
    return [(m[..., 1, 1], m[..., 0, 1], m[..., 1, 0], m[..., 0, 0]) for m in (one, other)]


def without_one(metric: Callable[..., Any], cells: Any) -> float | None:
    """Return the effective size of the difference of a metric, of counts (8,)."""
    left = cells - np.eye(8)[cells > 0]
    one, other = (metric(*side) for side in sides(left))
    deltas, counts = one - other, cells[cells > 0]
    known = np.isfinite(deltas)
    return effective_size(deltas[known], counts[known])


def failures(
    n: int, separation: float, repetitions: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return by metric how often the gate on a model of this separation fails, and would with all n."""
    random = np.random.default_rng(seed)
    failed = {name: [0, 0] for name in ("roc_auc", *METRICS)}
    for _ in range(repetitions):
        truth = random.random(n) < 0.4
        common = random.normal(size=n)
        scores = [
            apart * truth + np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * random.normal(size=n)
            for apart in (separation, SEPARATION)
        ]
        areas = compare_areas(truth, scores[1][None], scores[0][None])
        is_failed = decide(areas, 0.0, p_violated(areas, 0.0)) is Outcome.FAILED
        failed["roc_auc"] = [count + is_failed for count in failed["roc_auc"]]
        named = [score > SEPARATION / 2 for score in scores]
        cells = np.bincount(4 * truth + 2 * named[0] + named[1], minlength=8)
        drawn = random.multinomial(n, cells / n, REPLICATES)
        for name, metric in METRICS.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                one, other = (metric(*side) for side in sides(drawn))
                delta = float(np.subtract(*(metric(*side) for side in sides(cells))))
                effective = without_one(metric, cells)
            deltas = (one - other)[np.isfinite(one - other)]
            for place, size in enumerate((effective, None)):
                compared = compare_resampled(deltas, delta, n, size)
                is_failed = decide(compared, 0.0, p_violated(compared, 0.0)) is Outcome.FAILED
                failed[name][place] += is_failed
    return {name: (a / repetitions, b / repetitions) for name, (a, b) in failed.items()}


def main() -> None:
    """Print how often each gate fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    repetitions = parser.parse_args().repetitions
    names = ("roc_auc", *METRICS)
    for title, separation in (("equal models", SEPARATION), ("a worse model", WORSE)):
        print(f"\n{title}: share of {repetitions} gates that fail\n")
        print("| n | " + " | ".join(names) + " |")
        print("|---|" + "---|" * len(names))
        for seed, n in enumerate(SIZES):
            shares = failures(n, separation, repetitions, seed)
            both = [tuple(100 * share for share in shares[name]) for name in names]
            cells = " | ".join(f"{share:.1f} % ({before:.1f} %)" for share, before in both)
            print(f"| {n} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
