"""Samples that belong together are compared by whole groups: equal models fail as seldom as promised."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modeltune.judgement.evidence import Evidence, compare_evidence
from modeltune.judgement.group_flips import (
    FEWEST_GROUPS,
    GroupFlips,
    cluster_resamples,
    compare_group_means,
)
from modeltune.judgement.significance import (
    compare_outcomes,
    decide,
    decide_same,
    p_outside,
    p_violated,
    settle_same,
)
from modeltune.records.runs import Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, Unit

GROUPS, EACH = 50, 20
CODES = np.repeat(np.arange(GROUPS), EACH)


def drawn_alike(random: np.random.Generator, lost: float, won: float) -> Any:
    """Return which samples the candidate loses (-1) and wins (1), correlated by 0.7 within a group."""

    def draw(shape: tuple[int, ...]) -> Any:
        return random.choice([-1, 0, 1], shape, p=[lost, 1 - lost - won, won])

    is_copied = random.random((GROUPS, EACH)) < math.sqrt(0.7)
    return np.where(is_copied, draw((GROUPS, 1)), draw((GROUPS, EACH))).ravel()


def flips(differences: Any, codes: Any = CODES, weights: Any = None) -> GroupFlips:
    compared = compare_group_means(differences, codes, weights)
    assert compared is not None
    return compared


def test_equal_models_fail_at_most_as_often_as_alpha_where_single_samples_would_fail_far_more() -> (
    None
):
    random = np.random.default_rng(1)
    failed = {"groups": 0, "samples": 0}
    for _ in range(400):
        differences = drawn_alike(random, 0.06, 0.06)
        of_groups = flips(differences)
        of_samples = compare_outcomes(differences == -1, differences == 1)
        for name, compared in (("groups", of_groups), ("samples", of_samples)):
            outcome = decide(compared, 0.01, p_violated(compared, 0.01))
            failed[name] += outcome is Outcome.FAILED
    # Two standard errors of 400 draws are 2.2 points.
    assert failed["groups"] / 400 <= 0.072
    assert failed["samples"] / 400 > 0.2


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.2])
def test_p_is_that_of_scipy_s_permutation_test_on_the_sums_of_the_groups(shift: float) -> None:
    random = np.random.default_rng(2)
    sums = random.normal(shift, 1, 30)
    ours = flips(np.repeat(sums, 4) / 4, np.repeat(np.arange(30), 4))
    theirs = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", alternative="less", n_resamples=4000, rng=3
    )
    assert ours.p_worse == pytest.approx(theirs.pvalue, abs=0.04)
    assert ours.delta == pytest.approx(sums.sum() / 120)


@given(lost=st.integers(0, 15), won=st.integers(0, 15))
def test_law_groups_of_one_sample_are_judged_as_mcnemar_does(lost: int, won: int) -> None:
    differences = np.repeat([-1, 1, 0], [lost, won, 40])
    before, after = (np.repeat(side, [lost, won, 40]) for side in ([1, 0, 1], [0, 1, 1]))
    ours = flips(differences, np.arange(len(differences)))
    exact = compare_outcomes(before, after)
    assert ours.delta == pytest.approx(exact.delta)
    # 2000 subsets: three standard errors.
    assert ours.p_worse == pytest.approx(exact.p_worse, abs=0.034)


def test_swapping_the_models_swaps_what_is_worse_and_better() -> None:
    differences = drawn_alike(np.random.default_rng(4), 0.09, 0.03)
    one, other = flips(differences), flips(-differences)
    assert one.delta == -other.delta < 0
    assert one.p_below(0.02) == other.p_above(-0.02)
    low, high = one.interval()
    assert low < one.delta < high


def test_with_few_groups_nothing_is_proven_and_it_is_said_how_many_would_do() -> None:
    codes = np.repeat(np.arange(FEWEST_GROUPS - 1), 10)
    compared = flips(np.full(len(codes), -0.5), codes)
    assert decide(compared, 0.01, p_violated(compared, 0.01)) is Outcome.INCONCLUSIVE
    assert compared.interval() == (-math.inf, math.inf)
    assert compared.detectable() is None
    assert (compared.settle(0.01) or 0) >= FEWEST_GROUPS
    assert decide_same(compared, 0.6, p_outside(compared, 0.6)) is Outcome.INCONCLUSIVE
    assert (settle_same(compared, 0.6) or 0) >= FEWEST_GROUPS
    enough = flips(np.full(200, -0.5), np.repeat(np.arange(20), 10))
    assert decide(enough, 0.01, p_violated(enough, 0.01)) is Outcome.FAILED


def test_samples_without_weight_do_not_count() -> None:
    random = np.random.default_rng(5)
    differences, weights = random.normal(size=200), random.integers(0, 2, 200)
    codes = np.repeat(np.arange(40), 5)
    kept = weights > 0
    assert (
        flips(differences, codes, weights).p_worse == flips(differences[kept], codes[kept]).p_worse
    )
    assert compare_group_means(differences, codes, np.zeros(200)) is None


def test_a_resample_holds_whole_groups() -> None:
    codes = np.array([2, 0, 0, 1, 2, 2])
    for picked in cluster_resamples(codes, seed=0, number=20):
        for code, size in ((0, 2), (1, 1), (2, 3)):
            assert np.count_nonzero(codes[picked] == code) % size == 0


# Of a run's evidence


def judged(share: float, is_clustered: bool = True, is_ordered: bool = False) -> Evidence:
    """Return a refit whose answers are right on this share of the groups, and wrong on whole others."""
    random = np.random.default_rng(6)
    truth = random.integers(0, 2, GROUPS * EACH)
    is_right = np.repeat(np.arange(GROUPS) < share * GROUPS, EACH)
    answers = np.where(is_right, truth, 1 - truth)
    # A few answers differ, so that no group is told from its own share alone.
    scores = np.where(answers == 1, 0.6, 0.4) + random.normal(0, 0.02, len(truth))
    samples = Samples(
        len(truth),
        1,
        {"": truth},
        {"": answers[None]},
        {"": [0, 1]},
        {"accuracy": is_right[None], "loss": (1.0 - is_right)[None]},
        outputs={"": scores[None]},
        clusters=CODES if is_clustered else None,
        is_ordered=is_ordered,
    )
    names = ("accuracy", "loss", "f1", "roc_auc")
    return Evidence(
        {n: Scores((samples.score(n, 0) or 0.0,)) for n in names}, ((0, None),), samples
    )


@pytest.mark.parametrize("metric", ["accuracy", "loss", "f1", "roc_auc"])
def test_every_metric_is_compared_by_groups_where_the_samples_have_them(metric: str) -> None:
    sign = -1 if metric == "loss" else 1
    pair = compare_evidence(metric, sign, judged(0.5), judged(0.9))
    compared = pair.comparison
    assert isinstance(compared, GroupFlips)
    assert (compared.unit, compared.n) == (Unit.GROUPS, GROUPS)
    assert compared.delta == pytest.approx(sign * (pair.candidate - pair.reference))
    assert compared.delta < 0
    assert compared.p_worse < 0.001


def test_groups_of_one_side_are_enough_so_that_leaving_them_out_today_hides_nothing() -> None:
    for is_mine in (True, False):
        pair = compare_evidence(
            "accuracy", 1, judged(0.5, is_clustered=is_mine), judged(0.9, is_clustered=not is_mine)
        )
        assert isinstance(pair.comparison, GroupFlips)


def test_the_groups_of_a_slice_alone_count() -> None:
    first = np.arange(GROUPS * EACH) < 30 * EACH
    one, other = (
        replace(side, samples=replace(side.samples, slices={"first": first}), rows="first")
        for side in (judged(0.1), judged(0.5))
        if side.samples is not None
    )
    compared = compare_evidence("accuracy", 1, one, other).comparison
    assert compared is not None
    assert compared.n == one.count("accuracy") == 30


@pytest.mark.parametrize("metric", ["accuracy", "loss", "f1", "roc_auc"])
def test_rows_in_time_order_are_compared_by_blocks_of_them(metric: str) -> None:
    sign = -1 if metric == "loss" else 1
    pair = compare_evidence(
        metric,
        sign,
        judged(0.5, is_clustered=False, is_ordered=True),
        judged(0.9, is_clustered=False),
    )
    compared = pair.comparison
    assert isinstance(compared, GroupFlips)
    assert compared.unit is Unit.BLOCKS
    assert FEWEST_GROUPS <= compared.n < GROUPS * EACH
    assert compared.delta == pytest.approx(sign * (pair.candidate - pair.reference))
    # Where they differ is one stretch of time: 1000 such samples are worth far fewer.
    assert 0.001 < compared.p_worse < 0.2
