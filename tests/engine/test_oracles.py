"""Oracles propose what a declared search promises: real keras-tuner, builds that only read values."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.engine.base_tuner import BaseTuner

import modeltune as mt
from modeltune.engine.oracles import Oracle, ReadHyperParameters, explore
from modeltune.records.tasks import Proposal
from modeltune.specs.searches import Search

LOSS = mt.minimize("loss")

Build = Callable[[Any], object]


def oracle_of(search: Search) -> Oracle:
    return Oracle(search, Path(tempfile.mkdtemp(prefix="oracle-")))


def learn_space(build: Build, oracle: Oracle) -> None:
    for hp in explore(build, oracle):
        build(hp)


class Driver:
    """Builds what an oracle proposes and tells it scores, up to ``workers`` candidates at once."""

    def __init__(self, search: Search, build: Build, *, explored: bool = True, workers: int = 1):
        self.oracle = oracle_of(search)
        self.build, self.workers = build, workers
        if explored:
            learn_space(build, self.oracle)
        self.proposals: list[Proposal] = []
        self.reports: list[tuple[str, int, frozenset[str] | None]] = []
        self.models: list[object] = []

    def drive(
        self, score: Callable[[Any, Proposal], float | None] | None = None, at_most: int = 2000
    ) -> list[object]:
        """Return the models of all candidates; a score of None fails a candidate."""
        under_way: list[Proposal] = []
        while True:
            while len(under_way) < self.workers and (proposal := self.oracle.ask()):
                assert proposal.id not in {other.id for other in self.proposals}
                under_way.append(proposal)
                self.proposals.append(proposal)
                assert len(self.proposals) <= at_most, "the oracle does not end"
            if not under_way:
                return self.models
            proposal = under_way.pop(0)
            hp = ReadHyperParameters.of(proposal.hyperparameters)
            model = self.build(hp)
            self.models.append(model)
            value = score(model, proposal) if score else float(len(self.models))
            may_continue = self.oracle.tell(proposal.id, value, hp.get_config(), frozenset(hp.read))
            self.reports.append((proposal.id, len(self.proposals), may_continue))

    @property
    def values(self) -> list[dict[str, Any]]:
        return [dict(proposal.values) for proposal in self.proposals]


def models_of(search: Search, build: Build, **options: Any) -> list[object]:
    return Driver(search, build, **options).drive()


def grid(**arguments: Any) -> mt.GridSearch:
    return mt.GridSearch(LOSS, **arguments)


def flat(hp: Any) -> tuple[object, ...]:
    """3 * 3 * 2 models."""
    return hp.Int("units", 1, 3), hp.Choice("kind", ["a", "b", "c"]), hp.Boolean("norm")


FLAT = {(u, k, n) for u in (1, 2, 3) for k in "abc" for n in (True, False)}


def scoped(hp: Any) -> tuple[object, ...]:
    """4 + 2 models; units stand in both scopes, over other values."""
    kind = hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        if kind == "a":
            return kind, hp.Int("units", 1, 2), hp.Boolean("norm")
    with hp.conditional_scope("kind", ["b"]):
        return kind, hp.Int("units", 10, 11)


SCOPED = {("a", u, n) for u in (1, 2) for n in (True, False)} | {("b", 10), ("b", 11)}


def scoped_in_full(hp: Any) -> tuple[object, ...]:
    """The models of ``scoped`` as keras-tuner's guide writes it: every scope is entered."""
    kind = hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        a = hp.Int("units", 1, 2), hp.Boolean("norm")
    with hp.conditional_scope("kind", ["b"]):
        b = (hp.Int("units", 10, 11),)
    return kind, *(a if kind == "a" else b)


def parented(hp: Any) -> tuple[object, ...]:
    kind = hp.Choice("kind", ["a", "b"])
    parent: dict[str, Any] = {"parent_name": "kind", "parent_values": ["a"]}
    a = hp.Int("a", 1, 2, **parent), hp.Boolean("norm", **parent)
    b = hp.Int("b", 10, 11, parent_name="kind", parent_values=["b"])
    return kind, *(a if kind == "a" else (b,))


def plain_if(hp: Any) -> tuple[object, ...]:
    kind = hp.Choice("kind", ["a", "b"])
    if kind == "a":
        return kind, hp.Int("units_a", 1, 2), hp.Boolean("norm")
    return kind, hp.Int("units_b", 10, 11)


def nested_ifs(hp: Any) -> tuple[object, ...]:
    """Layer by layer, as most authors write it: 1 + 2 + 4 + 8 models."""
    layers = hp.Int("layers", 0, 3)
    return tuple(hp.Choice(f"units_{layer}", [8, 16]) for layer in range(layers))


NESTED = {units for layers in range(4) for units in itertools.product((8, 16), repeat=layers)}


def other_order(hp: Any) -> tuple[object, ...]:
    """The branches read q and r in another order: 4 + 3 models."""
    if hp.Boolean("first", default=True):
        return True, hp.Int("q", 0, 1), hp.Int("r", 0, 1)
    r = hp.Int("r", 0, 1)
    return (False, r, hp.Int("q", 0, 1)) if r == 0 else (False, r)


OTHER_ORDER = {(True, q, r) for q in (0, 1) for r in (0, 1)} | {
    (False, 0, 0),
    (False, 0, 1),
    (False, 1),
}

SPACES: dict[str, tuple[Build, set[Any]]] = {
    "flat": (flat, FLAT),
    "conditional_scope": (scoped, SCOPED),
    "all scopes entered": (scoped_in_full, SCOPED),
    "parent_name": (parented, SCOPED),
    "plain if": (plain_if, SCOPED),
    "nested ifs": (nested_ifs, NESTED),
    "branches in another order": (other_order, OTHER_ORDER),
    "one model": (lambda hp: (hp.Fixed("rate", 0.1),), {(0.1,)}),
    "no hyperparameters": (lambda hp: (), {()}),
}
spaces = pytest.mark.parametrize(("build", "models"), SPACES.values(), ids=SPACES)
exhausting = pytest.mark.parametrize(
    "search",
    [
        grid(),
        mt.RandomSearch(LOSS, max_trials=1000),
        mt.BayesianOptimization(LOSS, max_trials=1000, num_initial_points=1000),
    ],
    ids=lambda search: search.label,
)


# Coverage


@exhausting
@spaces
def test_a_finite_space_is_covered_exactly_once(
    search: Search, build: Build, models: set[Any]
) -> None:
    assert Counter(models_of(search, build)) == Counter(models)


@exhausting
@spaces
def test_a_space_only_met_during_the_search_is_covered_exactly_once(
    search: Search, build: Build, models: set[Any]
) -> None:
    assert Counter(models_of(search, build, explored=False)) == Counter(models)


@exhausting
@pytest.mark.parametrize("build", [flat, scoped, scoped_in_full, parented])
def test_many_workers_cover_a_declared_space_exactly_once(search: Search, build: Build) -> None:
    driver = Driver(search, build, workers=4)
    assert Counter(driver.drive()) == Counter(FLAT if build is flat else SCOPED)


@exhausting
@spaces
def test_many_workers_reach_every_model_of_any_space(
    search: Search, build: Build, models: set[Any]
) -> None:
    assert set(models_of(search, build, workers=3, explored=False)) == models


@exhausting
def test_the_models_that_drawing_misses_are_gone_through_in_order(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeltune.engine.oracles.MAX_COLLISIONS", 0)
    assert Counter(models_of(search, flat)) == Counter(FLAT)


def test_a_gaussian_process_proposes_no_model_twice_and_ends_when_all_are_tried() -> None:
    def build(hp: Any) -> object:
        return hp.Int("x", 1, 5), hp.Boolean("y")

    search = mt.BayesianOptimization(LOSS, max_trials=50, num_initial_points=3)
    models = Driver(search, build).drive(lambda model, _: abs(model[0] - 3.0))
    assert Counter(models) == Counter((x, y) for x in range(1, 6) for y in (True, False))


def test_a_gaussian_process_needs_a_dimension() -> None:
    search = mt.BayesianOptimization(LOSS, max_trials=9, num_initial_points=1)
    assert models_of(search, lambda hp: hp.Fixed("rate", 0.5)) == [0.5]


# A tree: None, a leaf; or a name, whether its branches are conditional scopes, and a tree by value.
trees: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.tuples(
            st.sampled_from("pqrs"),
            st.booleans(),
            st.lists(trees, min_size=1, max_size=3),
        )
    )
)


def without_repeats(tree: Any, path: tuple[str, ...] = ()) -> Any:
    """Return a tree in which a name has one list of values and stands once on each path."""
    if tree is None:
        return None
    name, scoped, children = tree
    name = f"{name}{len(children)}"
    if name in path:
        return without_repeats(children[0], path)
    return name, scoped, [without_repeats(child, (*path, name)) for child in children]


def build_tree(tree: Any) -> Build:
    """Return a build that walks the tree, by plain ifs or within conditional scopes."""

    def build(hp: Any, node: Any = tree) -> tuple[Any, ...]:
        if node is None:
            return ()
        name, is_scoped, children = node
        value = hp.Choice(name, list(range(len(children))))
        if not is_scoped:
            return (name, value, *build(hp, children[value]))
        for index, child in enumerate(children):
            with hp.conditional_scope(name, [index]):
                if index == value:
                    path = build(hp, child)
        return (name, value, *path)

    return build


def models_in(tree: Any) -> list[tuple[Any, ...]]:
    if tree is None:
        return [()]
    name, _, children = tree
    return [
        (name, value, *rest) for value, child in enumerate(children) for rest in models_in(child)
    ]


small_trees = trees.map(without_repeats).filter(lambda tree: len(models_in(tree)) <= 40)


@settings(max_examples=60)
@given(tree=small_trees, explored=st.booleans())
def test_law_a_grid_builds_all_models_of_a_tree_of_conditions_once(
    tree: Any, explored: bool
) -> None:
    assert Counter(models_of(grid(), build_tree(tree), explored=explored)) == Counter(
        models_in(tree)
    )


@settings(max_examples=25)
@given(tree=small_trees, seed=st.integers(0, 2**32 - 2))
def test_law_random_search_builds_all_models_of_a_tree_of_conditions_once(
    tree: Any, seed: int
) -> None:
    search = mt.RandomSearch(LOSS, max_trials=100, seed=seed)
    assert Counter(models_of(search, build_tree(tree))) == Counter(models_in(tree))


@settings(max_examples=25)
@given(tree=small_trees, workers=st.integers(2, 5), explored=st.booleans())
def test_law_a_grid_reaches_every_model_with_any_number_of_workers(
    tree: Any, workers: int, explored: bool
) -> None:
    models = models_of(grid(), build_tree(tree), workers=workers, explored=explored)
    assert set(models) == set(models_in(tree))


# The grid


def test_a_grid_starts_with_the_defaults_and_counts_up_the_last_value_first() -> None:
    def build(hp: Any) -> object:
        return hp.Int("x", 1, 3, default=2), hp.Choice("y", ["a", "b"])

    models = models_of(grid(), build)
    assert models == [(2, "a"), (2, "b"), (1, "a"), (1, "b"), (3, "a"), (3, "b")]


def test_max_trials_ends_a_grid() -> None:
    assert len(models_of(grid(max_trials=5), flat)) == 5


def test_a_float_without_a_step_stands_for_ten_values_in_order_and_its_default() -> None:
    models = models_of(grid(), lambda hp: hp.Float("rate", 0.0, 1.0))
    assert models == pytest.approx([0.0, *(i / 10 + 0.05 for i in range(10))])


def test_a_default_off_by_rounding_is_no_value_of_its_own() -> None:
    models = models_of(grid(), lambda hp: hp.Float("rate", 0.1, 0.5, step=0.1, default=0.3))
    assert models == pytest.approx([0.3, 0.1, 0.2, 0.4, 0.5])


def test_powers_of_an_integer_step_are_integers() -> None:
    models = models_of(grid(), lambda hp: hp.Int("units", 2, 32, step=2, sampling="log"))
    assert models == [2, 4, 8, 16, 32]
    assert all(type(model) is int for model in models)


def test_a_value_listed_twice_is_tried_once() -> None:
    assert models_of(grid(), lambda hp: hp.Choice("x", ["a", "b", "b", "c"])) == ["a", "b", "c"]


def test_a_failed_candidate_is_not_proposed_again() -> None:
    models = Driver(grid(), flat).drive(lambda model, _: None if model[2] else 1.0)
    assert Counter(models) == Counter(FLAT)


def test_a_candidate_whose_reads_are_lost_counts_as_tried_with_all_its_values() -> None:
    driver = Driver(grid(), plain_if)
    proposed = []
    while proposal := driver.oracle.ask():
        proposed.append(proposal.values)
        driver.oracle.tell(proposal.id, None, proposal.hyperparameters, frozenset(), "killed")
        assert len(proposed) <= 100
    assert len(proposed) == 2 * 2 * 2  # that kind "b" reads neither of the others is not known


def test_unread_names_do_not_multiply_a_grid() -> None:
    """Twenty names before the one that is read: 2**21 combinations, two models."""
    space = keras_tuner.HyperParameters()
    for number in range(20):
        space.Boolean(f"unread_{number}")
    search = grid(hyperparameters=space)
    assert models_of(search, lambda hp: hp.Boolean("late")) == [False, True]


# Seeds


def values_of(search: Search, build: Build = flat) -> list[dict[str, Any]]:
    driver = Driver(search, build)
    driver.drive()
    return driver.values


@pytest.mark.parametrize("kind", [mt.RandomSearch, mt.BayesianOptimization])
def test_zero_is_a_seed(kind: Any) -> None:
    first, second, other = (
        values_of(kind(LOSS, max_trials=6, seed=seed), lambda hp: (hp.Float("x", 0, 1),))
        for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("seeds", [(1, 2), (0, 2**32 - 2), (7, 8)])
def test_other_seeds_give_other_hyperbands(seeds: tuple[int, int]) -> None:
    first, second = (values_of(mt.Hyperband(LOSS, max_epochs=4, seed=seed)) for seed in seeds)
    assert first != second


@given(seed=st.integers(1, 2**32 - 2))
@settings(max_examples=10)
def test_law_without_conditions_random_search_proposes_what_keras_tuner_does(seed: int) -> None:
    ours = values_of(mt.RandomSearch(LOSS, max_trials=18, seed=seed))
    space = keras_tuner.HyperParameters()
    flat(space)
    stock = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("loss", "min"),
        max_trials=18,
        seed=seed,
        hyperparameters=space,
    )
    BaseTuner(stock, directory=tempfile.mkdtemp(), project_name="stock")
    stock.verbose = 0
    theirs: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while (trial := stock.create_trial(f"slot-{len(theirs)}")).status == "RUNNING":
            theirs.append(trial.hyperparameters.values)
    assert len(theirs) >= 5
    assert ours[: len(theirs)] == theirs
    assert len(ours) == 18  # where keras-tuner may give up before


# Hyperband


def hyperband(max_epochs: int, **arguments: Any) -> mt.Hyperband:
    return mt.Hyperband(LOSS, max_epochs=max_epochs, **arguments)


def wide(hp: Any) -> object:
    return hp.Float("x", 0.0, 1.0)


def eight(hp: Any) -> object:
    return hp.Int("x", 1, 8)


def trained_epochs(proposals: list[Proposal]) -> int:
    return sum((p.epochs or 0) - p.initial_epoch for p in proposals)


HYPERBANDS = [(1, 1, 1), (10, 30, 120), (27, 70, 375)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "build", [wide, eight, lambda hp: 1.0], ids=["wide", "eight values", "none"]
)
@pytest.mark.parametrize(("max_epochs", "trials", "epochs"), HYPERBANDS)
def test_hyperband_keeps_its_schedule(
    max_epochs: int, trials: int, epochs: int, build: Build, workers: int
) -> None:
    search = hyperband(max_epochs)
    driver = Driver(search, build, workers=workers)
    driver.drive()
    assert (len(driver.proposals), trained_epochs(driver.proposals)) == (trials, epochs)
    rungs = Counter((p.initial_epoch, p.epochs) for p in driver.proposals)
    planned: Counter[Any] = Counter()
    for rung in search.schedule:
        planned[rung.initial_epoch, rung.epochs] += rung.trials
    assert rungs == planned


def rungs_of(driver: Driver) -> dict[tuple[int, int], list[Proposal]]:
    """Proposals by (bracket, round), with one worker in the order of the schedule."""
    assert isinstance(driver.oracle._search, mt.Hyperband)
    rungs, taken = {}, 0
    for rung in driver.oracle._search.schedule:
        rungs[rung.bracket, rung.round] = driver.proposals[taken : taken + rung.trials]
        taken += rung.trials
    return rungs


@pytest.mark.parametrize("objective", [mt.minimize("loss"), mt.maximize("accuracy")])
def test_promotions_continue_the_best_of_the_rung_before(objective: Any) -> None:
    driver = Driver(mt.Hyperband(objective, max_epochs=10), wide)
    driver.drive(lambda model, _: model)
    for (bracket, round_), proposals in rungs_of(driver).items():
        if round_ == 0:
            assert all(p.parent is None and p.initial_epoch == 0 for p in proposals)
            continue
        before = rungs_of(driver)[bracket, round_ - 1]
        best = sorted(
            before, key=lambda p: p.values["x"], reverse=objective == mt.maximize("accuracy")
        )
        assert {p.parent for p in proposals} == {p.id for p in best[: len(proposals)]}
        for proposal in proposals:
            (parent,) = (p for p in before if p.id == proposal.parent)
            assert proposal.values == parent.values
            assert proposal.initial_epoch == parent.epochs


def test_failures_take_no_promotions_from_others_and_are_never_continued() -> None:
    driver = Driver(hyperband(10), wide)
    failed: set[str] = set()

    def score(model: Any, proposal: Proposal) -> float | None:
        assert proposal.parent not in failed
        if proposal.parent is None and model < 0.5:
            failed.add(proposal.id)
            return None
        return float(model)

    driver.drive(score)
    assert len(failed) > 5
    assert (len(driver.proposals), trained_epochs(driver.proposals)) == (30, 120)


def test_a_hyperband_of_failures_ends_without_promotions() -> None:
    driver = Driver(hyperband(10), wide)
    driver.drive(lambda model, _: None)
    assert all(proposal.parent is None for proposal in driver.proposals)
    assert len(driver.proposals) == sum(r.trials for r in hyperband(10).schedule if r.round == 0)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_failure(score: float) -> None:
    driver = Driver(mt.Hyperband(mt.maximize("accuracy"), max_epochs=4), wide)
    driver.drive(lambda model, _: score)
    assert all(proposal.parent is None for proposal in driver.proposals)


def test_iterations_repeat_the_schedule() -> None:
    driver = Driver(hyperband(4, hyperband_iterations=2), eight)
    driver.drive()
    once = hyperband(4)
    assert once.planned_trials
    assert len(driver.proposals) == 2 * once.planned_trials


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("objective", [mt.minimize("loss"), mt.maximize("accuracy")])
def test_what_may_still_be_continued_is_all_that_is_and_no_more_than_rungs_have_places(
    objective: Any, workers: int
) -> None:
    driver = Driver(mt.Hyperband(objective, max_epochs=27), wide, workers=workers)
    driver.drive(lambda model, proposal: None if model < 0.1 else model)
    order = {proposal.id: number for number, proposal in enumerate(driver.proposals)}
    children = {p.parent: order[p.id] for p in driver.proposals if p.parent}
    ended: list[str] = []
    most = 0
    for trial, asked, may_continue in driver.reports:
        assert may_continue is not None
        ended.append(trial)
        needed = {id for id in ended if children.get(id, -1) >= asked}
        assert needed <= may_continue
        most = max(most, len(may_continue))
    # In the widest bracket 27 wait for 9 places; those under way come on top, with their parents.
    assert most <= 9 + 2 * workers
    assert driver.reports[-1][2] == frozenset()


@pytest.mark.parametrize("search", [grid(), mt.RandomSearch(LOSS), mt.BayesianOptimization(LOSS)])
def test_other_searches_continue_nothing(search: Search) -> None:
    driver = Driver(search, flat)
    driver.drive()
    assert {may_continue for _, _, may_continue in driver.reports} == {None}


# Learning the space


def test_hyperparameters_read_only_in_fit_are_learned() -> None:
    """A HyperModel's fit reads hp after the candidate was asked for."""
    oracle = oracle_of(grid())
    learn_space(lambda hp: hp.Boolean("build"), oracle)
    fitted = []
    while proposal := oracle.ask():
        hp = ReadHyperParameters.of(proposal.hyperparameters)
        fitted.append((hp.Boolean("build"), hp.Choice("fit", [1, 2])))
        oracle.tell(proposal.id, 1.0, hp.get_config(), frozenset(hp.read))
        assert len(fitted) <= 10
    assert Counter(fitted) == Counter((b, f) for b in (True, False) for f in (1, 2))
    assert [entry.name for entry in oracle.space.space] == ["build", "fit"]


def test_exploring_builds_each_scope_once() -> None:
    built = []

    def build(hp: Any) -> None:
        built.append(scoped_in_full(hp))

    learn_space(build, oracle := oracle_of(grid()))
    assert built == [("a", 1, False), ("b", 10)]
    assert [entry.name for entry in oracle.space.space] == ["kind", "units", "norm", "units"]


def test_exploring_leaves_out_scopes_no_candidate_can_reach() -> None:
    built = []

    def build(hp: Any) -> None:
        built.append(kind := hp.Choice("kind", ["a", "b"]))
        with hp.conditional_scope("kind", ["z", "b"]):
            if kind == "b":
                hp.Int("b", 1, 2)
        with hp.conditional_scope("kind", ["z"]):
            if kind == "z":
                raise AssertionError

    learn_space(build, oracle_of(grid()))
    assert built == ["a", "b"]


def test_declared_hyperparameters_of_a_hypermodel_are_learned() -> None:
    class Declaring(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp: Any) -> None:
            hp.Int("late", 1, 2)

        def build(self, hp: Any) -> object:
            return hp.get("late")

    model = Declaring()
    oracle = oracle_of(grid())
    for hp in explore(model, oracle):
        model.build(hp)
    assert [entry.name for entry in oracle.space.space] == ["late"]


def test_reads_through_get_and_brackets_and_copies_count() -> None:
    hp = ReadHyperParameters()
    hp.Int("a", 1, 2)
    hp.Int("b", 1, 2)
    hp.Int("c", 1, 2)
    again = ReadHyperParameters.of(hp)
    assert not again.read
    assert (again.get("a"), again["b"], again.copy().get("c")) == (1, 1, 1)
    assert again.read == {"a", "b", "c"}


def test_a_configuration_reads_like_the_hyperparameters_it_is_of() -> None:
    hp = ReadHyperParameters()
    scoped(hp)
    hp.values["units"] = 2
    again = ReadHyperParameters.of(json.loads(json.dumps(hp.get_config())))
    assert scoped(again) == ("a", 2, False)
    assert again.get_config() == hp.get_config()
    assert again.read == {"kind", "units", "norm"}


def test_names_in_name_scopes_are_read_in_full() -> None:
    hp = ReadHyperParameters()
    with hp.name_scope("left"):
        hp.Int("units", 1, 2)
        assert hp.get("units") == 1
    assert hp.read == {"left/units"}


def test_an_inactive_name_is_not_read() -> None:
    hp = ReadHyperParameters()
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["b"]):
        assert hp.Int("units", 1, 2) is None
    assert hp.read == {"kind"}


# Given hyperparameters


def given_units() -> Any:
    hp = keras_tuner.HyperParameters()
    hp.Choice("units", [4, 5])
    return hp


def two_names(hp: Any) -> object:
    return hp.Int("units", 1, 100), hp.Choice("rate", [0.1, 0.2])


def test_given_hyperparameters_override_those_of_the_build() -> None:
    models = models_of(grid(hyperparameters=given_units()), two_names)
    assert Counter(models) == Counter((u, r) for u in (4, 5) for r in (0.1, 0.2))


@exhausting
def test_new_entries_that_are_not_tuned_keep_their_default(search: Search) -> None:
    search = dataclasses.replace(search, hyperparameters=given_units(), tune_new_entries=False)
    assert Counter(models_of(search, two_names)) == Counter([(4, 0.1), (5, 0.1)])


def test_a_new_entry_that_is_not_allowed_is_named() -> None:
    search = grid(hyperparameters=given_units(), allow_new_entries=False)
    with pytest.raises(
        mt.SearchError, match=r"allow_new_entries is False.* asks for rate; declare"
    ):
        models_of(search, two_names)


def test_a_new_entry_met_late_that_is_not_allowed_is_named() -> None:
    search = grid(hyperparameters=given_units(), allow_new_entries=False)
    with pytest.raises(
        mt.SearchError, match=r"allow_new_entries is False.* asks for rate; declare"
    ):
        models_of(search, two_names, explored=False)


def test_a_closed_space_is_searched_when_the_build_keeps_to_it() -> None:
    search = grid(hyperparameters=given_units(), allow_new_entries=False)
    assert models_of(search, lambda hp: hp.Int("units", 1, 100)) == [4, 5]


@exhausting
@pytest.mark.parametrize("kinds", [["a", "b"], ["b", "a"]], ids=["a first", "b first"])
def test_a_scope_depends_on_its_parent_also_when_the_build_never_reads_that(
    search: Search, kinds: list[str]
) -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("kind", kinds)

    def build(hp: Any) -> object:
        with hp.conditional_scope("kind", ["a"]):
            return hp.Int("units", 1, 2)

    search = dataclasses.replace(search, hyperparameters=space)
    assert Counter(models_of(search, build)) == Counter([1, 2, None])


def test_the_given_hyperparameters_stay_as_they_were() -> None:
    hp = given_units()
    models_of(grid(hyperparameters=hp), two_names)
    assert [entry.name for entry in hp.space] == ["units"]


# Proposals


def test_nothing_is_proposed_while_a_grid_waits_and_after_it_ended() -> None:
    oracle = oracle_of(grid())
    learn_space(lambda hp: hp.Boolean("x"), oracle)
    first, second = oracle.ask(), oracle.ask()
    assert first
    assert second
    assert oracle.ask() is None
    for proposal in (first, second):
        oracle.tell(proposal.id, 1.0, proposal.hyperparameters, frozenset({"x"}))
    assert oracle.ask() is None


def test_proposed_values_are_the_users_own() -> None:
    driver = Driver(hyperband(4), wide)
    driver.drive()
    assert {name for values in driver.values for name in values} == {"x"}


def test_keras_tuners_warnings_are_not_the_users(recwarn: pytest.WarningsRecorder) -> None:
    search = mt.BayesianOptimization(LOSS, max_trials=5, num_initial_points=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver = Driver(search, lambda hp: hp.Float("x", 0, 1))
        driver.drive(lambda model, _: 0.0)
    assert len(driver.proposals) == 5
    assert not recwarn.list


def test_oracles_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Driver(hyperband(4), wide).drive(lambda model, _: None)
    models_of(grid(), flat)
    assert capfd.readouterr() == ("", "")


# ranges of floats


@pytest.mark.parametrize(
    ("low", "high", "step", "count"),
    [
        (0, 0.5, 0.1, 6),
        (0, 0.3, 0.1, 4),
        (0.1, 0.7, 0.2, 4),
        (-0.3, 0.3, 0.1, 7),
        (-0.3, 0, 0.1, 4),
        (0, 1, 0.3, 4),
    ],
)
def test_a_stepped_float_is_tried_up_to_its_upper_end(
    low: float, high: float, step: float, count: int
) -> None:
    def build(hp: Any) -> float:
        rate: float = hp.Float("rate", low, high, step=step)
        return rate

    for search in (grid(), mt.RandomSearch(LOSS, max_trials=99, seed=1)):
        tried: list[float] = sorted(models_of(search, build))  # type: ignore[arg-type]
        assert tried == pytest.approx([low + step * number for number in range(count)])
        assert tried[-1] <= high
        assert (tried[-1] == high) is (high != 1)


def test_an_entry_of_a_range_has_the_probability_that_gives_it_back() -> None:
    (entry,) = ReadHyperParameters.of(_declared(0.0, 0.5, 0.1)).space
    assert [entry.prob_to_value(entry.value_to_prob(value)) for value in entry.values] == [
        *entry.values
    ]


def _declared(low: float, high: float, step: float) -> Any:
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", low, high, step=step)
    return hp


def test_reading_a_configuration_leaves_it_plain_data() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["a"])
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("units", 1, 3)
        hp.Float("rate", 0, 0.5, step=0.1)
    config = hp.get_config()
    before = json.dumps(config)
    assert ReadHyperParameters.of(config).values == hp.values
    assert json.dumps(config) == before
