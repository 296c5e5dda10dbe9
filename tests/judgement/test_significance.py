"""The tests behind regression gates agree with SciPy and published examples, and keep their laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from modeltune.ground.multiple_tests import holm
from modeltune.judgement.significance import (
    LEFT_OUT,
    Bootstrap,
    Comparison,
    McNemar,
    StudentT,
    compare_outcomes,
    compare_resampled,
    compare_samples,
    compare_seeds,
    compare_weighted,
    decide,
    effective_size,
    jackknife,
    p_violated,
    resamples,
    wilson,
)
from modeltune.records.verdicts import Outcome, Question

MARGIN = 0.01
GOODNESS = [Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED]

shares = st.floats(0, 1)
bounds = st.floats(-0.999, 0.999)
scores = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@st.composite
def counts(draw: st.DrawFn, most: int = 500) -> McNemar:
    n = draw(st.integers(1, most))
    lost = draw(st.integers(0, n))
    return McNemar(lost, draw(st.integers(0, n - lost)), n)


@st.composite
def differences(draw: st.DrawFn) -> Bootstrap:
    values = draw(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
    return compare_samples(values, replicates=200)


@st.composite
def seeds(draw: st.DrawFn) -> StudentT:
    before, after = draw(scores), draw(scores)
    k = min(len(before), len(after))
    paired = draw(st.booleans())
    return (
        compare_seeds(before[:k], after[:k], True)
        if paired
        else compare_seeds(before, after, False)
    )


comparisons: st.SearchStrategy[Comparison] = st.one_of(counts(), differences(), seeds())


def judged(comparison: Comparison, margin: float) -> Outcome:
    return decide(comparison, margin, p_violated(comparison, margin))


# Outcomes of the same samples: McNemar and Tango


def test_only_samples_they_disagree_on_tell() -> None:
    reference = [1, 1, 1, 0, 0, 1, 0, 1]
    candidate = [0, 0, 1, 1, 0, 0, 0, 1]
    result = compare_outcomes(reference, np.array(candidate, dtype=bool))
    assert result == McNemar(lost=3, won=1, n=8)
    assert (result.delta, result.test, result.question) == (
        -0.25,
        "exact McNemar",
        Question.ARTIFACT,
    )


@given(counts())
def test_mcnemar_is_the_tail_of_a_fair_coin(result: McNemar) -> None:
    expected = stats.binom.sf(result.lost - 1, result.lost + result.won, 0.5)
    assert result.p_worse == pytest.approx(expected, abs=1e-12)


def test_four_discordant_samples_never_prove_anything() -> None:
    assert McNemar(4, 0, 100).p_worse == 0.0625
    assert McNemar(5, 0, 100).p_worse == 0.03125


@pytest.mark.parametrize(
    ("result", "interval"),
    [
        # Fagerland, Lydersen & Laake, Statistics in Medicine 33, 2014: airway reactivity before
        # and after stem cell transplantation, Tango's 95% interval.
        (McNemar(lost=7, won=1, n=21), (-0.517, -0.026)),
        (McNemar(lost=1, won=7, n=21), (0.026, 0.517)),
    ],
)
def test_tango_interval_is_as_published(result: McNemar, interval: tuple[float, float]) -> None:
    assert result.interval(alpha=0.025) == pytest.approx(interval, abs=0.0005)


@pytest.mark.parametrize("bound", [-0.3, -0.01, -1e-9, 0.0, 0.02, 0.4])
@pytest.mark.parametrize("result", [McNemar(7, 1, 21), McNemar(0, 3, 40), McNemar(30, 25, 1000)])
def test_the_variance_is_that_of_the_likeliest_shares_on_the_bound(
    result: McNemar, bound: float
) -> None:
    """Tango's closed form, against the likelihood maximized numerically."""
    agreed = result.n - result.lost - result.won

    def unlikelihood(lost_share: float) -> float:
        cells = (
            (result.lost, lost_share),
            (result.won, lost_share + bound),
            (agreed, 1 - 2 * lost_share - bound),
        )
        return -sum(count * math.log(max(share, 1e-300)) for count, share in cells if count)

    low, high = max(0.0, -bound), (1 - bound) / 2
    best = optimize.minimize_scalar(
        unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    error = math.sqrt((2 * best + bound - bound**2) / result.n)
    assert result.p_above(bound) == pytest.approx(
        stats.norm.sf((result.delta - bound) / error), abs=1e-4
    )


@pytest.mark.parametrize(
    "result", [McNemar(7, 1, 21), McNemar(0, 0, 200), McNemar(0, 5, 5), McNemar(5, 0, 5)]
)
def test_the_interval_ends_where_the_score_test_turns(result: McNemar) -> None:
    low, high = result.interval(alpha=0.05)
    assert -1 <= low <= result.delta <= high <= 1
    if low > -1:
        assert result.p_above(low) == pytest.approx(0.05)
    if high < 1:
        assert result.p_below(high) == pytest.approx(0.05)


def test_models_that_agree_on_every_sample_are_proven_equal_only_by_many() -> None:
    assert McNemar(0, 0, 200).p_worse == 1.0
    assert McNemar(0, 0, 200).p_above(-MARGIN) == pytest.approx(
        stats.norm.sf(math.sqrt(200 * 0.01 / 0.99))
    )
    assert McNemar(0, 0, 267).p_above(-MARGIN) > 0.05
    assert McNemar(0, 0, 268).p_above(-MARGIN) < 0.05
    assert McNemar(0, 0, 200).settle(MARGIN) == 268


@given(counts())
def test_swapped_models_mirror_the_counts(result: McNemar) -> None:
    swapped = McNemar(result.won, result.lost, result.n)
    assert swapped.delta == -result.delta
    for bound in (-0.5, -MARGIN, 0.0, 0.2):
        assert swapped.p_above(-bound) == pytest.approx(result.p_below(bound), abs=1e-12)
    low, high = result.interval()
    assert swapped.interval() == pytest.approx((-high, -low), abs=1e-9)


def test_the_detectable_drop_is_detected_with_its_power() -> None:
    """Against an enumeration of 1000 samples of which 6% come out differently."""
    n, discordance = 1000, 0.06
    drop = McNemar(30, 30, n).detectable(power=0.8)
    assert drop is not None
    assert drop == pytest.approx(0.0193, abs=0.0001)
    discordant = np.arange(n + 1)
    fewest = stats.binom.isf(0.05, discordant, 0.5) + 1
    chances = stats.binom.sf(fewest - 1, discordant, (discordance + drop) / 2 / discordance)
    power = (stats.binom.pmf(discordant, n, discordance) * chances).sum()
    # The exact test keeps below its alpha, which costs a little power.
    assert power == pytest.approx(0.77, abs=0.02)


@given(counts(), st.integers(2, 20))
def test_more_samples_detect_less(result: McNemar, times: int) -> None:
    few, many = (
        result.detectable(),
        McNemar(*(times * x for x in (result.lost, result.won, result.n))),
    )
    assert few is None or (many.detectable() or 1) < few


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ([], [], "one value or more"),
        ([[1, 0]], [[1, 0]], r"shape \(1, 2\)"),
        ([1, 0], [1], "no pairs"),
        ([1, 0.5], [1, 0], "0 or 1"),
        ([1, math.nan], [1, 0], "1 non-finite"),
    ],
)
def test_outcomes_that_are_none_are_refused(
    reference: Sequence[float], candidate: Sequence[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_outcomes(reference, candidate)


# Values of the same samples: the bootstrap


def test_the_bootstrap_agrees_with_student_on_normal_differences() -> None:
    values = np.random.default_rng(1).normal(-0.01, 0.1, 400)
    result = compare_samples(values, replicates=20_000)
    exact = stats.ttest_1samp(values, 0, alternative="less")
    both = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (result.test, result.n) == ("paired bootstrap", 400)
    assert result.delta == pytest.approx(values.mean())
    assert result.p_worse == pytest.approx(exact.pvalue, abs=0.005)
    assert result.interval(0.05) == pytest.approx((both.low, both.high), abs=0.0003)


def test_the_bootstrap_agrees_with_scipys_on_many_samples() -> None:
    values = np.random.default_rng(2).exponential(1, 2000) - 1
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, batch=500, method="percentile",
        confidence_level=0.9, random_state=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    ours = compare_samples(values, replicates=5000).interval(0.05)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_few_samples_widen_the_bootstrap_as_student_does() -> None:
    values = np.random.default_rng(4).normal(0, 1, 8)
    low, high = compare_samples(values, replicates=50_000).interval(0.05)
    exact = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    # The percentile interval is too short by a quarter here.
    assert high - low == pytest.approx(exact.high - exact.low, rel=0.1)


def test_a_bootstrap_is_the_same_every_time_and_for_its_seed() -> None:
    values = np.random.default_rng(5).normal(0, 1, 50)
    assert compare_samples(values).p_worse == compare_samples(values).p_worse
    assert compare_samples(values, seed=1).p_worse != compare_samples(values, seed=2).p_worse


def test_the_bootstrap_is_right_about_equal_models_in_one_of_twenty() -> None:
    random = np.random.default_rng(6)
    alarms = [compare_samples(random.normal(0, 1, 40), 400).p_worse <= 0.05 for _ in range(1000)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (2, 0.25), (4, 0.0625), (5, 0.03125)])
def test_no_bootstrap_says_more_than_the_signs_of_its_samples_can(n: int, p: float) -> None:
    assert compare_samples([-0.1] * n).p_worse == p


def test_a_constant_drop_is_certain_and_no_difference_is_none() -> None:
    drop = compare_samples([-0.1] * 100)
    assert drop.delta == pytest.approx(-0.1)
    assert drop.p_worse < 0.001
    assert drop.p_above(-0.2) < 0.001
    same = compare_samples([0.0] * 100)
    assert (same.delta, same.interval(), same.detectable()) == (0, (0, 0), None)
    assert same.p_worse > 0.99
    assert same.p_above(0.0) > 0.99
    assert judged(same, 0) is Outcome.PASSED


def test_one_sample_proves_nothing() -> None:
    result = compare_samples([-0.5])
    assert (result.delta, result.p_above(-9), result.p_below(9)) == (-0.5, 0.5, 0.5)
    assert result.interval() == (-math.inf, math.inf)
    assert result.detectable() is None
    assert judged(result, MARGIN) is Outcome.INCONCLUSIVE


def test_a_metric_that_is_no_mean_is_compared_on_resamples() -> None:
    random = np.random.default_rng(7)
    before, after = random.normal(0, 1.0, 300), random.normal(0, 1.3, 300)
    delta = before.std() - after.std()
    deltas = np.concatenate(
        [before[i].std(axis=1) - after[i].std(axis=1) for i in resamples(300, seed=8)]
    )
    result = compare_resampled(deltas, float(delta), 300)
    assert result.p_worse < 0.01
    assert result.interval()[0] < delta < result.interval()[1]
    assert (result.n, result.question) == (300, Question.ARTIFACT)


def test_samples_on_which_two_models_differ_are_those_by_which_the_spread_is_known() -> None:
    differences = np.zeros(100)
    differences[:12], differences[12:20] = 1, -1
    left_out = [differences[picked].sum() for picked in jackknife(100)]
    assert effective_size(left_out) == pytest.approx(20, rel=0.05)
    # Counts stand for so many samples; of one that weighs most, hardly more than one tells.
    assert effective_size([-1, 1, 0], [12, 8, 80]) == pytest.approx(effective_size(left_out))
    assert effective_size([9, 0, 0, 0, 0, 0, 0, 0, 1, 0]) == pytest.approx(1.2, abs=0.1)
    assert effective_size(np.zeros(100)) is None
    assert effective_size([0.5]) is None


@pytest.mark.parametrize("n", [1, 2, 499, 1201])
def test_the_jackknife_leaves_out_each_sample_once_in_few_groups(n: int) -> None:
    left = list(jackknife(n))
    assert len(left) == min(n, LEFT_OUT)
    out = np.concatenate([np.setdiff1d(np.arange(n), kept) for kept in left])
    assert sorted(out) == list(range(n))


def test_a_bootstrap_that_few_samples_tell_of_is_wider() -> None:
    deltas = np.random.default_rng(3).normal(-0.05, 0.03, 2000)
    all_tell, few = (compare_resampled(deltas, -0.05, 100, size) for size in (None, 6.0))
    assert few.p_worse > all_tell.p_worse
    assert few.interval()[0] < all_tell.interval()[0] < all_tell.interval()[1] < few.interval()[1]
    assert (few.detectable() or 0) > (all_tell.detectable() or 1)
    # As Student's t of six: (Hesterberg, 2015) the quantile of the replicates, expanded.
    assert few.p_worse == pytest.approx(stats.t.cdf(-0.05 / 0.03 * math.sqrt(5 / 6), 5), abs=0.01)


@pytest.mark.parametrize("n", [1, 7, 1_000_000, 3_000_000])
def test_resamples_come_in_batches_and_in_the_asked_number(n: int) -> None:
    batches = list(resamples(n, replicates=5))
    assert sum(len(batch) for batch in batches) == 5
    assert all(batch.shape[1] == n and batch.max() < n for batch in batches)


def test_the_bootstraps_detectable_drop_shrinks_with_n() -> None:
    values = np.random.default_rng(9).normal(0, 1, 4000)
    drops = [compare_samples(values[:n]).detectable() or math.nan for n in (40, 400, 4000)]
    assert drops == pytest.approx([2.5 / math.sqrt(n) for n in (40, 400, 4000)], rel=0.2)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="differences has 1 non-finite"):
        compare_samples([0.1, math.inf])
    with pytest.raises(ValueError, match="delta is nan"):
        compare_resampled([0.1], math.nan, 5)


def test_equal_weights_are_no_weights() -> None:
    values = np.linspace(-0.3, 0.2, 40)
    weighted = compare_weighted(values, np.full(40, 2.0))
    assert weighted is not None
    assert weighted.replicates == pytest.approx(compare_samples(values).replicates)


def test_samples_without_weight_do_not_count() -> None:
    values, weights = np.array([0.1, -0.4, 9.0]), np.array([1.0, 3.0, 0.0])
    comparison = compare_weighted(values, weights)
    assert comparison is not None
    assert (comparison.n, comparison.delta) == (2, pytest.approx(-0.275))
    assert compare_weighted(values, np.zeros(3)) is None


# Values over seeds: Student and Welch

BEFORE, AFTER = [0.91, 0.93, 0.90, 0.92], [0.90, 0.91, 0.895, 0.915]


def test_paired_seeds_agree_with_scipy() -> None:
    result = compare_seeds(BEFORE, AFTER, paired=True)
    exact = stats.ttest_rel(AFTER, BEFORE)
    assert (result.test, result.question, result.n) == ("paired t over seeds", Question.RECIPE, 4)
    assert result.delta == pytest.approx(-0.01)
    assert result.p_worse == pytest.approx(
        stats.ttest_rel(AFTER, BEFORE, alternative="less").pvalue
    )
    assert result.interval(0.025) == pytest.approx(tuple(exact.confidence_interval(0.95)))
    shifted = np.array(AFTER) - BEFORE + 0.02
    assert result.p_above(-0.02) == pytest.approx(
        stats.ttest_1samp(shifted, 0, alternative="greater").pvalue
    )


def test_groups_of_seeds_agree_with_scipy() -> None:
    after = AFTER[:3]
    result = compare_seeds(BEFORE, after, paired=False)
    exact = stats.ttest_ind(after, BEFORE, equal_var=False)
    assert (result.test, result.n) == ("Welch's t over seeds", 3)
    assert result.p_worse == pytest.approx(
        stats.ttest_ind(after, BEFORE, equal_var=False, alternative="less").pvalue
    )
    assert result.interval(0.025) == pytest.approx(tuple(exact.confidence_interval(0.95)))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("after", "delta", "p"), [(0.3, 0.0, 0.5), (0.2, -0.1, 0.0), (0.4, 0.1, 1.0)]
)
def test_seeds_without_variance_are_exact(
    paired: bool, after: float, delta: float, p: float
) -> None:
    # 0.1 + 0.2 is not 0.3 to a computer.
    result = compare_seeds([0.1 + 0.2] * 3, [after] * 3, paired)
    assert result.delta == pytest.approx(delta)
    assert result.p_worse == p
    assert result.interval() == (result.delta, result.delta)
    assert result.detectable() is None


def test_equal_differences_have_no_variance_whatever_arithmetic_adds() -> None:
    result = compare_seeds([0.1, 0.2, 0.7], [0.2, 0.3, 0.8], paired=True)
    assert result.variances == (0.0,)
    assert judged(result, -0.1) is Outcome.PASSED
    assert judged(result, -0.11) is Outcome.FAILED


@pytest.mark.parametrize("paired", [True, False])
def test_one_seed_has_no_spread(paired: bool) -> None:
    with pytest.raises(ValueError, match="two or more a side"):
        compare_seeds([0.9, 0.91], [0.9], paired)


def test_unequal_sides_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        compare_seeds([0.9, 0.91], [0.9, 0.91, 0.92], paired=True)
    assert compare_seeds([0.9, 0.91], [0.9, 0.91, 0.92], paired=False).n == 3


@pytest.mark.parametrize("paired", [True, False])
def test_as_many_seeds_as_settle_do(paired: bool) -> None:
    result = compare_seeds(BEFORE, AFTER, paired)
    number = result.settle(0.02, power=0.8) or 0
    assert number > 2

    def power(k: int) -> float:
        settled = StudentT(result.delta, result.variances, (k,) * len(result.seeds))
        error, freedom = settled._error(settled.seeds)
        distance = (result.delta + 0.02) / error
        return float(stats.nct.sf(stats.t.isf(0.05, freedom), freedom, distance))

    assert power(number) == pytest.approx(0.8, abs=0.07)
    assert power(number - 1) < 0.8


def test_more_seeds_detect_less() -> None:
    drops = [StudentT(0.0, (1e-4, 1e-4), (k, k)).detectable() or math.nan for k in (2, 3, 5, 30)]
    assert drops == sorted(drops, reverse=True)
    assert drops[-1] == pytest.approx(2.5 * math.sqrt(2e-4 / 30), rel=0.03)


# One proportion


@pytest.mark.parametrize(
    ("successes", "n", "interval"), [(90, 100, (0.826, 0.945)), (900, 1000, (0.880, 0.917))]
)
def test_wilson_is_as_published(successes: int, n: int, interval: tuple[float, float]) -> None:
    assert wilson(successes, n) == pytest.approx(interval, abs=0.0005)


def test_wilson_knows_no_certainty() -> None:
    assert wilson(0, 10)[1] > 0.2
    assert wilson(10, 10)[0] < 0.8


# What they come to


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(
    "counts", [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4), (2, 0, 4), (0, 1, 2)]
)
def test_fewer_than_five_samples_never_settle_anything(
    counts: tuple[int, int, int], margin: float
) -> None:
    comparison = McNemar(*counts)
    settle = comparison.settle(margin)
    assert settle is None or settle >= 5
    beyond = judged(comparison, margin) is Outcome.FAILED
    proven = comparison.delta < 0 and judged(comparison, margin) is Outcome.PASSED
    assert not beyond
    assert not proven


def test_an_exact_test_needs_five_samples_on_which_the_models_differ() -> None:
    assert McNemar(4, 0, 4).settle(0.0) == 5
    assert McNemar(4, 0, 4).settle(0.0, alpha=0.01) == 7


@pytest.mark.parametrize(
    ("result", "margin", "outcome"),
    [
        # A permitted drop of a hundredth.
        (McNemar(10, 10, 500), 0.01, Outcome.PASSED),  # not worse as measured
        (McNemar(35, 10, 500), 0.01, Outcome.FAILED),  # 5 points, significant
        (McNemar(9, 3, 500), 0.01, Outcome.INCONCLUSIVE),  # 1.2 points, p = .07
        (McNemar(32, 24, 800), 0.01, Outcome.INCONCLUSIVE),  # exactly the margin
        (McNemar(60, 40, 10_000), 0.01, Outcome.PASSED),  # significant, proven within
        (McNemar(60, 40, 3000), 0.01, Outcome.INCONCLUSIVE),  # significant, within, not proven
        # None permitted: "not worse".
        (McNemar(5, 5, 100), 0.0, Outcome.PASSED),
        (McNemar(5, 0, 10_000), 0.0, Outcome.FAILED),
        (McNemar(4, 0, 10_000), 0.0, Outcome.INCONCLUSIVE),
        # An improvement demanded.
        (McNemar(10, 60, 1000), -0.01, Outcome.PASSED),
        (McNemar(10, 25, 1000), -0.01, Outcome.INCONCLUSIVE),
        (McNemar(25, 25, 1000), -0.01, Outcome.INCONCLUSIVE),
        (McNemar(40, 25, 1000), -0.01, Outcome.FAILED),
        (McNemar(2, 2, 1000), -0.01, Outcome.FAILED),
    ],
)  # fmt: skip
def test_outcomes_of_counts(result: McNemar, margin: float, outcome: Outcome) -> None:
    assert judged(result, margin) is outcome


def test_a_drop_of_exactly_the_margin_does_not_fail() -> None:
    result = compare_seeds([0.90, 0.92, 0.91], [0.89, 0.91, 0.90], paired=True)
    assert result.delta < -0.01  # by what arithmetic adds
    assert judged(result, 0.01) is Outcome.PASSED
    assert judged(result, 0.0099) is Outcome.FAILED


def test_only_the_adjusted_p_value_fails() -> None:
    result = McNemar(15, 5, 300)
    assert result.p_worse < 0.05
    assert decide(result, MARGIN, result.p_worse) is Outcome.FAILED
    assert decide(result, MARGIN, holm([result.p_worse] * 5)[0]) is Outcome.INCONCLUSIVE


@given(comparisons, st.floats(-0.5, 0.5), st.floats(0, 0.5))
def test_a_larger_margin_never_judges_worse(result: Comparison, margin: float, more: float) -> None:
    strict, lenient = judged(result, margin), judged(result, margin + more)
    assert GOODNESS.index(lenient) >= GOODNESS.index(strict)


@given(comparisons, st.floats(-0.5, 0.5), shares, shares)
def test_a_larger_p_value_never_judges_worse(
    result: Comparison, margin: float, one: float, other: float
) -> None:
    low, high = (decide(result, margin, p) for p in sorted((one, other)))
    assert GOODNESS.index(high) >= GOODNESS.index(low)


@given(comparisons, bounds, bounds)
def test_a_lower_bound_is_proven_more_easily(result: Comparison, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert result.p_above(low) <= result.p_above(high) + 1e-9
    assert result.p_below(low) >= result.p_below(high) - 1e-9


@given(comparisons, bounds)
def test_nothing_is_proven_on_both_sides(result: Comparison, bound: float) -> None:
    assert result.p_above(bound) + result.p_below(bound) >= 1 - 1e-3


@given(scores, scores, st.booleans())
def test_swapped_recipes_mirror_the_delta(
    before: list[float], after: list[float], paired: bool
) -> None:
    k = min(len(before), len(after))
    sides = (before[:k], after[:k]) if paired else (before, after)
    result, swapped = compare_seeds(*sides, paired), compare_seeds(*sides[::-1], paired)
    assert swapped.delta == pytest.approx(-result.delta, abs=1e-12)
    assert swapped.p_above(0.1) == pytest.approx(result.p_below(-0.1), abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_swapped_artifacts_mirror_the_delta(values: list[float]) -> None:
    result = compare_samples(values, replicates=200)
    swapped = compare_samples([-value for value in values], replicates=200)
    assert swapped.delta == pytest.approx(-result.delta, abs=1e-12)
    assert swapped.p_above(0.1) == pytest.approx(result.p_below(-0.1))


@given(comparisons, st.floats(-0.3, 0.3))
def test_some_number_settles_all_but_what_is_on_the_margin(
    result: Comparison, margin: float
) -> None:
    number = result.settle(margin)
    assert (number is None) <= (abs(result.delta + margin) < 1e-9)
    assert number is None or number >= 1


@pytest.mark.parametrize(
    ("result", "margin"),
    [
        (McNemar(9, 3, 500), 0.01),
        (McNemar(60, 40, 3000), 0.01),
        (McNemar(10, 25, 1000), -0.01),
        (McNemar(4, 0, 10_000), 0.0),
    ],
)
def test_the_same_shares_of_as_many_samples_as_settle_decide(
    result: McNemar, margin: float
) -> None:
    assert judged(result, margin) is Outcome.INCONCLUSIVE
    number = result.settle(margin) or 0
    assert number > result.n
    times = number / result.n
    more = McNemar(round(result.lost * times), round(result.won * times), number)
    assert judged(more, margin) is not Outcome.INCONCLUSIVE


def test_what_was_observed_on_the_margin_is_never_settled() -> None:
    assert McNemar(32, 24, 800).settle(0.01) is None
    assert compare_seeds([0.90, 0.93], [0.89, 0.92], paired=True).settle(0.01) is None
