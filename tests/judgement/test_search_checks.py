"""What the refits say of a search, and where in its ranges the winner lies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modeltune.judgement.search_checks import (
    _noise,
    check_bounds,
    check_refit,
    check_seeds,
    check_space,
)
from modeltune.records.plain_data import plain
from modeltune.records.runs import Scores
from modeltune.records.verdicts import Outcome
from modeltune.specs.objectives import Direction


def test_refits_below_the_search_by_more_than_noise_are_warned_of() -> None:
    check = check_refit(0.99, [0.90, 0.91, 0.905], Direction.MAX)
    assert check.outcome is Outcome.WARNED
    assert check.measured == pytest.approx(0.085)
    assert check.reason == (
        "the search scored 0.99, 3 refits 0.905 on average: 0.085 worse, more than the noise of "
        "0.04021; the search's score is optimistic: trust the refits, or search with more "
        "validation rows"
    )


def test_refits_within_noise_pass_and_say_the_optimism() -> None:
    check = check_refit(0.93, [0.90, 0.91, 0.92], Direction.MAX)
    assert (check.outcome, check.measured) == (Outcome.PASSED, pytest.approx(0.02))
    assert "within the noise" in check.reason


def test_a_loss_is_worse_when_it_is_larger() -> None:
    assert check_refit(0.19, [0.2, 0.21, 0.2], Direction.MIN).outcome is Outcome.PASSED
    assert check_refit(0.1, [0.5, 0.502, 0.501], Direction.MIN).outcome is Outcome.WARNED
    assert check_refit(0.5, [0.1, 0.102, 0.101], Direction.MIN).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("score", "values", "direction"),
    [
        (0.95, [0.3, 0.6, 0.9], Direction.MAX),
        (0.95, [0.3, 0.4], Direction.MAX),
        (0.05, [0.1, 0.2], Direction.MIN),
    ],
)
def test_noise_as_large_as_the_metric_tells_nothing(
    score: float, values: list[float], direction: Direction
) -> None:
    check = check_refit(score, values, direction)
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "these refits tell nothing" in check.reason
    assert "even a perfect score would be within that noise" in check.reason


def test_little_noise_next_to_a_perfect_score_tells_enough() -> None:
    assert check_refit(0.995, [0.98, 0.985, 0.99], Direction.MAX).outcome is Outcome.PASSED


def test_one_refit_of_an_accuracy_has_the_noise_of_its_rows() -> None:
    assert check_refit(0.93, [0.9], Direction.MAX, rows=100).outcome is Outcome.PASSED
    assert check_refit(0.93, [0.9], Direction.MAX, rows=10_000).outcome is Outcome.WARNED


def test_one_refit_of_a_loss_does_not_tell_its_noise() -> None:
    check = check_refit(0.1, [0.2], Direction.MIN)
    assert (check.outcome, check.measured) == (Outcome.INCONCLUSIVE, pytest.approx(0.1))


def test_refits_that_agree_by_luck_leave_one_row_of_noise() -> None:
    assert check_refit(0.91, [0.9, 0.9, 0.9], Direction.MAX, rows=100).outcome is Outcome.PASSED
    assert check_refit(0.95, [0.9, 0.9, 0.9], Direction.MAX, rows=100).outcome is Outcome.WARNED


@pytest.mark.parametrize(("score", "values"), [(0.9, []), (math.nan, [0.9]), (0.9, [math.inf])])
def test_what_cannot_be_compared_is_an_error(score: float, values: list[float]) -> None:
    assert check_refit(score, values, Direction.MAX).outcome is Outcome.ERROR


@given(
    st.floats(-10, 10), st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(0, 10)
)  # fmt: skip
def test_a_better_search_score_never_turns_a_warning_into_a_pass(
    score: float, values: list[float], more: float
) -> None:
    one, other = (check_refit(s, values, Direction.MAX) for s in (score, score + more))
    assert Outcome.FAILED not in (one.outcome, other.outcome)
    if one.outcome is Outcome.WARNED:
        assert other.outcome is Outcome.WARNED
    mirrored = check_refit(-score, [-value for value in values], Direction.MIN)
    # A loss cannot be below 0; a score to be maximized may be.
    assert (mirrored.outcome is Outcome.WARNED) is (one.outcome is Outcome.WARNED)


def test_the_best_of_twenty_equal_candidates_is_seldom_warned_of() -> None:
    rng = np.random.default_rng(0)
    for seeds, most in ((2, 0.1), (3, 0.1), (5, 0.1)):
        warned = [
            check_refit(rng.normal(size=20).max(), rng.normal(size=seeds).tolist(), Direction.MAX)
            .outcome is Outcome.WARNED
            for _ in range(2000)
        ]  # fmt: skip
        assert np.mean(warned) < most, seeds


def test_the_noise_is_a_prediction_interval() -> None:
    values = [0.3, 0.5, 0.4, 0.6]
    expected = stats.t.ppf(0.99, 3) * np.std(values, ddof=1) * math.sqrt(1 + 1 / 4)
    assert _noise(0.45, values, None) == pytest.approx(expected, rel=1e-3)


# the bounds


def space(declare: Callable[[Any], object]) -> Any:
    hp = keras_tuner.HyperParameters()
    declare(hp)
    return hp.get_config()


WARNED: list[tuple[Callable[[Any], object], Any, str]] = [
    (lambda hp: hp.Int("n", 32, 256, step=32), 256, "n = 256 is the highest of 32 to 256"),
    (lambda hp: hp.Int("n", 32, 256, step=32), 32, "n = 32 is the lowest of 32 to 256"),
    (lambda hp: hp.Int("n", 0, 10, step=3), 9, "n = 9 is the highest of 0 to 9"),
    (lambda hp: hp.Int("n", 2, 100, step=2, sampling="log"), 64, "n = 64 is the highest of 2 to 64"),
    (lambda hp: hp.Float("n", 0, 2), 1.995, "n = 1.995 is the highest of 0 to 2"),
    (lambda hp: hp.Float("n", 0.1, 1), 0.995, "n = 0.995 is the highest of 0.1 to 1"),
    (lambda hp: hp.Float("n", 0, 0.7, step=0.2), 0.6, "n = 0.6 is the highest of 0 to 0.6"),
    (lambda hp: hp.Int("n", -3, 0), 0, "n = 0 is the highest of -3 to 0"),
    (lambda hp: hp.Float("n", 1e-4, 1e-1, sampling="log"), 1.01e-4, "n = 0.000101 is the lowest of 0.0001 to 0.1"),
    (lambda hp: hp.Float("n", 1, 1000, sampling="reverse_log"), 999.99, "n = 999.99 is the highest of 1 to 1000"),
    (lambda hp: hp.Float("n", 1, 100, step=3, sampling="reverse_log"), 20, "n = 20 is the lowest of 20 to 100"),
    (lambda hp: hp.Choice("n", [1, 2, 4, 8]), 8, "n = 8 is the highest of 1 to 8"),
    (lambda hp: hp.Choice("n", [0.1, 0.3, 0.2, 0.5]), 0.1, "n = 0.1 is the lowest of 0.1 to 0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("declare", "value", "reason"), WARNED, ids=[case[2] for case in WARNED])
def test_a_winner_at_a_bound_is_named(declare: Any, value: Any, reason: str) -> None:
    check = check_bounds({"n": value}, space(declare))
    assert check.outcome is Outcome.WARNED
    assert check.reason.startswith(f"{reason}. A better value may lie beyond")
    json.dumps(plain(check.details))


PASSED: list[tuple[Callable[[Any], object], Any]] = [
    (lambda hp: hp.Int("n", 32, 256, step=32), 224),
    (lambda hp: hp.Float("n", 0, 1), 0.98),
    (lambda hp: hp.Float("n", 1e-4, 1e-1, sampling="log"), 1.1e-4),
    (lambda hp: hp.Float("n", 1, 1000, sampling="reverse_log"), 930),
    (lambda hp: hp.Choice("n", [1, 2, 4, 8]), 2),
    (lambda hp: hp.Choice("n", [1, 2]), 2),
    (lambda hp: hp.Choice("n", [1, 2, 4]), 4),
    (lambda hp: hp.Choice("n", [1, 2, 4, 8], ordered=False), 8),
    (lambda hp: hp.Choice("n", ["a", "b", "c"]), "c"),
    (lambda hp: hp.Boolean("n"), True),
    (lambda hp: hp.Fixed("n", 3), 3),
    (lambda hp: hp.Int("n", 3, 3), 3),
    (lambda hp: hp.Int("n", 0, 1), 1),
    (lambda hp: hp.Int("n", 1, 3), 3),
    (lambda hp: hp.Int("n", 16, 64, step=16), 40),
    (lambda hp: hp.Int("n", 32, 96, step=32), 96),
    (lambda hp: hp.Float("n", 0.1, 0.3, step=0.1), 0.1),
    (lambda hp: hp.Float("n", 0, 0.5), 0.0),
    (lambda hp: hp.Int("n", 0, 9), 0),
    (lambda hp: hp.Choice("n", [0.0, 0.1, 0.2, 0.3]), 0.0),
    (lambda hp: hp.Float("n", 0, 1), 0.995),
    (lambda hp: hp.Int("n", 1, 2, sampling="log"), 2),
    (lambda hp: hp.Float("n", 2, 2), 2.0),
    (lambda hp: hp.Int("other", 0, 9), 0),
]


@pytest.mark.parametrize(("declare", "value"), PASSED, ids=map(str, range(len(PASSED))))
def test_a_winner_inside_or_without_a_range_passes(declare: Any, value: Any) -> None:
    assert check_bounds({"n": value}, space(declare)).outcome is Outcome.PASSED


def test_only_the_range_that_is_active_counts() -> None:
    def declare(hp: Any) -> None:
        hp.Choice("kind", ["small", "large", "none"])
        with hp.conditional_scope("kind", ["small"]):
            hp.Int("n", 1, 10)
        with hp.conditional_scope("kind", ["large"]):
            hp.Int("n", 10, 100)

    at = space(declare)
    assert check_bounds({"kind": "small", "n": 10}, at).reason.startswith("n = 10 is the highest")
    assert check_bounds({"kind": "large", "n": 10}, at).reason.startswith("n = 10 is the lowest")
    assert check_bounds({"kind": "large", "n": 20}, at).outcome is Outcome.PASSED
    assert check_bounds({"kind": "none", "n": 1}, at).outcome is Outcome.PASSED


def test_all_bounds_are_named_and_how_many_trials_were_there() -> None:
    at = space(lambda hp: (hp.Int("a", 1, 9), hp.Int("b", 1, 9)))
    trials = [{"a": 9, "b": 1}, {"a": 9, "b": 3}, {"a": 2, "b": 2}]
    check = check_bounds({"a": 9, "b": 1}, at, trials)
    assert check.measured == 2
    assert "a = 9 is the highest of 1 to 9 (2 of 3 trials there)" in check.reason
    assert "b = 1 is the lowest of 1 to 9 (1 of 3 trials there)" in check.reason


# what keras-tuner accepts without a word


def odd(hp: Any) -> None:
    hp.Int("units", 4, 8, default=64)
    hp.Float("rate", 0.1, 0.5, default=0.0)
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("size", 1, 3)
    with hp.conditional_scope("kind", ["b"]):
        hp.Float("size", 1, 3)


def test_defaults_out_of_range_and_names_of_two_kinds_are_warned_of() -> None:
    check = check_space(space(odd))
    assert check is not None
    assert (check.gate, check.outcome, check.measured) == ("search.space", Outcome.WARNED, 3)
    assert check.reason == (
        "the default 64 of units is outside 4 to 8; the default 0 of rate is outside 0.1 to 0.5; "
        "size is declared as Float and Int; give each a name of its own"
    )


def test_a_sound_space_is_not_spoken_of() -> None:
    assert check_space(space(lambda hp: hp.Int("units", 4, 8, default=8))) is None


# refits that are all the same one


def scores(**values: tuple[float, ...]) -> dict[str, Scores]:
    return {name: Scores(one) for name, one in values.items()}


SEEDS = ((0, None), (1, None), (2, None))
FOLDS = ((0, 0), (0, 1), (1, 0), (1, 1))


def test_refits_that_are_equal_to_the_last_bit_are_told_to_have_no_spread() -> None:
    check = check_seeds(SEEDS, scores(accuracy=(0.9,) * 3, loss=(0.3,) * 3, parameters=(5.0,) * 3))
    assert check is not None
    assert (check.gate, check.outcome) == ("search.seeds", Outcome.WARNED)
    assert check.reason.startswith(
        "3 refits under the seeds 0, 1, 2 have the same scores to the last bit: the seeds change "
        "nothing, so a spread of 0 is no spread"
    )


@pytest.mark.parametrize(
    ("refits", "measured"),
    [
        (SEEDS, {"accuracy": (0.9,) * 3, "loss": (0.3, 0.3, math.nextafter(0.3, 1))}),
        (SEEDS, {"parameters": (5.0,) * 3}),
        (SEEDS, {}),
        (SEEDS[:1], {"accuracy": (0.9,)}),
        (((0, 0), (0, 1)), {"accuracy": (0.9, 0.9)}),  # folds of one seed
        (FOLDS, {"loss": (0.1, 0.2, 0.1, 0.3)}),
    ],
)
def test_refits_that_differ_in_one_bit_or_are_of_one_seed_are_not_told(
    refits: Any, measured: dict[str, tuple[float, ...]]
) -> None:
    assert check_seeds(refits, scores(**measured)) is None


def test_each_fold_is_compared_with_itself() -> None:
    check = check_seeds(FOLDS, scores(loss=(0.1, 0.2, 0.1, 0.2)))
    assert check is not None
    assert "4 refits under the seeds 0, 1" in check.reason
