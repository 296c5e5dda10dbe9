"""A search asks, trains and tells until it ends; what fails is recorded and never the best."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from keras import layers
from small_models import dense, digits, softmax, spec_of

import modeltune as mt
from modeltune import searching
from modeltune.dry_run import dry_run
from modeltune.events import Event, Note, SearchStarted, TrialFinished
from modeltune.executors.inline import Inline
from modeltune.loading import load
from modeltune.oracles import Oracle, ReadHyperParameters
from modeltune.runs import Trial, TrialStatus
from modeltune.searching import Found, best_trial, search
from modeltune.specs import Spec
from modeltune.training import Failure, Trained, TrialTask, train_trial

FAILED = Failure(
    "ValueError: no", "Traceback (most recent call last):\n  spec.py\nValueError: no\n"
)


class Prepared:
    """An executor that trains nothing: it answers each task with a prepared curve or failure."""

    def __init__(
        self, answer: Callable[[TrialTask, Any], Mapping[str, Any] | Failure], slots: int = 1
    ):
        self.slots, self._answer = slots, answer
        self.tasks: list[TrialTask] = []
        self._queue: deque[TrialTask] = deque()
        self.most_under_way = 0

    def submit(self, task: TrialTask) -> None:
        self.tasks.append(task)
        self._queue.append(task)
        self.most_under_way = max(self.most_under_way, len(self._queue))

    def wait(self) -> tuple[TrialTask, Trained]:
        # Several slots finish in another order than they were asked for.
        task = self._queue.popleft() if self.slots == 1 else self._queue.pop()
        hp = ReadHyperParameters.of(task.hyperparameters)
        hp.Int("width", 1, 1000)
        answer = self._answer(task, hp)
        if isinstance(answer, Failure):
            return task, Trained({}, "not trained", 0.0, hp, frozenset(hp.read), answer)
        curve = {name: tuple(values) for name, values in answer.items()}
        return task, Trained(curve, "graph", 0.0, hp, frozenset(hp.read))


def scored(*values: float) -> Mapping[str, Any]:
    return {"val_accuracy": values}


def ran(
    folder: Path, answer: Any, slots: int = 1, **arguments: Any
) -> tuple[Found, list[Event], Prepared]:
    arguments = {"max_trials": 4} | arguments
    spec = spec_of(search=mt.RandomSearch(mt.maximize("val_accuracy"), **arguments))
    found, events, executor = Found([]), list[Event](), Prepared(answer, slots)
    oracle = Oracle(spec.search, folder)
    known = ReadHyperParameters.of(oracle.space)
    known.Int("width", 1, 1000)
    oracle.learn(known)
    try:
        search(spec, oracle, executor, folder, events.append, found)
    finally:
        events.append(Note("end"))
    return found, events, executor


# the real thing


def searched(spec: Spec, folder: Path) -> list[Trial]:
    data, found = load(spec), Found([])
    oracle = Oracle(spec.search, folder)
    dry_run(spec, data, oracle)
    executor = Inline(lambda task: train_trial(spec, data.train, data.validation, task))
    search(spec, oracle, executor, folder, lambda event: None, found)
    return found.trials


def without_seconds(trials: list[Trial]) -> list[Any]:
    return [{**vars(trial), "seconds": None} for trial in trials]


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
        without_seconds(searched(spec_of(data=given), tmp_path / name))
        for name, given in (("a", data), ("b", data), ("c", absurd))
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
    found, *_ = ran(tmp_path, lambda task, hp: scored(0.2, 0.9, 0.9, 0.4), max_trials=1)
    assert [(t.score, t.best_epoch, t.epochs) for t in found.trials] == [(0.9, 2, 4)]


def test_of_equal_scores_the_earliest_is_the_best(tmp_path: Path) -> None:
    found, events, _ = ran(tmp_path, lambda task, hp: scored([0.1, 0.7, 0.7, 0.3][task.id - 1]))
    best = best_trial(spec_of(), found.trials)
    assert best is not None
    assert best.id == 2
    told = [event.best.id for event in events if isinstance(event, TrialFinished) and event.best]
    assert told == [1, 2, 2, 2]


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
    found, *_ = ran(tmp_path, lambda task, hp: scored(0.5), max_trials=1)
    assert list(found.trials[0].values) == ["width"]


# seeds


def test_a_seed_follows_from_values_not_from_order_or_slots(tmp_path: Path) -> None:
    def seeds(name: str, slots: int, **arguments: Any) -> dict[Any, int]:
        found, _, executor = ran(
            tmp_path / name, lambda task, hp: scored(0.5), slots=slots, **arguments
        )
        assert executor.most_under_way == slots
        return {trial.values["width"]: trial.seed for trial in found.trials}

    one, three, other = seeds("a", 1), seeds("b", 3), seeds("c", 1, seed=9)
    assert one == three
    assert len(set(one.values())) == 4
    assert set(one.values()).isdisjoint(other.values())


# failures


def test_a_search_of_failures_shows_the_first_traceback(tmp_path: Path) -> None:
    with pytest.raises(mt.SearchError) as raised:
        ran(tmp_path, lambda task, hp: FAILED if task.id == 1 else Failure("later"))
    assert str(raised.value) == (
        "small_models.py::softmax: none of 4 trials completed; the first failed with "
        f"ValueError: no\n{FAILED.traceback}"
    )


def test_a_search_without_a_trial_is_an_error(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Oracle, "ask", lambda oracle: None)
    with pytest.raises(mt.SearchError, match="the search proposed no trial"):
        ran(tmp_path, lambda task, hp: FAILED)


def test_what_was_found_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    def interrupted(task: TrialTask, hp: Any) -> Mapping[str, Any]:
        if task.id == 3:
            raise KeyboardInterrupt
        return scored(0.5)

    spec, found = spec_of(), Found([])
    oracle = Oracle(mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=5), tmp_path)
    known = ReadHyperParameters.of(oracle.space)
    known.Int("width", 1, 1000)
    oracle.learn(known)
    with pytest.raises(KeyboardInterrupt):
        search(spec, oracle, Prepared(interrupted), tmp_path, lambda event: None, found)
    assert [trial.id for trial in found.trials] == [1, 2]


def test_a_failed_trial_is_trained_again_under_another_seed(tmp_path: Path) -> None:
    attempts: list[tuple[int, int]] = []

    def second_time(task: TrialTask, hp: Any) -> Any:
        attempts.append((task.id, task.seed))
        tries = sum(number == task.id for number, _ in attempts)
        return scored(0.5) if tries == 2 else FAILED

    found, events, _ = ran(tmp_path, second_time, max_trials=2, max_retries_per_trial=1)
    assert [trial.status for trial in found.trials] == [TrialStatus.COMPLETED] * 2
    assert len(set(attempts)) == len(attempts) == 4
    assert found.trials[0].seed == attempts[1][1]
    assert Note("trial 1 failed (ValueError: no); trained again") in events


def test_retries_end(tmp_path: Path) -> None:
    with pytest.raises(mt.SearchError, match="none of 2 trials completed"):
        ran(tmp_path, lambda task, hp: FAILED, max_trials=2, max_retries_per_trial=3)


def test_failures_in_a_row_end_the_search_when_asked_to(tmp_path: Path) -> None:
    fates = {1: scored(0.5), 3: scored(0.6)}
    found, events, _ = ran(
        tmp_path,
        lambda task, hp: fates.get(task.id, FAILED),
        max_trials=9,
        max_consecutive_failed_trials=2,
    )
    assert [t.status.value for t in found.trials] == [
        "completed", "failed", "completed", "failed", "failed",
    ]  # fmt: skip
    assert Note("search stopped after 5 trials: 2 trials in a row failed") in events


def test_the_search_ends_when_its_minutes_are_over(tmp_path: Path, monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(searching.time, "monotonic", lambda: now[0])

    def slow(task: TrialTask, hp: Any) -> Mapping[str, Any]:
        now[0] += 50
        return scored(0.5)

    found, events, _ = ran(tmp_path, slow, max_trials=9, max_minutes=2)
    assert len(found.trials) == 3
    assert Note("search stopped after 3 trials: max_minutes=2 are over") in events


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
