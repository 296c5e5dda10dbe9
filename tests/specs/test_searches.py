"""Searches are declarations: they print as typed, know their schedule and name what is wrong."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.specs.searches import Rung, Search

BEST = mt.maximize("val_accuracy")
KINDS = [mt.RandomSearch, mt.GridSearch, mt.BayesianOptimization, mt.Hyperband]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("max_epochs", "factor", "trials", "epochs"),
    [
        (1, 3, 1, 1),
        (10, 3, 30, 120),
        (27, 3, 70, 375),
        (81, 3, 211, 1767),
        (100, 3, 254, 2672),
        (100, 4, 161, 1940),
    ],
)
def test_hyperband_knows_its_cost(max_epochs: int, factor: int, trials: int, epochs: int) -> None:
    search = mt.Hyperband(BEST, max_epochs=max_epochs, factor=factor)
    assert (search.planned_trials, search.planned_epochs) == (trials, epochs)


def test_the_schedule_lists_brackets_from_the_widest_on() -> None:
    assert mt.Hyperband(BEST, max_epochs=10).schedule == (
        Rung(bracket=2, round=0, trials=12, initial_epoch=0, epochs=2),
        Rung(bracket=2, round=1, trials=4, initial_epoch=2, epochs=4),
        Rung(bracket=2, round=2, trials=2, initial_epoch=4, epochs=10),
        Rung(bracket=1, round=0, trials=6, initial_epoch=0, epochs=4),
        Rung(bracket=1, round=1, trials=2, initial_epoch=4, epochs=10),
        Rung(bracket=0, round=0, trials=4, initial_epoch=0, epochs=10),
    )


def test_iterations_multiply_the_schedule() -> None:
    once, twice = (mt.Hyperband(BEST, max_epochs=10, hyperband_iterations=n) for n in (1, 2))
    assert twice.schedule == 2 * once.schedule
    assert twice.planned_epochs == 2 * once.planned_epochs


@given(max_epochs=st.integers(1, 2000), factor=st.integers(2, 9))
def test_law_the_schedule_is_keras_tuners(max_epochs: int, factor: int) -> None:
    import keras_tuner

    oracle = keras_tuner.oracles.HyperbandOracle(
        keras_tuner.Objective("val_accuracy", "max"), max_epochs=max_epochs, factor=factor
    )
    schedule = mt.Hyperband(BEST, max_epochs=max_epochs, factor=factor).schedule
    assert [(r.bracket, r.round, r.trials, r.epochs) for r in schedule] == [
        (bracket, round_, oracle._get_size(bracket, round_), oracle._get_epochs(bracket, round_))
        for bracket in reversed(range(oracle._get_num_brackets()))
        for round_ in range(oracle._get_num_rounds(bracket))
    ]
    for rung, following in itertools.pairwise(schedule):
        assert following.initial_epoch == (rung.epochs if following.round else 0)
        assert following.initial_epoch < following.epochs


@pytest.mark.parametrize(
    ("search", "planned"),
    [
        (mt.RandomSearch(BEST, max_trials=7), 7),
        (mt.BayesianOptimization(BEST, max_trials=7), 7),
        (mt.GridSearch(BEST), None),
        (mt.GridSearch(BEST, max_trials=7), 7),
    ],
)
def test_planned_trials(search: Search, planned: int | None) -> None:
    assert search.planned_trials == planned


@pytest.mark.parametrize(
    "typed",
    [
        'mt.RandomSearch(mt.maximize("val_accuracy"))',
        'mt.RandomSearch(mt.minimize("val_loss"), seed=7, max_trials=3)',
        'mt.GridSearch(mt.maximize("val_accuracy"), max_minutes=1.5, max_trials=3)',
        'mt.BayesianOptimization(mt.maximize("a \\"b\\""), alpha=0.1, beta=1.0)',
        'mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=10, factor=4)',
        'mt.GridSearch(mt.minimize("val_loss"), trial_minutes=2, trial_gigabytes=0.5, window=8, '
        "deterministic=False)",
    ],
)
def test_a_search_prints_as_typed(typed: str) -> None:
    assert repr(eval(typed)) == typed


def test_given_hyperparameters_print_without_an_address() -> None:
    import keras_tuner

    def search() -> mt.GridSearch:
        hp = keras_tuner.HyperParameters()
        hp.Fixed("rate", 0.1)
        return mt.GridSearch(BEST, hyperparameters=hp)

    assert repr(search()) == repr(search())
    assert '"rate"' in repr(search())


@kinds
def test_a_search_is_frozen(kind: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        kind(BEST).seed = 1


@kinds
def test_a_search_with_its_defaults_is_sound(kind: Any) -> None:
    assert list(kind(BEST).problems()) == []


@kinds
@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("objective", "accuracy", '"accuracy" has no direction; write mt.maximize("accuracy") or'),
        ("objective", None, "None is not an objective; write mt.maximize(name)"),
        ("objective", mt.maximize(""), "'' is not a metric name"),
        ("objective", mt.maximize(3), "3 is not a metric name"),  # type: ignore[arg-type]
        ("seed", -1, "write an integer from 0 to 2**32 - 2"),
        ("seed", 2**32 - 1, "write an integer from 0"),
        ("seed", True, "write an integer from 0"),
        ("seed", None, "write an integer from 0"),
        ("max_minutes", 0, "positive number of minutes"),
        ("max_minutes", math.nan, "positive number of minutes"),
        ("max_minutes", math.inf, "positive number of minutes"),
        ("max_minutes", "5", "positive number of minutes"),
        ("trial_minutes", 0, "write a positive number of minutes, or None"),
        ("trial_minutes", True, "write a positive number of minutes, or None"),
        ("trial_gigabytes", -1, "write a positive number of gigabytes, or None"),
        ("trial_gigabytes", math.inf, "write a positive number of gigabytes, or None"),
        ("window", 0, "0: write 1 or more"),
        ("window", 2.0, "2.0: write 1 or more"),
        ("window", None, "None: write 1 or more"),
        ("deterministic", 1, "1: write True or False"),
        ("deterministic", None, "None: write True or False"),
        ("max_retries_per_trial", -1, "write 0 or more"),
        ("max_retries_per_trial", True, "write 0 or more"),
        ("max_consecutive_failed_trials", 0, "write 1 or more, or None"),
        ("hyperparameters", {"units": 3}, "write a keras_tuner.HyperParameters"),
        ("tune_new_entries", False, "pass hyperparameters as well"),
        ("allow_new_entries", False, "pass hyperparameters as well"),
    ],
)
def test_a_wrong_field_of_any_search_is_named(
    kind: Any, field: str, value: object, advice: str
) -> None:
    ((named, text),) = kind(**{"objective": BEST, field: value}).problems()
    assert named == field
    assert advice in text


@pytest.mark.parametrize(
    ("search", "field"),
    [
        (mt.RandomSearch(BEST, max_trials=0), "max_trials"),
        (mt.RandomSearch(BEST, max_trials=True), "max_trials"),
        (mt.RandomSearch(BEST, max_trials=None), "max_trials"),  # type: ignore[arg-type]
        (mt.GridSearch(BEST, max_trials=0), "max_trials"),
        (mt.GridSearch(BEST, max_trials=2.0), "max_trials"),  # type: ignore[arg-type]
        (mt.BayesianOptimization(BEST, max_trials=-3), "max_trials"),
        (mt.BayesianOptimization(BEST, num_initial_points=0), "num_initial_points"),
        (mt.BayesianOptimization(BEST, alpha=0.0), "alpha"),
        (mt.BayesianOptimization(BEST, alpha=math.nan), "alpha"),
        (mt.BayesianOptimization(BEST, beta=-1.0), "beta"),
        (mt.BayesianOptimization(BEST, beta=math.inf), "beta"),
        (mt.Hyperband(BEST, max_epochs=0), "max_epochs"),
        (mt.Hyperband(BEST, max_epochs=1.5), "max_epochs"),  # type: ignore[arg-type]
        (mt.Hyperband(BEST, factor=1), "factor"),
        (mt.Hyperband(BEST, factor=2.5), "factor"),  # type: ignore[arg-type]
        (mt.Hyperband(BEST, hyperband_iterations=0), "hyperband_iterations"),
    ],
    ids=repr,
)
def test_a_wrong_field_of_one_search_is_named(search: Search, field: str) -> None:
    ((named, text),) = search.problems()
    assert named == field
    assert "write" in text


def test_all_wrong_fields_are_named_together() -> None:
    search = mt.Hyperband("acc", seed=-1, max_epochs=0, factor=0)  # type: ignore[arg-type]
    assert [name for name, _ in search.problems()] == ["objective", "seed", "max_epochs", "factor"]


@pytest.mark.parametrize(
    ("objective", "score", "than", "better"),
    [
        (mt.maximize("m"), 1.0, 0.0, True),
        (mt.maximize("m"), 0.0, 0.0, False),
        (mt.minimize("m"), 0.0, 1.0, True),
        (mt.minimize("m"), 1.0, 0.0, False),
        (mt.maximize("m"), math.nan, 0.0, False),
        (mt.minimize("m"), math.nan, 0.0, False),
    ],
)
def test_the_direction_decides_what_is_better(
    objective: Any, score: float, than: float, better: bool
) -> None:
    assert objective.better(score, than) is better


@pytest.mark.parametrize("objective", [mt.maximize("val_auc"), mt.minimize("val_auc")])
def test_every_score_beats_the_worst(objective: Any) -> None:
    assert objective.better(0.0, objective.worst)
    assert objective.test_metric == "auc"
