"""How often weak slices are found, and how often one is that is none: python benchmarks/weak_slices.py

A model is wrong on 10% of the test samples, or its errors are lognormal. Known of each sample are three
columns of 2, 4 and 10 values and three of numbers. In the rows "weak" the model is wrong 20 points more
often, or its errors are twice as large, on a tenth of the samples: those of one value, of the two
conditions ``number > q & value``, or of an interval of a number. In groups a sample is with probability
sqrt(0.7) as its group, errors and columns alike; in time order as the one before with probability 0.8.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd

from modeltune.engine.data.loading import Part
from modeltune.engine.score.weak_slices import sources, weak_slices


def source_of_each(dependence: str, n: int, random: np.random.Generator) -> Any:
    """Return which sample each is as, int of shape (n,)."""
    own = np.arange(n)
    if dependence == "groups of 10":
        return np.where(random.random(n) < np.sqrt(0.7), own // 10 * 10, own)
    if dependence == "time order":
        return np.maximum.accumulate(np.where(random.random(n) < 0.8, 0, own))
    return own


def known_of(source: Any, random: np.random.Generator) -> pd.DataFrame:
    """Return the columns; of samples that are as another they are the same."""
    n = len(source)
    frame = {f"of{k}": random.integers(0, k, n).astype(str) for k in (2, 4, 10)}
    frame |= {f"number{k}": random.normal(size=n) for k in range(3)}
    known: pd.DataFrame = pd.DataFrame(frame).iloc[source].reset_index(drop=True)
    return known


WEAK: dict[str, Any] = {
    "one value": lambda known: known["of10"] == "3",
    "two conditions": lambda known: (known["number0"] > 0.2533) & (known["of4"] == "1"),
    "an interval": lambda known: (known["number1"] > 0.8416) & (known["number1"] <= 1.6449),
}


def main() -> None:
    """Print a table of how often there is a warning, and how often it is of the slice that is weak."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=400, help="a row")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    print(
        "| errors | samples | n | weak | warned | of the weak slice | ms |\n|---|---|---|---|---|---|---|"
    )
    for is_share in (True, False):
        for dependence in ("single", "groups of 10", "time order"):
            for n in (500, 2000, 10000):
                for weak in (None, *WEAK):
                    row(is_share, dependence, n, weak, options.draws, random)


def row(is_share: bool, dependence: str, n: int, weak: str | None, draws: int, random: Any) -> None:
    """Print one row."""
    warned, right, seconds = 0, 0, 0.0
    for _ in range(draws):
        source = source_of_each(dependence, n, random)
        known = known_of(source, random)
        inside = np.zeros(n, bool) if weak is None else WEAK[weak](known).to_numpy()
        if is_share:
            errors = (random.random(n)[source] < np.where(inside, 0.3, 0.1)).astype(float)
        else:
            errors = np.exp(random.normal(size=n))[source] * np.where(inside, 2.0, 1.0)
        part = Part("test", n, "", metadata=known)
        clusters = np.arange(n) // 10 if dependence == "groups of 10" else None
        began = time.perf_counter()
        found = weak_slices(errors, sources(part), is_share, clusters, dependence == "time order")
        seconds += time.perf_counter() - began
        warned += bool(found)
        masks = [one.mask() for one, _ in found]
        right += any((m & inside).sum() > 0.5 * (m | inside).sum() for m in masks)
    kind, of_right = "wrong or not" if is_share else "lognormal", f"{100 * right / draws:.0f}%"
    print(
        f"| {kind} | {dependence} | {n} | {weak or 'none'} | {100 * warned / draws:.1f}% | "
        f"{'' if weak is None else of_right} | {1000 * seconds / draws:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
