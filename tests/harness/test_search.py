"""A search asks, trains and tells until it ends; what fails is recorded and never the best."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.fit.trial import train_trial
from modeltune.engine.oracles import Oracle, ReadHyperParameters
from modeltune.ground.deadlines import Deadline
from modeltune.ground.errors import NoTrialError, SearchError
from modeltune.harness.executors.inline import Inline
from modeltune.harness.search import (
    LONGEST_TRACEBACK,
    SearchProgress,
    Tuner,
    _seconds_left,
    best_trial,
    search,
)
from modeltune.records.events import Event, Note, SearchStarted, TrialFinished
from modeltune.records.runs import Trial, TrialStatus
from modeltune.records.tasks import (
    Caution,
    Failure,
    HyperParameters,
    Proposal,
    TrialResult,
    TrialTask,
)
from modeltune.specs.searches import Search
from modeltune.specs.spec_type import Spec
from tests.support.small_models import dense, digits, softmax, spec_of

FAILED = Failure(
    "ValueError: no", "Traceback (most recent call last):\n  spec.py\nValueError: no\n"
)


class Prepared:
    """An executor that trains nothing: it answers each task with a prepared curve or failure.

    Of the tasks under way, ``slots`` at most, it finishes the newest first, or that at the
    next of ``picks``.
    """

    def __init__(
        self,
        answer: Callable[[TrialTask, Any], Mapping[str, Any] | Failure],
        slots: int = 1,
        picks: Sequence[int] = (),
        build: Callable[[Any], object] = lambda hp: hp.Int("width", 1, 1000),
    ):
        self.slots, self._answer, self._picks, self._build = slots, answer, deque(picks), build
        self.tasks: list[TrialTask] = []
        self.finished: list[int] = []
        self.most_under_way = 0
        self.held_to_budget_after: int | None = None
        self._queue: deque[TrialTask] = deque()
        self._under_way: list[TrialTask] = []

    def submit(self, task: TrialTask) -> None:
        self.tasks.append(task)
        self._queue.append(task)
        self._begin()

    def wait(self) -> tuple[TrialTask, TrialResult]:
        self._begin()
        self._picks.rotate(-1)
        pick = self._picks[-1] % len(self._under_way) if self._picks else -1
        task = self._under_way.pop(pick)
        self.finished.append(task.id)
        hp = ReadHyperParameters.of(task.hyperparameters)
        self._build(hp)
        answer = self._answer(task, hp)
        failure = answer if isinstance(answer, Failure) else None
        logged = {} if isinstance(answer, Failure) else answer
        curve = {name: tuple(values) for name, values in logged.items()}
        path = "not trained" if failure else "graph"
        return task, TrialResult(curve, path, 20.0, hp.get_config(), frozenset(hp.read), failure)

    def withdraw(self) -> list[TrialTask]:
        withdrawn = list(self._queue)
        self._queue.clear()
        return withdrawn

    def hold_trials_to_budget(self) -> None:
        if self.held_to_budget_after is None:
            self.held_to_budget_after = len(self.finished)

    def _begin(self) -> None:
        while self._queue and len(self._under_way) < self.slots:
            self._under_way.append(self._queue.popleft())
        self.most_under_way = max(self.most_under_way, len(self._under_way))


class Witness(Oracle):
    """An oracle that remembers what it was asked and told."""

    def __init__(self, declared: Search, folder: Path):
        super().__init__(declared, folder)
        self.proposals: list[Proposal] = []
        self.log: list[tuple[Any, ...]] = []
        self.most_open = 0
        self.may_continue: frozenset[str] | None = None
        self._told = 0

    def ask(self) -> Proposal | None:
        proposal = super().ask()
        self.log.append(("ask", proposal and (proposal.id, proposal.values, proposal.parent)))
        if proposal is not None:
            self.proposals.append(proposal)
            self.most_open = max(self.most_open, len(self.proposals) - self._told)
        return proposal

    def tell(
        self,
        proposal: str,
        score: float | None,
        hyperparameters: HyperParameters,
        read: frozenset[str] = frozenset(),
        reason: str | None = None,
    ) -> frozenset[str] | None:
        self._told += 1
        self.log.append(("tell", proposal, score, sorted(read), reason))
        self.may_continue = super().tell(proposal, score, hyperparameters, read, reason)
        return self.may_continue

    @property
    def report_order(self) -> list[int]:
        """The numbers of the proposals that were told, in that order."""
        numbers = {proposal.id: n for n, proposal in enumerate(self.proposals, start=1)}
        return [numbers[entry[1]] for entry in self.log if entry[0] == "tell"]


def scored(*values: float) -> Mapping[str, Any]:
    return {"val_accuracy": values}


def ran(
    folder: Path,
    answer: Any,
    slots: int = 1,
    *,
    deadline: Deadline = Deadline(),
    validation: Any = mt.Holdout(seeds=1),
    progress: SearchProgress | None = None,
    **arguments: Any,
) -> tuple[SearchProgress, list[Event], Prepared]:
    arguments = {"max_trials": 4} | arguments
    declared = mt.RandomSearch(mt.maximize("val_accuracy"), **arguments)
    spec = spec_of(search=declared, validation=validation)
    progress, events, executor = (
        progress or SearchProgress(),
        list[Event](),
        Prepared(answer, slots),
    )
    oracle = Oracle(spec.search, folder)
    known = ReadHyperParameters.of(oracle.space)
    known.Int("width", 1, 1000)
    oracle.learn(known)
    try:
        search(spec, Tuner(oracle, executor, folder), events.append, progress, deadline)
    finally:
        events.append(Note("end"))
    return progress, events, executor


def test_what_several_trials_say_the_user_should_know_is_said_once(tmp_path: Path) -> None:
    class Noting(Prepared):
        def wait(self) -> tuple[TrialTask, TrialResult]:
            task, result = super().wait()
            return task, replace(result, note="made again" if task.id > 1 else None)

    spec = spec_of(search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=4))
    oracle, events = Oracle(spec.search, tmp_path), list[Event]()
    executor = Noting(lambda task, hp: scored(0.5))
    search(spec, Tuner(oracle, executor, tmp_path), events.append, SearchProgress())
    assert [event for event in events if isinstance(event, Note)] == [Note("made again")]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=60), "3 of 60"),
        (mt.BayesianOptimization(mt.maximize("val_accuracy"), max_trials=4), "3 of 4"),
        (mt.GridSearch(mt.maximize("val_accuracy"), max_trials=5), "3 of 5"),
        (mt.GridSearch(mt.maximize("val_accuracy")), None),
        (mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=3), None),
        (mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=4), None),
        # It trains nothing in the place of what failed before a promotion.
        (
            mt.Hyperband(
                mt.maximize("val_accuracy"), max_epochs=4, max_consecutive_failed_trials=99
            ),
            None,
        ),
        (mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=9, max_minutes=1e-9), None),
        (
            mt.RandomSearch(
                mt.maximize("val_accuracy"), max_trials=9, max_consecutive_failed_trials=3
            ),
            None,
        ),
    ],
    ids=[
        "random",
        "bayesian",
        "grid",
        "whole grid",
        "no more asked",
        "hyperband",
        "hyperband of failures",
        "late",
        "failed",
    ],
)
def test_a_search_that_has_tried_all_of_its_space_says_so(
    declared: Search, said: str | None, tmp_path: Path
) -> None:
    spec, progress = spec_of(search=declared), SearchProgress()
    oracle = Oracle(spec.search, tmp_path)
    known = ReadHyperParameters.of(oracle.space)
    known.Int("width", 1, 3)
    oracle.learn(known)
    failing = declared.max_consecutive_failed_trials is not None
    answer = Failure("no") if failing else scored(0.5, 0.5, 0.5, 0.5)
    executor = Prepared(lambda task, hp: answer, build=lambda hp: hp.Int("width", 1, 3))
    with contextlib.suppress(mt.SearchError):
        search(spec, Tuner(oracle, executor, tmp_path), lambda event: None, progress)
    exhausted = (Caution("search.exhausted", f"{said} trials: the space has no more"),)
    assert progress.all_cautions == (exhausted if said else ())


# the real thing


def searched(spec: Spec, folder: Path) -> list[Trial]:
    data, progress = load_data(spec), SearchProgress()
    oracle = Oracle(spec.search, folder)
    dry_run(spec, data, oracle)
    executor: Inline[Any, Any] = Inline(
        lambda task: train_trial(spec, data.train, data.validation, task)
    )
    search(spec, Tuner(oracle, executor, folder), lambda event: None, progress)
    return progress.trials


def numbers(trials: list[Trial]) -> list[Any]:
    """Return all but how long trials took, and by which of the equal paths."""
    return [{**vars(trial), "seconds": None, "trained_by": None} for trial in trials]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    def build(hp: Any) -> Any:
        hp.Float("noise", 0, 1)
        return softmax(hp)

    spec = spec_of(build, search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3))
    return searched(spec, tmp_path_factory.mktemp("hyperband"))


def test_hyperband_trains_its_schedule(promoted: list[Trial]) -> None:
    declared = mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3)
    assert len(promoted) == declared.planned_trials
    assert sum(trial.epochs for trial in promoted) == declared.planned_epochs


def test_a_promotion_keeps_its_parents_values_and_seed(promoted: list[Trial]) -> None:
    children = [trial for trial in promoted if trial.parent is not None]
    assert children
    for child in children:
        (parent,) = (trial for trial in promoted if trial.id == child.parent)
        assert (child.values, child.seed) == (parent.values, parent.seed)
        assert child.initial_epoch == parent.initial_epoch + parent.epochs
        assert child.best_epoch is not None
        assert child.best_epoch > child.initial_epoch


def test_the_same_spec_searches_the_same_trials_whatever_test_holds(tmp_path: Path) -> None:
    data = digits()
    absurd = mt.Data(data.train, data.validation, (data.test[0] * 1e30, data.test[1] * 0))  # type: ignore[index]
    first, again, poisoned = (
        numbers(searched(spec_of(data=dataset), tmp_path / name))
        for name, dataset in (("a", data), ("b", data), ("c", absurd))
    )
    assert first == again == poisoned


def test_a_trial_that_raises_or_explodes_is_not_the_best(tmp_path: Path) -> None:
    def moody(hp: Any) -> Any:
        mood = hp.Choice("mood", ["well", "raises", "explodes", "forgets"])
        if mood == "raises":
            raise RuntimeError("as announced")
        if mood == "explodes":
            return dense(layers.Dense(10), layers.Rescaling(float("inf")))
        metrics = [] if mood == "forgets" else ["accuracy"]
        return dense(layers.Dense(10, activation="softmax"), metrics=metrics)

    spec = spec_of(moody, search=mt.GridSearch(mt.maximize("val_accuracy")))
    trials = searched(spec, tmp_path)
    reasons = {trial.values["mood"]: trial.reason for trial in trials}
    forgotten = reasons.pop("forgets")
    assert reasons == {
        "well": None,
        "raises": "RuntimeError: as announced",
        "explodes": "loss is nan at epoch 1",
    }
    assert forgotten is not None
    assert "names no logged metric; logged: loss, val_loss" in forgotten
    best = best_trial(spec, trials)
    assert best is not None
    assert best.values == {"mood": "well"}


# scores


def test_the_score_is_the_objective_at_its_best_epoch(tmp_path: Path) -> None:
    progress, *_ = ran(tmp_path, lambda task, hp: scored(0.2, 0.9, 0.9, 0.4), max_trials=1)
    assert [(t.score, t.best_epoch, t.epochs) for t in progress.trials] == [(0.9, 2, 4)]


def test_of_equal_scores_the_earliest_is_the_best(tmp_path: Path) -> None:
    progress, events, _ = ran(tmp_path, lambda task, hp: scored([0.1, 0.7, 0.7, 0.3][task.id - 1]))
    best = best_trial(spec_of(), progress.trials)
    assert best is not None
    assert best.id == 2
    best_ids = [
        event.best.id for event in events if isinstance(event, TrialFinished) and event.best
    ]
    assert best_ids == [1, 2, 2, 2]


def test_a_smaller_score_is_better_where_the_objective_says_so() -> None:
    spec = spec_of(search=mt.RandomSearch(mt.minimize("val_loss")))
    trials = [
        Trial(n, TrialStatus.COMPLETED, {}, score, None, 1, 0, None, 1, 0, 0, {}, "graph")
        for n, score in enumerate((0.5, 0.25, math.nan, 0.75))
    ]
    best = best_trial(spec, trials)
    assert best is not None
    assert best.id == 1
    assert best_trial(spec, []) is None


def test_values_of_a_trial_are_those_its_build_read(tmp_path: Path) -> None:
    progress, *_ = ran(tmp_path, lambda task, hp: scored(0.5), max_trials=1)
    assert list(progress.trials[0].values) == ["width"]


# seeds


def test_a_seed_follows_from_values_not_from_order_or_slots(tmp_path: Path) -> None:
    def seeds(name: str, slots: int, **arguments: Any) -> dict[Any, int]:
        progress, _, executor = ran(
            tmp_path / name, lambda task, hp: scored(0.5), slots=slots, **arguments
        )
        assert executor.most_under_way == slots
        assert (executor.finished == sorted(executor.finished)) == (slots == 1)
        return {trial.values["width"]: trial.seed for trial in progress.trials}

    one, three, other = seeds("a", 1), seeds("b", 3), seeds("c", 1, seed=9)
    assert one == three
    assert len(set(one.values())) == 4
    assert set(one.values()).isdisjoint(other.values())


# several at once


OBJECTIVE = mt.maximize("val_accuracy")
SEARCHES: dict[str, Search] = {
    "random": mt.RandomSearch(OBJECTIVE, max_trials=12, seed=3),
    "grid": mt.GridSearch(OBJECTIVE, max_trials=12),
    "bayesian": mt.BayesianOptimization(OBJECTIVE, max_trials=8, num_initial_points=4, seed=3),
    "hyperband": mt.Hyperband(OBJECTIVE, max_epochs=9, seed=3),
}
kinds = pytest.mark.parametrize("kind", SEARCHES)


def branching(hp: Any) -> None:
    """Wide layers have something the others never read, and the search first meets it there."""
    if hp.Int("width", 1, 9) > 5:
        hp.Choice("extra", [1, 2, 3])


def by_values(task: TrialTask, hp: Any) -> Mapping[str, Any] | Failure:
    """Score by values and epochs; every fifth seed fails."""
    if task.keep_state is not None:
        task.keep_state.parent.mkdir(exist_ok=True)
        task.keep_state.touch()
    if task.continue_from is not None:
        assert task.continue_from.exists(), f"trial {task.id} finds no state of its parent"
    if task.seed % 5 == 0:
        return Failure("bad luck")
    return scored(hp.values["width"] * 0.01 + hp.values.get("extra", 0) * 0.02 + task.epochs)


def at_once(
    declared: Search, slots: int, picks: Sequence[int] = (), answer: Any = by_values
) -> tuple[SearchProgress, Witness, Prepared]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        oracle, progress = Witness(declared, folder), SearchProgress()
        executor = Prepared(answer, slots, picks, branching)
        search(
            spec_of(search=declared), Tuner(oracle, executor, folder), lambda event: None, progress
        )
        assert executor.withdraw() == []
    return progress, oracle, executor


def retried(kind: str, retries: int) -> Search:
    return replace(SEARCHES[kind], max_retries_per_trial=retries)


@cache
def one_by_one(kind: str, retries: int) -> tuple[list[Trial], list[Any]]:
    progress, oracle, executor = at_once(retried(kind, retries), 1)
    assert len(executor.finished) >= 8
    return progress.trials, oracle.log


@kinds
@settings(max_examples=10)
@given(
    slots=st.integers(1, 5),
    picks=st.lists(st.integers(0, 4), max_size=30),
    retries=st.integers(0, 1),
)
@example(slots=2, picks=[], retries=1)
@example(slots=3, picks=[2, 0, 1], retries=0)
def test_law_slots_and_the_order_of_finishing_change_neither_proposals_nor_trials(
    kind: str, slots: int, picks: list[int], retries: int
) -> None:
    trials, log = one_by_one(kind, retries)
    progress, oracle, executor = at_once(retried(kind, retries), slots, picks)
    # Ids, values, seeds, scores, parents: what was asked and told, and in which order.
    assert oracle.log == log
    assert progress.trials == trials
    assert executor.most_under_way == min(slots, 4)


@kinds
def test_what_slots_do_not_change_others_do(kind: str) -> None:
    """The law above compares something: failures, retries and promotions are part of it."""
    plain, again = one_by_one(kind, 0)[0], one_by_one(kind, 1)[0]
    assert any(trial.status is TrialStatus.FAILED for trial in plain)
    assert [trial.seed for trial in plain] != [trial.seed for trial in again]
    assert any(trial.parent for trial in plain) == (kind == "hyperband")
    assert any("extra" in trial.values for trial in plain)


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("window", [1, 2, 6])
def test_a_window_limits_how_many_proposals_are_open(window: int, slots: int) -> None:
    declared = replace(SEARCHES["random"], window=window)
    _, oracle, executor = at_once(declared, slots)
    assert oracle.most_open == window
    assert executor.most_under_way == min(window, slots)


def test_proposals_are_told_in_their_order_unless_that_is_free() -> None:
    _, ordered, executor = at_once(SEARCHES["random"], 3)
    assert executor.finished != ordered.report_order == sorted(ordered.report_order)
    free = replace(SEARCHES["random"], deterministic=False, window=2)
    progress, oracle, executor = at_once(free, 3)
    assert sorted(executor.finished) != oracle.report_order == executor.finished
    # As many as there are slots, and a new one as soon as any has finished.
    assert oracle.most_open == executor.most_under_way == 3
    assert [trial.id for trial in progress.trials] == sorted(executor.finished)


@pytest.mark.parametrize(("slots", "picks"), [(1, []), (3, []), (4, [2, 0, 1, 0, 3])])
def test_states_are_kept_as_long_as_a_trial_may_continue_from_them(
    slots: int, picks: list[int], tmp_path: Path
) -> None:
    declared = mt.Hyperband(OBJECTIVE, max_epochs=27, seed=1)
    on_disk: list[int] = []

    class Looking(Witness):
        def ask(self) -> Proposal | None:
            # Before a tell's states are dropped nothing is asked.
            numbers = {proposal.id: n for n, proposal in enumerate(self.proposals, start=1)}
            may_continue = {numbers[id] for id in self.may_continue or ()}
            under_way = [p for p in self.proposals if numbers[p.id] not in self.report_order]
            open_ones = {numbers[p.id] for p in under_way}
            parents = {numbers[p.parent] for p in under_way if p.parent}
            states = {int(path.stem) for path in tmp_path.glob("states/*.npz")}
            assert states <= may_continue | open_ones | parents
            on_disk.append(len(states))
            return super().ask()

    progress, executor = SearchProgress(), Prepared(by_values, slots, picks, branching)
    spec, oracle = spec_of(search=declared), Looking(declared, tmp_path)
    # Every promotion finds its parent's state: by_values looks.
    search(spec, Tuner(oracle, executor, tmp_path), lambda event: None, progress)
    assert len(progress.trials) > 60
    assert sum(trial.parent is not None for trial in progress.trials) > 15
    # Nine of the first rung's 27 may go on, at most four are open, with a parent each.
    assert 9 <= max(on_disk) <= 9 + 2 * 4


# failures


@pytest.mark.parametrize("slots", [1, 3])
def test_a_search_of_failures_shows_the_first_traceback(tmp_path: Path, slots: int) -> None:
    with pytest.raises(mt.SearchError) as raised:
        ran(tmp_path, lambda task, hp: FAILED if task.id == 1 else Failure("later"), slots)
    assert str(raised.value) == (
        "tests/support/small_models.py::softmax: none of 4 trials completed; the first failed with "
        f"ValueError: no\n{FAILED.traceback}"
    )


def test_a_failed_trial_keeps_its_traceback(tmp_path: Path) -> None:
    progress, *_ = ran(tmp_path, lambda task, hp: FAILED if task.id == 2 else scored(0.5))
    tracebacks = {trial.id: trial.traceback for trial in progress.trials}
    assert tracebacks.pop(2) == FAILED.traceback
    assert set(tracebacks.values()) == {None}


def test_of_a_long_traceback_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    long = Failure("no", "".join(f"line {n}\n" for n in range(10_000)))
    progress, *_ = ran(tmp_path, lambda task, hp: long if task.id == 1 else scored(0.5))
    kept = progress.trials[0].traceback
    assert kept is not None
    assert kept.startswith("line 0\nline 1\n")
    assert kept.endswith("line 9998\nline 9999\n")
    assert "\n... (82890 characters left out) ...\n" in kept
    assert len(kept) < LONGEST_TRACEBACK + 50


def test_a_search_without_a_trial_is_an_error(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Oracle, "ask", lambda oracle: None)
    with pytest.raises(mt.SearchError, match="the search proposed no trial"):
        ran(tmp_path, lambda task, hp: FAILED)


def test_what_was_found_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    def interrupted(task: TrialTask, hp: Any) -> Mapping[str, Any]:
        if task.id == 3:
            raise KeyboardInterrupt
        return scored(0.5)

    progress = SearchProgress()
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, interrupted, max_trials=5, progress=progress)
    assert [trial.id for trial in progress.trials] == [1, 2]


def test_a_failed_trial_is_trained_again_under_another_seed(tmp_path: Path) -> None:
    attempts: list[tuple[int, int]] = []

    def second_time(task: TrialTask, hp: Any) -> Any:
        attempts.append((task.id, task.seed))
        tries = sum(number == task.id for number, _ in attempts)
        return scored(0.5) if tries == 2 else FAILED

    progress, events, _ = ran(tmp_path, second_time, max_trials=2, max_retries_per_trial=1)
    assert [trial.status for trial in progress.trials] == [TrialStatus.COMPLETED] * 2
    assert len(set(attempts)) == len(attempts) == 4
    seeds = [seed for number, seed in attempts if number == 1]
    assert progress.trials[0].seed == seeds[1]
    assert Note("trial 1 failed (ValueError: no); trained again") in events


def test_trials_are_held_to_the_budget_once_one_has_a_score(tmp_path: Path) -> None:
    answers = {1: FAILED, 2: {"loss": (0.5,)}, 3: scored(0.5), 4: scored(0.6)}
    _, _, executor = ran(tmp_path, lambda task, hp: answers[task.id])
    assert executor.finished == [1, 2, 3, 4]
    assert executor.held_to_budget_after == 3


def test_a_trial_that_ran_out_of_the_budget_is_not_trained_again(tmp_path: Path) -> None:
    late = Failure("too late", is_final=False)
    attempts: list[int] = []

    def second_is_late(task: TrialTask, hp: Any) -> Any:
        attempts.append(task.id)
        return late if task.id == 2 else scored(0.5)

    progress, _, _ = ran(tmp_path, second_is_late, max_trials=2, max_retries_per_trial=2)
    assert attempts == [1, 2]
    assert [trial.status for trial in progress.trials] == [
        TrialStatus.COMPLETED,
        TrialStatus.FAILED,
    ]


def test_retries_end(tmp_path: Path) -> None:
    with pytest.raises(mt.SearchError, match="none of 2 trials completed"):
        ran(tmp_path, lambda task, hp: FAILED, max_trials=2, max_retries_per_trial=3)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("window", [1, 4])
def test_failures_in_a_row_end_the_search_when_asked_to(
    tmp_path: Path, window: int, slots: int
) -> None:
    fates = {1: scored(0.5), 3: scored(0.6)}
    progress, events, _ = ran(
        tmp_path,
        lambda task, hp: fates.get(task.id, FAILED),
        slots,
        max_trials=99,
        max_consecutive_failed_trials=2,
        window=window,
    )
    # What was proposed before the second failure in a row was told is trained to its end.
    assert [t.status.value for t in progress.trials] == [
        "completed", "failed", "completed", "failed", "failed", *["failed"] * (window - 1),
    ]  # fmt: skip
    note = f"search stopped after {4 + window} trials: 2 trials in a row failed"
    assert Note(note) in events
    assert progress.cut_short == "2 trials in a row failed"


class Clock:
    """A clock that only trials move on, each by 20 seconds of its slot."""

    def __init__(self, slots: int = 1):
        self.now, self._slots = 1000.0, slots

    def __call__(self, _: int) -> float:
        return self.now

    def trains(self, task: TrialTask, hp: Any) -> Mapping[str, Any]:
        self.now += 20 / self._slots
        return scored(0.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "clock_gettime", clock)
    return clock


@pytest.mark.parametrize("window", [1, 4])
def test_the_search_ends_when_its_minutes_are_over(
    tmp_path: Path, clock: Clock, window: int
) -> None:
    progress, events, _ = ran(tmp_path, clock.trains, max_trials=9, max_minutes=0.75, window=window)
    assert len(progress.trials) == 3
    assert Note("search stopped after 3 trials: max_minutes=0.75 are over") in events
    assert progress.cut_short == "max_minutes=0.75 are over"


def test_a_search_that_ends_by_itself_is_not_cut_short(tmp_path: Path, clock: Clock) -> None:
    progress, *_ = ran(
        tmp_path, clock.trains, deadline=Deadline.after(1e6, "277h"), max_minutes=1e4
    )
    assert len(progress.trials) == 4
    assert progress.cut_short is None


@pytest.mark.parametrize(
    ("validation", "slots", "trials"),
    [
        # 20 s for a trial, 20 s for each round of refits of as many epochs; 100 s in all.
        (mt.Holdout(seeds=1), 1, 3),
        (mt.Holdout(seeds=3), 1, 1),
        (mt.KFold(k=3), 1, 1),
        (mt.Holdout(seeds=1, epochs=2), 1, 2),
        # Three at once: nine in the first minute, two more under way then.
        (mt.Holdout(seeds=3), 3, 9 + 2),
    ],
)
def test_a_deadline_leaves_time_for_the_validation(
    tmp_path: Path, clock: Clock, validation: Any, slots: int, trials: int
) -> None:
    clock._slots = slots
    deadline = Deadline.after(100, "100s")
    progress, events, executor = ran(
        tmp_path, clock.trains, slots, max_trials=50, deadline=deadline, validation=validation
    )
    reason = "the budget of 100s leaves time for validation only"
    assert len(progress.trials) == len(executor.finished) == trials
    assert progress.cut_short == reason
    assert Note(f"search stopped after {trials} trials: {reason}") in events


def test_a_deadline_that_is_over_still_waits_for_a_trial_that_completes(tmp_path: Path) -> None:
    progress, *_ = ran(
        tmp_path,
        lambda task, hp: FAILED if task.id < 3 else scored(0.5),
        max_trials=50,
        deadline=Deadline.after(0, "1s"),
    )
    assert [trial.status.value for trial in progress.trials] == ["failed", "failed", "completed"]
    assert progress.cut_short == "the budget of 1s leaves time for validation only"


def test_a_search_without_a_completed_trial_ends_once_the_budget_is_overdrawn(
    tmp_path: Path, clock: Clock
) -> None:
    def fails(task: TrialTask, hp: Any) -> Any:
        clock.trains(task, hp)
        return FAILED

    # 20 s for a trial, in 10 s and the minute by which any budget may be overdrawn.
    deadline, progress = Deadline.after(10, "10s"), SearchProgress()
    with pytest.raises(SearchError, match="none of 4 trials completed") as raised:
        ran(tmp_path, fails, max_trials=50, deadline=deadline, progress=progress)
    assert progress.cut_short == "the budget of 10s is overdrawn"
    # It goes on with a larger budget.
    assert not isinstance(raised.value, NoTrialError)
    late = Deadline(clock.now - 1, "10s", overdraft=1)
    with pytest.raises(SearchError, match="proposed no trial: the budget of 10s is overdrawn"):
        ran(tmp_path / "late", fails, deadline=late)


def test_events_tell_the_story_in_order(tmp_path: Path) -> None:
    _, events, _ = ran(tmp_path, lambda task, hp: scored(0.5), max_trials=2)
    assert [type(event) for event in events] == [SearchStarted, TrialFinished, TrialFinished, Note]
    finished = events[2]
    assert isinstance(finished, TrialFinished)
    assert finished.planned == 2


def test_a_space_a_fit_override_adds_to_is_searched(tmp_path: Path) -> None:
    class Batched(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return dense(layers.Dense(10, activation="softmax"))

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return model.fit(*args, batch_size=hp.Choice("batch", [80, 40]), **kwargs)

    spec = spec_of(Batched, search=mt.GridSearch(mt.maximize("val_accuracy")))
    trials = searched(spec, tmp_path)
    assert [trial.values for trial in trials] == [{"batch": 80}, {"batch": 40}]
    assert {trial.trained_by for trial in trials} == {"HyperModel.fit"}


THREE_EPOCHS = mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3)


def completed(epochs: int) -> Trial:
    return Trial(1, TrialStatus.COMPLETED, {}, 0.9, None, epochs, 0, None, 1, 1.0, 0, {}, "graph")


@pytest.mark.parametrize(
    ("search", "epochs", "left"),
    [
        (mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=8), [5, 5], 18.0),
        (mt.GridSearch(mt.maximize("val_accuracy")), [5, 5], None),
        (mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2), [5, 5], 0.0),
        # Its trials are of unequal length: by epochs.
        (THREE_EPOCHS, [1], 6.0 * (THREE_EPOCHS.planned_epochs - 1)),
        (THREE_EPOCHS, [1] * THREE_EPOCHS.planned_trials, 0.0),
    ],
)  # fmt: skip
def test_the_time_left_is_by_what_is_done(
    search: Any, epochs: list[int], left: float | None
) -> None:
    spec: Any = SimpleNamespace(search=search)
    trials = [completed(number) for number in epochs]
    assert _seconds_left(spec, trials, seconds=6.0) == left
