"""What every executor promises, and how one over processes takes what its tasks do to them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import psutil
import pytest

import modeltune as mt
from modeltune.engine.engine import Engine
from modeltune.ground.deadlines import Deadline
from modeltune.ground.errors import CodeError, HistoryError, SearchError
from modeltune.ground.own_folders import mark_folder
from modeltune.harness.executors import processes, supervision
from modeltune.harness.executors.inline import Inline
from modeltune.harness.executors.processes import (
    Limits,
    NotPortableError,
    Processes,
    Remote,
    auto,
    process_executor,
)
from modeltune.harness.executors.supervision import Limit
from modeltune.records.tasks import (
    Failure,
    GivenModels,
    IdentifyTask,
    RefitResult,
    RefitTask,
    TrialResult,
    TrialTask,
)
from modeltune.specs.spec_type import Spec
from tests.support import process_specs

NO_LIMITS = Limits(None, None, Deadline())


def task(number: int, **values: Any) -> TrialTask:
    hp = keras_tuner.HyperParameters()
    hp.values = {"number": number} | values
    return TrialTask(number, hp.get_config(), epochs=1, initial_epoch=0, seed=number)


def refit(number: int) -> RefitTask:
    refits = mt.Holdout(seeds=number + 1).refits()
    return RefitTask(refits[number], task(1).hyperparameters, 1, None)


def ended(executor: Any, tasks: list[Any]) -> dict[int, Any]:
    """Return every task's result by its number."""
    for one in tasks:
        executor.submit(one)
    results = [executor.wait() for _ in tasks]
    with pytest.raises(IndexError):
        executor.wait()
    return {done.id: result for done, result in results}


def reason(result: TrialResult | RefitResult) -> str:
    assert result.failure is not None
    return result.failure.reason


def started(spec: Spec, folder: Path, fixtures: Mapping[str, Any] | None = None) -> Any:
    return process_executor(spec, fixtures or {}, folder / "features", 2, folder)


# the contract: what searching and validating rely on, whatever runs the tasks


@contextlib.contextmanager
def inline(folder: Path) -> Iterator[Any]:
    engine = Engine(process_specs.steady, {}, folder)
    engine.load()
    yield Inline(engine.perform)


@contextlib.contextmanager
def several(folder: Path) -> Iterator[Any]:
    with started(process_specs.steady, folder) as (engine, executor):
        engine.load()
        yield executor


@pytest.fixture(scope="module", params=[inline, several])
def executor(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Any]:
    """An executor of ``process_specs.steady`` that has its data; add every new one here."""
    with request.param(tmp_path_factory.mktemp("executor")) as made:
        yield made


def test_every_task_comes_back_once_with_its_result(executor: Any) -> None:
    results = ended(executor, [task(number) for number in (1, 2, 3, 4, 5)])
    assert sorted(results) == [1, 2, 3, 4, 5]
    for number, result in results.items():
        assert result.failure is None
        assert set(result.curve) == {"accuracy", "loss", "val_accuracy", "val_loss"}
        assert result.hyperparameters["values"]["number"] == number
        assert result.read == {"number"}


def test_the_same_task_has_the_same_result(executor: Any) -> None:
    first, second = (ended(executor, [task(7)])[7] for _ in "ab")
    assert first.curve == second.curve


def test_refits_are_scored_on_test(executor: Any) -> None:
    for number in (0, 1):
        executor.submit(refit(number))
    results = [executor.wait() for _ in "ab"]
    assert {done.refit.seed for done, _ in results} == {0, 1}
    assert all(
        {"accuracy", "loss", "f1"} <= set(refit_result.scores) for _, refit_result in results
    )


def test_waiting_for_nothing_is_an_error(executor: Any) -> None:
    with pytest.raises(IndexError):
        executor.wait()


def test_what_is_withdrawn_has_not_begun_and_does_not_come_back(executor: Any) -> None:
    tasks = [task(number) for number in range(executor.slots + 3)]
    for one in tasks:
        executor.submit(one)
    withdrawn = executor.withdraw()
    assert len(withdrawn) >= 3
    done = [executor.wait()[0] for _ in range(len(tasks) - len(withdrawn))]
    assert {one.id for one in [*done, *withdrawn]} == {one.id for one in tasks}
    with pytest.raises(IndexError):
        executor.wait()


def test_at_least_one_task_can_be_under_way(executor: Any) -> None:
    assert executor.slots == (1 if isinstance(executor, Inline) else 2)


# what tasks do to their processes


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The result of each behaviour, tried side by side."""
    behaviours = ["raises", "exits", "dies", "grows", "forks", "mumbles", "well"]
    folder = tmp_path_factory.mktemp("moods")
    child = folder / "child"

    def monotonic() -> float:
        """Return the time; what hangs once it has a child has done so for an hour."""
        return time.monotonic() + 3600 * (child.exists() and child.stat().st_size > 0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHILD", str(child))
        patched.setattr(supervision, "monotonic", monotonic)
        with started(process_specs.moody, folder) as (engine, executor):
            engine.load()
            tasks = [task(n, behaviour=mood) for n, mood in enumerate(behaviours)]
            results = ended(executor, tasks)
            again = ended(executor, [task(2, behaviour="dies")])
            hanging = ended(executor, [task(9, behaviour="hangs")])
            by_mood = {mood: results[n] for n, mood in enumerate(behaviours)}
            by_mood |= {"dies again": again[2], "hangs": hanging[9]}
            yield by_mood | {"child": int(child.read_text())}


def test_the_others_go_on(moods: dict[str, Any]) -> None:
    assert moods["well"].failure is None


def test_an_exception_is_the_trials_own(moods: dict[str, Any]) -> None:
    assert reason(moods["raises"]) == "ValueError: as announced"
    assert "process_specs.py" in moods["raises"].failure.traceback


def test_a_copy_that_a_build_makes_of_its_process_answers_nothing(moods: dict[str, Any]) -> None:
    assert moods["forks"].failure is None
    assert moods["forks"].curve != {}


def test_an_exception_that_cannot_be_shown_is_named_by_its_class(moods: dict[str, Any]) -> None:
    assert reason(moods["mumbles"]) == ("Unspeakable: (no message: its __str__ raised LookupError)")


def test_leaving_python_is_a_failure_of_the_trial(moods: dict[str, Any]) -> None:
    assert reason(moods["exits"]) == "SystemExit: enough"


def test_a_death_is_told_with_its_signal_and_peak_memory(moods: dict[str, Any]) -> None:
    message = reason(moods["dies"])
    assert message.startswith("its process was killed by signal 11 (SIGSEGV), peak memory ")
    assert message.endswith(" MiB, for the second time")
    assert int(message.split("peak memory ")[1].split()[0]) > 100


def test_values_that_killed_twice_are_not_tried_again(moods: dict[str, Any]) -> None:
    assert reason(moods["dies again"]) == (
        "two processes died training these values: not tried again"
    )
    assert moods["dies again"].seconds == 0


def test_what_takes_too_long_is_ended_with_what_it_has_started(moods: dict[str, Any]) -> None:
    assert reason(moods["hangs"]) == "took longer than trial_minutes=1"
    assert not is_alive(moods["child"])


def test_what_takes_too_much_memory_is_ended(moods: dict[str, Any]) -> None:
    message = reason(moods["grows"])
    assert message.startswith("its process held ")
    assert message.endswith(" GiB, more than the limit of 0.9 GiB")


# their data


def test_arrays_are_mapped_into_processes_not_copied(tmp_path: Path) -> None:
    with started(process_specs.looking, tmp_path) as (engine, executor):
        engine.load()
        results = ended(executor, [task(1), task(2)])
    for result in results.values():
        assert reason(result).startswith("ValueError: memmap of (160, 64), process ")
    assert not list(tmp_path.glob("data-*"))


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    left, mine = tmp_path / "data-left", tmp_path / "data-mine"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "lock").touch()
    mark_folder(left)
    with started(process_specs.steady, tmp_path):
        assert not left.exists()
        # It has not our mark.
        assert mine.exists()
        assert len(list(tmp_path.glob("data-*"))) == 2


def test_no_data_are_written_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(HistoryError, match=r"scratch cannot be written \(.*it is a link to .*mine"),
        started(process_specs.steady, tmp_path / "scratch"),
    ):
        pass
    assert list((tmp_path / "mine").iterdir()) == []


def test_an_error_in_the_data_function_is_shown_as_text(tmp_path: Path) -> None:
    with (
        started(process_specs.without_data, tmp_path) as (engine, _),
        pytest.raises(CodeError) as raised,
    ):
        engine.load()
    first, *trace = str(raised.value).splitlines()
    assert first == "LookupError: no such table"
    assert "process_specs.py" in "".join(trace)
    assert "modeltune/" not in "".join(trace)


def test_a_data_function_that_dies_is_an_error_that_says_how(tmp_path: Path) -> None:
    message = r"signal 9 \(SIGKILL\).* during load"
    with (
        started(process_specs.with_deadly_data, tmp_path) as (engine, _),
        pytest.raises(mt.SearchError, match=message),
    ):
        engine.load()


def test_data_that_differ_in_each_process_are_refused(tmp_path: Path) -> None:
    with started(process_specs.with_other_data, tmp_path) as (engine, executor):
        engine.load()
        executor.submit(task(1))
        with pytest.raises(mt.DataError, match="differ each time they are loaded"):
            executor.wait()


def test_what_a_spec_starts_starts_as_in_the_process_of_pytest(tmp_path: Path) -> None:
    with started(process_specs.with_told_method, tmp_path) as (engine, _):
        description, _ = engine.load()
    told = process_specs.METHODS[description["samples"]["train"] - 100]
    assert told == multiprocessing.get_start_method()


# what cannot travel


def test_a_spec_without_a_name_in_its_module_cannot_travel(tmp_path: Path) -> None:
    made = process_specs.declared()(process_specs.steady.model)
    with (
        pytest.raises(
            NotPortableError,
            match=r"has no name for tests/harness/executors/test_processes\.py::steady$",
        ),
        started(made, tmp_path),
    ):
        pass


def test_a_backend_of_keras_that_is_set_too_late_cannot_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "keras_backend", lambda: "jax")
    with (
        pytest.raises(NotPortableError, match="set KERAS_BACKEND=jax where pytest is called"),
        started(process_specs.steady, tmp_path),
    ):
        pass


def test_a_fixture_that_cannot_be_pickled_cannot_travel(tmp_path: Path) -> None:
    with (
        pytest.raises(NotPortableError, match="pickle"),
        started(process_specs.steady, tmp_path, {"rows": lambda: 3}),
    ):
        pass


def test_fields_changed_since_travel_along(tmp_path: Path) -> None:
    longer = process_specs.steady.with_fields("steady[long]", fit=mt.Fit(epochs=3))
    with started(longer, tmp_path) as (engine, executor):
        engine.load()
        three = replace(task(1), epochs=3)
        assert len(ended(executor, [three])[1].curve["loss"]) == 3


# no orphans


def test_no_process_outlives_its_executor(tmp_path: Path) -> None:
    before = descendants()
    with started(process_specs.steady, tmp_path) as (engine, executor):
        engine.load()
        executor.submit(task(1))
        begun = descendants() - before
        assert len(begun) >= 3  # and the server, if there was none
    leaders = {process for process in begun if is_alive(process) and os.getsid(process) == process}
    assert not leaders


def test_no_temporary_file_outlives_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with started(process_specs.with_shuffled_stream, tmp_path) as (engine, _):
        engine.load()
        # TensorFlow keeps the code of the stream there.
        assert [*folder.glob("modeltune-*/__autograph*.py")]
    assert [*folder.iterdir()] == []


def test_processes_that_cannot_all_be_started_are_ended() -> None:
    class Begun:
        ended = False

        def limit(self, limit: object) -> None:
            pass

        def kill(self) -> None:
            self.ended = True

    first = Begun()
    waiting: Iterator[Any] = iter([first])
    with pytest.raises(StopIteration):
        Processes(lambda: next(waiting), lambda process: process.kill(), 2, NO_LIMITS)
    assert first.ended


# given models


def test_a_behaviour_that_ruins_the_process_of_a_given_model_is_left_to_its_gate() -> None:
    class Others:
        slots = 1

        def __init__(self, **ends: GivenModels):
            self.ends = ends

        def run(self, task: IdentifyTask) -> GivenModels:
            return self.ends["probed" if task.with_behaviours else "alone"]

    ended = GivenModels(failure=Failure("its process exited with status 3"))
    known = GivenModels(("a digest",))
    others: Any = Others(probed=ended, alone=known)
    nothing: Any = None
    assert Remote(nothing, others, Path(), NO_LIMITS).identify() == known
    others = Others(probed=ended, alone=ended)
    with pytest.raises(SearchError, match="the model cannot be loaded: its process exited"):
        Remote(nothing, others, Path(), NO_LIMITS).identify()


# what a run can do without


class Scripted:
    """A process that has given its answers before it is asked."""

    condemned = None
    is_late = False

    def __init__(self) -> None:
        self.limits: list[Limit | None] = []
        self.pipe, self.answers = multiprocessing.Pipe()
        self.sentinel, self._end = multiprocessing.Pipe()

    def send(self, *call: object) -> None:
        pass

    def receive(self) -> Any:
        return self.pipe.recv()

    def limit(self, limit: Limit | None) -> None:
        self.limits.append(limit)

    def memory(self) -> int:
        return 0


def test_trials_that_are_held_to_the_budget_do_not_overdraw_it_as_others_may() -> None:
    process, result = Scripted(), TrialResult({}, "graph", 1.0, {}, frozenset())
    start: Any = lambda: process  # noqa: E731
    begins = Deadline(time.monotonic(), "10m", 600)
    executor = Processes(start, lambda process: None, 1, Limits(None, None, begins))

    def ends_of(one: Any, prepared: bool = True) -> list[bool]:
        """Return for each limit of a task whether it is the end of the budget itself."""
        process.limits.clear()
        if not prepared:
            executor.tell("take")
        executor.submit(one)
        if not prepared:
            process.answers.send(None)
        process.answers.send(result)
        executor.wait()
        return [limit.at == begins.at for limit in process.limits if limit is not None]

    process.answers.send(None)  # it has started
    assert ends_of(task(1)) == [False]
    executor.submit(task(2))
    process.limits.clear()
    executor.hold_trials_to_budget()
    (limit,) = process.limits
    assert limit == Limit(begins.at, "the budget of 10m allows", is_final=False)
    process.answers.send(result)
    executor.wait()
    assert ends_of(task(3)) == [True]
    assert ends_of(task(4), prepared=False) == [True]
    assert ends_of(refit(0)) == [False]


def descendants() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_auto_fills_the_cores_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 8)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    assert [auto(threads) for threads in (1, 2, 3, 8, 99)] == [8, 4, 2, 1, 1]
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    assert [auto(threads) for threads in (1, 2)] == [2, 1]
