"""How often a regression gate is wrong where samples depend on each other: python benchmarks/dependent_error_rates.py

Two classifiers differ on 12% of the samples; the gate is ``mt.metric("accuracy") >= mt.baseline - 0.01`` at
alpha 0.05. In groups a sample is with probability sqrt(r) as its group, so that two of them are correlated
by r; in time order it is with probability r as the one before. Beside our rule stand what takes samples
for independent (McNemar's exact test) and two simple rules that do not: Student's t on the sums of groups
or blocks, and a bootstrap of these. All fail a drop larger than the margin with p at most 0.05.

A second table is of recipes, three models a side, for new data and new seeds. The recipes are equally good, and
each is wrong on samples of its own; what is wrong with one sample of a group is with probability sqrt(r) wrong with
all, and so are the mistakes of single models. It shows how often a drop is called significant at all: by the
crossed t on groups or blocks, by the same as if samples were independent, and by the seeds alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from modeltune.judgement.group_flips import compare_group_means
from modeltune.judgement.seeds_and_samples import (
    SampleNoise,
    compare_crossed,
    influences_of_means,
)
from modeltune.judgement.significance import ALPHA, McNemar
from modeltune.judgement.time_blocks import time_blocks
from modeltune.records import Unit

MARGIN, DISCORDANCE, SAMPLES = 0.01, 0.12, 1000
DROPS = (0.0, 0.02, 0.04)


class Situation(NamedTuple):
    """Samples in groups, or in time order where ``groups`` is 0."""

    name: str
    groups: int
    correlation: float
    samples: int = SAMPLES


SITUATIONS = (
    Situation("1000 single samples", 1000, 0.0),
    Situation("200 groups of 5, r = 0.7", 200, 0.7),
    Situation("100 groups of 10, r = 0.3", 100, 0.3),
    Situation("100 groups of 10, r = 0.7", 100, 0.7),
    Situation("50 groups of 20, r = 0.7", 50, 0.7),
    Situation("20 groups of 50, r = 0.7", 20, 0.7),
    Situation("1000 in time order, r = 0.5", 0, 0.5),
    Situation("1000 in time order, r = 0.8", 0, 0.8),
    Situation("4000 in time order, r = 0.8", 0, 0.8, 4000),
)


def differences(situation: Situation, drop: float, random: np.random.Generator) -> Any:
    """Return which samples the candidate loses (-1) and wins (1), float64 of shape (n,)."""
    n, r = situation.samples, situation.correlation
    shares = [(DISCORDANCE + drop) / 2, 1 - DISCORDANCE, (DISCORDANCE - drop) / 2]
    own = random.choice([-1.0, 0.0, 1.0], n, p=shares)
    if situation.groups:
        of_group = random.choice([-1.0, 0.0, 1.0], situation.groups, p=shares)
        shared = np.repeat(of_group, n // situation.groups)
        return np.where(random.random(n) < np.sqrt(r), shared, own)
    is_copied = random.random(n) < r
    is_copied[0] = False
    return own[np.maximum.accumulate(np.where(is_copied, 0, np.arange(n)))]


def p_of_samples(values: Any, codes: Any, unit: Unit) -> float:
    """Return the p-value that takes samples for independent."""
    return McNemar(int((values < 0).sum()), int((values > 0).sum()), len(values)).p_worse


def p_of_flips(values: Any, codes: Any, unit: Unit) -> float:
    """Return ours."""
    compared = compare_group_means(values, codes, unit=unit)
    assert compared is not None
    return compared.p_worse


def p_of_t(values: Any, codes: Any, unit: Unit) -> float:
    """Return that of Student's t on the sums."""
    sums = np.bincount(codes, values)
    return float(stats.ttest_1samp(sums, 0, alternative="less").pvalue) if sums.any() else 1.0


def p_of_bootstrap(values: Any, codes: Any, unit: Unit) -> float:
    """Return that of a percentile bootstrap of the sums."""
    sums = np.bincount(codes, values)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), 1000)
    return float((1 + np.count_nonzero(drawn @ sums >= 0)) / 1001)


RULES: dict[str, Callable[[Any, Any, Unit], float]] = {
    "ours": p_of_flips,
    "as if independent": p_of_samples,
    "t of sums": p_of_t,
    "bootstrap of sums": p_of_bootstrap,
}


SEEDS, RECIPE_DRAWS = 3, 800


def mistakes(situation: Situation, share: float, random: np.random.Generator) -> Any:
    """Return which of the samples have something wrong, bool of shape (n,), a share of them."""
    n, r = situation.samples, situation.correlation
    own = random.random(n) < share
    if situation.groups:
        shared = np.repeat(random.random(situation.groups) < share, n // situation.groups)
        return np.where(random.random(n) < np.sqrt(r), shared, own)
    is_copied = random.random(n) < r
    is_copied[0] = False
    return own[np.maximum.accumulate(np.where(is_copied, 0, np.arange(n)))]


def significant(situation: Situation, draws: int, random: np.random.Generator) -> list[float]:
    """Return how often equally good recipes differ by more than chance: by ours, as if independent, by seeds."""
    counts = np.zeros(3)
    codes = None
    if situation.groups:
        codes = np.arange(situation.samples) * situation.groups // situation.samples
    for _ in range(draws):
        sides = []
        for _ in range(2):
            of_recipe = mistakes(situation, 0.06, random)
            own = [mistakes(situation, 0.06, random) for _ in range(SEEDS)]
            sides.append(~(np.array(own) | of_recipe))
        values = np.concatenate(sides)
        means = [side.mean(axis=1) for side in sides]
        blocks: Any = codes
        if codes is None:
            blocks = time_blocks(sides[0].mean(axis=0) - sides[1].mean(axis=0))
        unit = Unit.GROUPS if situation.groups else Unit.BLOCKS
        noises = [
            SampleNoise(one, SEEDS, one.shape[1], kind)
            for one, kind in (
                (influences_of_means(values, blocks), unit),
                (influences_of_means(values), Unit.SAMPLES),
            )
        ]
        ours, alone = (compare_crossed(means[1], means[0], noise, False) for noise in noises)
        p_values = ours.p_worse, alone.p_worse, ours.over_seeds.p_worse
        counts += np.array(p_values) <= ALPHA
    return [float(count) for count in counts / draws]


def main() -> None:
    """Print a table for each true drop, and that of recipes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1500, help="a row")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    for drop in DROPS:
        print(
            f"\n| failed, true drop {drop:.2f} | {' | '.join(RULES)} |\n{'|---' * (1 + len(RULES))}|"
        )
        for situation in SITUATIONS:
            failed = dict.fromkeys(RULES, 0)
            for _ in range(options.draws):
                values = differences(situation, drop, random)
                unit = Unit.GROUPS if situation.groups else Unit.BLOCKS
                codes = time_blocks(values)
                if situation.groups:
                    each = situation.samples // situation.groups
                    codes = np.repeat(np.arange(situation.groups), each)
                if values.mean() >= -MARGIN - 1e-12:
                    continue
                for name, rule in RULES.items():
                    failed[name] += rule(values, codes, unit) <= ALPHA
            cells = [f"{100 * count / options.draws:.1f}%" for count in failed.values()]
            print(f"| {situation.name} | {' | '.join(cells)} |", flush=True)
    print(
        "\n| equal recipes, called worse | crossed t | as if independent | seeds alone |\n|---|---|---|---|"
    )
    random = np.random.default_rng(2)
    for situation in SITUATIONS:
        shares = significant(situation, RECIPE_DRAWS, random)
        cells = [f"{100 * share:.1f}%" for share in shares]
        print(f"| {situation.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
