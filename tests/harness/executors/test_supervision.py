"""The fault table: what code of an author does to its process, where it runs, and what comes of it."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import modeltune as mt
from modeltune.ground.deadlines import Deadline
from modeltune.ground.errors import ModeltuneError
from modeltune.harness import pipeline
from modeltune.harness.executors import supervision
from modeltune.harness.executors.processes import Limits, process_executor
from modeltune.records.events import Event, Note, RefitFinished
from modeltune.records.runs import Run
from modeltune.records.tasks import Failure
from modeltune.records.verdicts import Outcome
from modeltune.specs.spec_type import Spec
from tests.support import forked, process_specs

HOW = {
    "raises": "ValueError: as announced",
    "exits": "SystemExit: enough",
    "interrupts": "KeyboardInterrupt",
    "recurses": "RecursionError: maximum recursion depth exceeded",
    "lacks memory": "MemoryError: no room",
    "leaves": "exited with status 3, peak memory ",
    "segfaults": "was killed by signal 11 (SIGSEGV), peak memory ",
    "aborts": "was killed by signal 6 (SIGABRT), peak memory ",
    "is killed": "was killed by signal 9 (SIGKILL), peak memory ",
    "grows": "more than the limit of 0.9 GiB",
    "hangs": "took longer than {}_minutes=1",  # the last: it moves the supervisor's clock
}
"""What is said of each fault; those that harm nobody are not among them."""

WITHOUT_A_TRACE = {"is killed"}
"""Faults of which nobody can say where they happened."""

HARMLESS = sorted(process_specs.FAULTS.keys() - HOW.keys())


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says which fault is next; none yet."""
    file = tmp_path / "fault"
    file.write_text("")
    monkeypatch.setenv(process_specs.FAULT, str(file))
    return file


@pytest.fixture(autouse=True)
def an_hour_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an hour pass for the supervisor when a process hangs, which then need not be waited for."""
    hanging = tmp_path / f"fault{process_specs.HANGING}"

    def monotonic() -> float:
        return time.monotonic() + 3600 * hanging.exists()

    monkeypatch.setattr(supervision, "monotonic", monotonic)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def begun(tmp_path: Path, fault: Path, heard: list[Event]) -> Iterator[Callable[[Spec], Any]]:
    """Start the processes of a spec; they are gone at the end of the test."""
    with contextlib.ExitStack() as stack:

        def begin(spec: Spec, deadline: Deadline = Deadline()) -> Any:
            given = tmp_path / "features", 1, tmp_path, heard.append, deadline
            lent = process_executor(spec, {}, *given)
            return stack.enter_context(lent)

        yield begin


def text_of(event: Event) -> str:
    return event.text if isinstance(event, Note) else ""


# the data function: there is nothing to go on with


@pytest.mark.parametrize("name", HOW)
def test_a_fault_of_the_data_function_is_an_error_that_says_which_and_where(
    begun: Any, fault: Path, name: str
) -> None:
    engine, _ = begun(process_specs.with_faulty_data)
    fault.write_text(name)
    with pytest.raises(ModeltuneError) as raised:
        engine.load()
    assert HOW[name].format("data") in str(raised.value)
    assert ("in faulty_data\n" in str(raised.value)) is (name not in WITHOUT_A_TRACE)
    assert "modeltune/harness" not in str(raised.value)


@pytest.mark.parametrize("name", ["exits", "leaves", "segfaults", "grows", "hangs"])
def test_a_fault_of_a_given_model_s_function_is_an_error_that_says_which_and_where(
    begun: Any, fault: Path, name: str
) -> None:
    engine, _ = begun(process_specs.given_with_fault)
    engine.load()
    fault.write_text(name)
    with pytest.raises(ModeltuneError) as raised:
        engine.identify()
    said = str(raised.value)
    assert "the model cannot be loaded: " in said
    assert HOW[name].format("trial") in said
    assert ("in given_with_fault\n" in said) is (name != "exits")


def test_a_data_function_that_hangs_ends_with_the_budget(begun: Any, fault: Path) -> None:
    engine, _ = begun(process_specs.with_faulty_data, Deadline(0, "5m", overdraft=30))
    fault.write_text("hangs")
    with pytest.raises(mt.SearchError, match="took longer than the budget of 5m allows, during"):
        engine.load()


def test_a_given_model_s_function_that_hangs_ends_with_the_budget(begun: Any, fault: Path) -> None:
    spec = process_specs.given_without_limits
    engine, _ = begun(spec, Deadline(0, "5m", overdraft=30))
    engine.load()
    fault.write_text("hangs")
    said = (
        "cannot be loaded: took longer than the budget of 5m allows\n(.*\n)* .*given_without_limits"
    )
    with pytest.raises(mt.SearchError, match=said):
        engine.identify()


def test_a_process_that_is_stopped_again_and_again_is_ended(
    begun: Any, fault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "PATIENCE", 0)
    engine, _ = begun(process_specs.with_faulty_data)
    fault.write_text("stops")
    with pytest.raises(mt.SearchError, match="was stopped again whenever it was continued"):
        engine.load()


@pytest.mark.parametrize("name", HARMLESS)
def test_a_data_function_that_is_stopped_goes_on_and_one_that_is_busy_is_left_alone(
    begun: Any, fault: Path, heard: list[Event], name: str
) -> None:
    engine, _ = begun(process_specs.with_faulty_data)
    fault.write_text(name)
    description, _ = engine.load()
    assert description["samples"]["train"] == 20
    notes = [text_of(event) for event in heard]
    assert [note.endswith("was stopped, and continued") for note in notes] == (
        [True] if name == "stops" else []
    )


@pytest.mark.parametrize("name", ["exits", "segfaults", "hangs", "grows"])
def test_a_fault_of_a_slice_is_an_error_that_says_which(begun: Any, fault: Path, name: str) -> None:
    engine, _ = begun(process_specs.with_faulty_slice)
    engine.load()
    fault.write_text(name)
    with pytest.raises(ModeltuneError) as raised:
        engine.check()
    assert HOW[name].format("trial") in str(raised.value)


# the rehearsal: other values may do, whatever the default ones do to their process


def test_any_fault_of_the_default_candidate_is_a_failure_and_the_search_goes_on(
    begun: Any, fault: Path, tmp_path: Path
) -> None:
    engine, _ = begun(process_specs.with_faulty_build)
    engine.load()
    for name, how in HOW.items():
        fault.write_text(name)
        failure = engine.begin(tmp_path / name).failure
        assert isinstance(failure, Failure), name
        assert how.format("trial") in failure.reason
        trace = failure.traceback or ""
        assert ("in with_faulty_build\n" in trace) is (name not in WITHOUT_A_TRACE), failure
        # What the build has declared before is known: there are other values to try.
        proposals = [engine.ask() for _ in range(9)]
        assert [proposal.values["number"] for proposal in proposals] == [*range(9)]


# limits


@pytest.mark.parametrize(
    ("trial", "deadline", "is_spare", "at", "name"),
    [
        (2.0, Deadline(), False, 1120, "trial_minutes=2"),
        (None, Deadline(), False, math.inf, "the budget of no limit allows"),
        (2.0, Deadline(1060, "10m", 600), False, 1120, "trial_minutes=2"),
        # What the run can do without ends with the budget; what it needs may overdraw that.
        (2.0, Deadline(1060, "10m", 600), True, 1060, "the budget of 10m allows"),
        (None, Deadline(1060, "10m", 600), False, 1660, "the budget of 10m allows"),
        (None, Deadline(900, "10m", 600), False, 1600, "the budget of 10m allows"),
    ],
)
def test_a_task_ends_at_the_first_of_its_limits(
    trial: float | None, deadline: Deadline, is_spare: bool, at: float, name: str
) -> None:
    limit = Limits(trial, None, deadline).on_task(1000.0, is_spare)
    assert (limit.at, limit.name, limit.is_final) == (at, name, name.startswith("trial"))


# whole runs


def run(spec: Spec, folder: Path, workers: int, listen: Callable[[Event], None]) -> Run:
    store = f"sqlite:///{folder}/history.db"
    return pipeline.run(spec, store=store, workers=workers, listen=listen)


@pytest.mark.parametrize(
    ("workers", "spec", "name"),
    [
        (2, process_specs.with_faulty_build, "segfaults"),
        (0, process_specs.with_faulty_build, "exits"),
        (0, process_specs.with_faulty_metric, "exits"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_search_whose_default_candidate_is_faulty_tries_all_others(
    tmp_path: Path, fault: Path, workers: int, spec: Spec, name: str
) -> None:
    fault.write_text(name)
    found = run(spec, tmp_path, workers, lambda event: None)
    assert found.passed
    (note,) = (note for note in found.notes if note.startswith("the default candidate does not"))
    assert HOW[name] in note
    first, *others = found.trials
    assert HOW[name] in str(first.reason)
    assert spec.name in str(first.traceback) or "faulty_metric" in str(first.traceback)
    assert {trial.reason for trial in others} == {None}
    assert len(others) == (8 if spec is process_specs.with_faulty_build else 2)


def test_a_process_that_cannot_be_replaced_is_the_error_that_is_told(
    tmp_path: Path, fault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.write_text("segfaults")
    start, started = supervision.start_process, list[Any]()

    def start_twice(*arguments: Any) -> Any:
        if len(started) == 2:  # the process that holds the data, and the one that trains
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(supervision, "start_process", start_twice)
    with pytest.raises(OSError, match="Too many open files"):
        run(process_specs.with_faulty_build, tmp_path, 1, lambda event: None)


@pytest.mark.parametrize(
    ("workers", "name"), [(1, "segfaults"), (1, "leaves"), (1, "interrupts"), (0, "exits")]
)
def test_what_ruins_every_build_is_an_error_with_its_traceback(
    tmp_path: Path, fault: Path, workers: int, name: str
) -> None:
    fault.write_text(name)
    with pytest.raises(mt.SearchError) as raised:
        run(process_specs.with_only_faulty_builds, tmp_path, workers, lambda event: None)
    said = str(raised.value)
    assert "none of 1 trials completed; the first failed with " in said
    assert HOW[name] in said
    assert "Traceback (most recent call last):\n" in said
    assert "in with_only_faulty_builds\n" in said


@pytest.mark.parametrize(("workers", "name"), [(1, "segfaults"), (0, "exits")])
def test_a_faulty_transform_costs_its_own_gate_only(
    tmp_path: Path, fault: Path, workers: int, name: str
) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, RefitFinished):
            fault.write_text(name)  # not in the rehearsal

    found = run(process_specs.with_faulty_transform, tmp_path, workers, listen)
    faulty, fine = found.verdicts
    assert (faulty.outcome, fine.outcome) == (Outcome.ERROR, Outcome.PASSED)
    assert HOW[name] in faulty.reason
    assert found.scores["accuracy"].values


# processes that somebody stops or kills


def family() -> tuple[psutil.Process, list[psutil.Process]]:
    """Return the server and the processes forked from it, which lead sessions of their own."""
    begun = psutil.Process().children(recursive=True)
    forked_from_it = [process for process in begun if os.getsid(process.pid) == process.pid]
    server = forked_from_it[0].parent()
    assert server is not None
    return server, forked_from_it


def test_a_server_that_is_stopped_goes_on(
    begun: Any, fault: Path, heard: list[Event], tmp_path: Path
) -> None:
    engine, _ = begun(process_specs.with_faulty_build)
    engine.load()
    fault.write_text("leaves")  # so another process is needed
    family()[0].suspend()
    assert "exited with status 3" in engine.begin(tmp_path).failure.reason
    notes = [text_of(event) for event in heard]
    assert notes == ["the server that processes are forked from was stopped, and continued"]


def kill_the_server(folder: Path) -> None:
    """Kill the server under a run, then begin another run."""
    spec, fault = process_specs.with_faulty_data, folder / "fault"
    fault.write_text("")
    os.environ[process_specs.FAULT] = str(fault)
    for is_first in (True, False):
        with process_executor(spec, {}, folder / "features", 1, folder) as (engine, _):
            if is_first:
                server, forked_from_it = family()
                server.kill()
                psutil.wait_procs(forked_from_it)
            try:
                said = str(engine.load()[0]["samples"])
            except mt.SearchError as error:
                said = str(error)
            sys.stdout.write(f"{said}\n")


def test_a_server_that_is_killed_is_an_error_and_the_next_run_has_another(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = forked.Command(kill_the_server, tmp_path, folder=tmp_path, environ=environ)
    status, shown = command.end()
    first, second = shown.splitlines()
    assert status == 0
    assert first == (
        "the process that holds the data ended with the server that processes are forked from, "
        "which was killed, during load"
    )
    assert second == "{'train': 20, 'validation': 10, 'test': 10}"


GUARD = """
import socket
import warnings

class SocketBlockedError(RuntimeError):
    def __init__(self):
        warnings.warn("A test tried to use socket.socket.", stacklevel=2)
        super().__init__("A test tried to use socket.socket.")

class GuardedSocket(socket.socket):
    def __new__(cls, *args, **kwargs):
        raise SocketBlockedError()
"""
"""What pytest-socket puts in the place of sockets."""


@pytest.mark.parametrize("filtered", ["ignore", "error"])
def test_sockets_that_pytest_socket_refuses_are_an_error_that_says_what_to_allow(
    monkeypatch: pytest.MonkeyPatch, filtered: Any
) -> None:
    plugin: dict[str, Any] = {"__name__": "pytest_socket"}
    exec(GUARD, plugin)
    monkeypatch.setattr("socket.socketpair", plugin["GuardedSocket"])
    birth: Any = None
    with warnings.catch_warnings():
        warnings.simplefilter(filtered, UserWarning)
        with pytest.raises(
            ModeltuneError, match=r"pytest-socket .* --allow-unix-socket, or"
        ) as raised:
            supervision.start_process(birth, in_main=False)
    assert "\n" not in str(raised.value)


def test_other_errors_of_sockets_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socketpair", None)
    birth: Any = None
    with pytest.raises(TypeError, match="NoneType"):
        supervision.start_process(birth, in_main=False)
