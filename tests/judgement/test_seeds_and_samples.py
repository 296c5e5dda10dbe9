"""Recipes are compared for new seeds and new samples at once: neither may be taken for the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from modeltune.judgement.seeds_and_samples import (
    CrossedT,
    SampleNoise,
    compare_crossed,
    influences_left_out,
    influences_of_means,
    influences_of_parts,
    is_worth_pairing,
)
from modeltune.records.verdicts import Question, Unit

SEEDS, N = 3, 200


def scores(
    random: np.random.Generator, of_seeds: float, of_samples: float, drop: float = 0.0
) -> list[Any]:
    """Return what each model of both sides, candidate first, has on each sample: two of (SEEDS, N).

    Recipes differ on single samples by a deviation of ``of_samples``, models of a recipe by ``of_seeds``.
    """
    return [
        random.normal(scale=of_samples, size=N)
        + random.normal(scale=of_seeds, size=(SEEDS, 1))
        + random.normal(size=(SEEDS, N))
        - lost
        for lost in (drop, 0.0)
    ]


def noise_of(sides: list[Any], codes: Any = None, unit: Unit = Unit.SAMPLES) -> SampleNoise:
    influences = influences_of_means(np.concatenate(sides), codes)
    return SampleNoise(influences, len(sides[0]), influences.shape[1], unit)


def compared(sides: list[Any], codes: Any = None, unit: Unit = Unit.SAMPLES) -> CrossedT:
    candidate, reference = (side.mean(axis=1) for side in sides)
    return compare_crossed(reference, candidate, noise_of(sides, codes, unit), paired=False)


@pytest.mark.parametrize("of_seeds", [0.0, 0.1])
def test_recipes_that_differ_on_samples_by_chance_alone_are_failed_in_five_of_a_hundred(
    of_seeds: float,
) -> None:
    random = np.random.default_rng(0)
    drawn = [compared(scores(random, of_seeds, 1.0)) for _ in range(600)]
    assert 0.02 < np.mean([one.p_worse <= 0.05 for one in drawn]) < 0.06
    assert np.mean([one.over_seeds.p_worse <= 0.05 for one in drawn]) > 0.07, "seeds see none of it"
    (low, high) = np.transpose([one.interval() for one in drawn])
    assert 0.9 < np.mean((low < 0) & (high > 0)) < 0.97


def test_equal_recipes_are_failed_only_where_students_t_with_pooled_variances_would() -> None:
    random = np.random.default_rng(0)
    failed = 0
    for _ in range(200):
        sides = scores(random, 0.05, 0.0)
        means = [side.mean(axis=1) for side in sides]
        pooled = stats.ttest_ind(*means, alternative="less").pvalue
        p = compared(sides).p_worse
        failed += p <= 0.05
        assert pooled <= 0.05 or p > 0.05
    assert failed > 5


def test_a_drop_is_found_more_often_than_by_welchs_t_where_samples_are_many() -> None:
    random = np.random.default_rng(0)
    found = np.array([0, 0])
    for _ in range(300):
        one = compared(scores(random, 0.1, 0.1, drop=0.25))
        found += [one.p_worse <= 0.05, one.over_seeds.p_worse <= 0.05]
    assert found[0] > found[1] + 15


def test_the_variance_is_that_of_readers_nested_in_treatments() -> None:
    """Hillis (2014): 2/k (MS(readers) + k max(cov2 - cov3, 0)), with covariances of the samples' means."""
    sides = scores(np.random.default_rng(3), 0.1, 0.5)
    covariance = np.cov(np.concatenate(sides)) / N
    within = [covariance[:SEEDS, :SEEDS], covariance[SEEDS:, SEEDS:]]
    between = covariance[:SEEDS, SEEDS:]
    cov2 = np.mean([part[~np.eye(SEEDS, dtype=bool)].mean() for part in within])
    square = np.mean([np.var(side.mean(axis=1), ddof=1) for side in sides])
    error = 2 / SEEDS * (square + SEEDS * (cov2 - between.mean()))
    low, high = compared(sides).interval()
    one = compared(sides)
    freedom = error**2 / (
        (2 / SEEDS * square) ** 2 / (2 * (SEEDS - 1)) + one.over_samples**2 / one.freedom
    )
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, freedom) * math.sqrt(error))
    assert one.question is Question.RECIPE_ON_NEW_DATA
    assert (one.n, one.samples, one.unit) == (SEEDS, N, Unit.SEEDS)


def test_models_without_luck_in_training_are_worth_their_samples_and_no_more() -> None:
    one = np.random.default_rng(0).random(N) < 0.9
    other = one.copy()
    other[np.flatnonzero(one)[:4]] = False
    sides = [np.tile(side, (SEEDS, 1)) for side in (other, one)]
    result = compared(sides)
    assert result.over_seeds.p_worse == 0.0
    assert result.p_worse > 0.05, "four samples never prove anything"
    same = compared([sides[0], sides[0]])
    assert (same.delta, same.p_worse, same.detectable()) == (0.0, 0.5, None)


def test_samples_of_a_group_are_worth_one_and_few_groups_prove_nothing() -> None:
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(40), N // 40)
    of_group = random.normal(size=(2, 40))
    sides = [
        np.repeat(of_group[side], N // 40) + 0.1 * random.normal(size=(SEEDS, N)) for side in (0, 1)
    ]
    alone, grouped = compared(sides), compared(sides, codes, Unit.GROUPS)
    assert grouped.over_samples > 4 * alone.over_samples
    assert (grouped.samples, grouped.sample_unit) == (40, Unit.GROUPS)
    # A slice may have samples of some groups only.
    assert compared(sides, codes * 7, Unit.GROUPS).p_worse == grouped.p_worse
    few = compared([side - 9 for side in sides[:1]] + sides[1:], codes // 3, Unit.GROUPS)
    assert (few.p_worse, few.interval()) == (1.0, (-math.inf, math.inf))
    assert (few.settle(0.01), few.detectable()) == (None, None)


def test_what_would_settle_it_does() -> None:
    random = np.random.default_rng(2)
    result = compared(scores(random, 0.2, 0.3, drop=0.2))
    assert result.p_worse > 0.05
    seeds = result.settle(0.0)
    assert seeds is not None
    assert SEEDS < seeds < 100
    fewer = compared(scores(random, 0.01, 2.0, drop=0.2))
    assert fewer.settle(0.0) is None, "no number of seeds makes up for samples"
    assert N < (fewer.settle_samples(0.0) or 0) < 100 * N
    lucky = compared(scores(random, 2.0, 0.1, drop=0.2))
    assert lucky.settle_samples(0.0) is None, "nor samples for seeds"


def test_seeds_are_paired_where_models_of_the_same_seed_make_the_same_mistakes() -> None:
    random = np.random.default_rng(0)
    apart = scores(random, 0.1, 0.0)
    assert not is_worth_pairing(noise_of(apart))
    alike = [apart[0], apart[0] + 0.1 * random.normal(size=(SEEDS, N))]
    assert is_worth_pairing(noise_of(alike))
    assert noise_of(alike).correlation == pytest.approx(1, abs=0.05)
    assert not is_worth_pairing(noise_of([alike[0], alike[1][:2]])), "other numbers of seeds"
    one, other = (side.mean(axis=1) for side in alike)
    paired = compare_crossed(one, other, noise_of(alike), paired=True)
    assert paired.over_samples < 0.001


def test_parts_of_the_samples_tell_what_single_ones_do() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(2, N)).cumsum(axis=0)
    exact = influences_of_means(values)
    left_out = [[np.delete(row, sample).mean() for sample in range(N)] for row in values]
    assert influences_left_out(left_out) == pytest.approx(exact)
    weights = np.repeat([1.0, 3.0], N // 2)
    weighted = influences_of_means(values, weights=weights)
    assert weighted.sum(axis=1) == pytest.approx([0, 0])
    assert weighted[0] == pytest.approx(
        weights / weights.sum() * (values[0] - np.average(values[0], weights=weights))
    )
    parts = influences_of_parts(values.reshape(2, 50, 4).mean(axis=2))
    assert np.square(parts).sum() == pytest.approx(np.square(exact).sum(), rel=0.3)
