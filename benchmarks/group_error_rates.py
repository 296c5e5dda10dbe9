"""How often is a gate on the gap or the ratio between groups wrong, beside a bare comparison?

Groups of n samples each, right with the same chance of 0.8: whatever is between them is luck, and a
gate that fails raises a false alarm. modeltune resamples within groups and fails where two are farther
apart than the bound beyond chance; the bare rule fails whenever what is measured is beyond the bound. In
the last columns one group is right with a chance of 0.55: the gap of 0.25 is truly beyond the bound of 0.1.

Run with ``.venv/bin/python benchmarks/group_error_rates.py``; it takes about a minute and prints
``group_error_rates.md``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from modeltune.judgement.significance import ALPHA, compare_groups

SHARE, WORSE = 0.8, 0.55
"""The chance of being right, and that of the one group that is truly worse."""

REPLICATES = 1000
GROUPS = (2, 5, 20)
SIZES = (100, 300, 1000, 5000)


@dataclass(frozen=True)
class Rule:
    """A gate: the largest difference allowed between groups, or the smallest ratio."""

    bound: float
    is_ratio: bool

    def __str__(self) -> str:
        return f".ratio >= {self.bound:g}" if self.is_ratio else f".gap <= {self.bound:g}"

    def is_beyond(self, values: np.ndarray) -> bool:
        """Tell whether what is measured is on the wrong side of the bound."""
        low, high = float(values.min()), float(values.max())
        return low < self.bound * high if self.is_ratio else high - low > self.bound


RULES = (Rule(0.1, False), Rule(0.02, False), Rule(0.8, True), Rule(0.97, True))


@dataclass(frozen=True)
class Rates:
    """The shares of draws that fail, that are inconclusive, and that the bare rule fails."""

    failed: float
    inconclusive: float
    bare: float


def rates(rule: Rule, shares: np.ndarray, n: int, draws: int, random: np.random.Generator) -> Rates:
    """Judge draws of groups of n samples each that are right with these chances."""
    failed = bare = 0
    for _ in range(draws):
        values = random.binomial(n, shares) / n
        if not rule.is_beyond(values):
            continue
        bare += 1
        replicates = random.binomial(n, values, (REPLICATES, len(values))) / n
        sizes = np.full(len(values), n)
        test = compare_groups(values, replicates, sizes, rule.bound, rule.is_ratio)
        failed += test.p <= ALPHA
    return Rates(failed / draws, (bare - failed) / draws, bare / draws)


def main() -> None:
    """Print the tables of false alarms and of what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    random = np.random.default_rng(0)
    print("# How often a gate between groups is wrong\n")
    print(
        f"{draws} draws a row, {REPLICATES} resamples each; samples are right with a chance of {SHARE}.\n"
    )
    print("| gate | groups | n a group | failed | inconclusive | failed by the bare rule |")
    print("|---|---|---|---|---|---|")
    worst = 0.0
    for rule in RULES:
        for groups in GROUPS:
            for n in SIZES:
                one = rates(rule, np.full(groups, SHARE), n, draws, random)
                worst = max(worst, one.failed)
                numbers = " | ".join(
                    f"{100 * x:.1f}%" for x in (one.failed, one.inconclusive, one.bare)
                )
                print(f"| `{rule}` | {groups} | {n} | {numbers} |", flush=True)
    print(f"\nThe most false alarms of any row: {100 * worst:.1f}%; at most 5% is the target.\n")
    print(f"One group that is right with a chance of {WORSE}, under `{RULES[0]}`:\n")
    print("| groups | n a group | failed, rightly | inconclusive |\n|---|---|---|---|")
    for groups in GROUPS:
        shares = np.full(groups, SHARE)
        shares[0] = WORSE
        for n in SIZES:
            one = rates(RULES[0], shares, n, max(1, draws // 5), random)
            print(
                f"| {groups} | {n} | {100 * one.failed:.1f}% | {100 * one.inconclusive:.1f}% |",
                flush=True,
            )


if __name__ == "__main__":
    main()
