"""How often a drop is found of which the power said that it is in 80%: python benchmarks/power.py

The gate is ``mt.metric("accuracy") >= mt.baseline - 0.01``, the only one of its spec. For each situation
``power_of_gates`` says which drop is found with 80%. Models that are truly so much worse are then drawn,
compared by ``compare_evidence`` and judged by ``decide``. Those of one refit are drawn by another process
than the power's own: whole differences of the two models depend on each other, as in
``dependent_error_rates.py``. Those of several refits differ on the same hard samples by their seeds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

import modeltune as mt
from modeltune.judgement.evidence import Evidence, compare_evidence
from modeltune.judgement.gate_power import Noise, power_of_gates
from modeltune.judgement.significance import decide, p_violated
from modeltune.records import Outcome, Samples, ScoredRows, Scores

GATE = mt.metric("accuracy") >= mt.baseline - 0.01


class Situation(NamedTuple):
    """A test part: single samples, groups of ``each``, or in time; and the noise of the models."""

    name: str
    samples: int
    each: int = 1
    correlation: float = 0.0
    refits: int = 1
    discordance: float = 0.1
    seed_std: float = 0.0

    @property
    def is_ordered(self) -> bool:
        return self.each == 0


SITUATIONS = (
    Situation("200 single samples", 200),
    Situation("1000 single samples", 1000),
    Situation("1000 single samples, 2% discordant", 1000, discordance=0.02),
    Situation("10000 single samples", 10000),
    Situation("1000 single samples, 2 refits", 1000, refits=2),
    Situation("200 groups of 5, r = 0.7", 1000, 5, 0.7),
    Situation("100 groups of 10, r = 0.3", 1000, 10, 0.3),
    Situation("50 groups of 20, r = 0.7", 1000, 20, 0.7),
    Situation("400 groups of 10, r = 0.3", 4000, 10, 0.3),
    Situation("20 groups of 50, r = 0.3", 1000, 50, 0.3),
    Situation("1000 in time, r = 0.5", 1000, 0, 0.5),
    Situation("1000 in time, r = 0.8", 1000, 0, 0.8),
    Situation("4000 in time, r = 0.8", 4000, 0, 0.8),
    Situation("1000 samples, 3 seeds, deviation 0.006", 1000, refits=3, seed_std=0.006),
    Situation("2000 samples, 5 seeds, deviation 0.006", 2000, refits=5, seed_std=0.006),
    Situation("2000 samples, 10 seeds, deviation 0.003", 2000, refits=10, seed_std=0.003),
)


def rows_of(situation: Situation) -> ScoredRows:
    """Return what is known of the test part."""
    clusters = np.arange(situation.samples) // situation.each if situation.each > 1 else None
    return ScoredRows(situation.samples, clusters, situation.is_ordered)


def pair(
    situation: Situation, drop: float, random: np.random.Generator
) -> tuple[Evidence, Evidence]:
    """Return a candidate that is worse by the drop, and the reference."""
    n, refits, of = situation.samples, situation.refits, np.arange(situation.samples)
    if situation.is_ordered:
        is_own = random.random(n) >= situation.correlation
        of = np.maximum.accumulate(np.where(is_own, of, 0))
    elif situation.each > 1:
        is_shared = random.random(n) < np.sqrt(situation.correlation)
        of = np.where(is_shared, of // situation.each * situation.each, of)
    share = max(situation.discordance, drop)
    values = np.empty((2, refits, n), bool)
    is_hard = random.random(n) < 2 * share
    for refit in range(refits):
        if refits > 1:
            skills = random.normal([-drop, 0], situation.seed_std) / (2 * share)
            for side, skill in enumerate(skills):
                values[side, refit] = ~is_hard | (random.random(n) < 0.5 + skill)
            continue
        lost, won = (share + drop) / 2, (share - drop) / 2
        u = random.random(n)
        differences = np.select([u < lost, u < lost + max(won, 0)], [-1, 1], 0)[of]
        values[0, refit], values[1, refit] = differences >= 0, differences <= 0
    rows, ids = rows_of(situation), tuple((seed, None) for seed in range(refits))
    candidate, reference = (
        Evidence(
            {"accuracy": Scores(tuple(side.mean(axis=1).tolist()))},
            ids,
            Samples(
                *(n, refits, {"": np.zeros(n, int)}),
                values={"accuracy": side},
                clusters=rows.clusters,
                is_ordered=rows.is_ordered,
            ),
        )
        for side in values
    )
    return candidate, reference


def found(situation: Situation, drop: float, draws: int, random: Any) -> float:
    """Return the share of models so much worse that fail."""
    failed = 0
    for _ in range(draws):
        comparison = compare_evidence("accuracy", 1, *pair(situation, drop, random)).comparison
        assert comparison is not None
        p = p_violated(comparison, 0.01)
        failed += decide(comparison, 0.01, p) is Outcome.FAILED
    return failed / draws


def main() -> None:
    """Print a row for each situation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1000, help="a row")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    print("| situation | drop | said | found | s |\n|---|---|---|---|---|")
    for situation in SITUATIONS:
        noise = Noise(situation.discordance, situation.correlation, situation.seed_std)
        ids = tuple((seed, None) for seed in range(situation.refits))
        began = time.perf_counter()
        (power,) = power_of_gates([GATE], rows_of(situation), ids, noise=noise)
        seconds = time.perf_counter() - began
        if power.drop is None:
            print(f"| {situation.name} | none | | | {seconds:.2f} |")
            continue
        share = found(situation, power.drop, options.draws, random)
        print(
            f"| {situation.name} | {power.drop:.4f} | 80% | {100 * share:.1f}% | {seconds:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
