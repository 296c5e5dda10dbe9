"""Data for pytest's own process: what loading them does ends nothing but the loading."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeltune.ground.deadlines import Deadline
from modeltune.ground.errors import ModeltuneError
from modeltune.harness.cached_runs import Lookup, look_up
from modeltune.harness.executors import data_process, supervision
from modeltune.harness.executors.data_process import lend_data
from modeltune.judgement.run_status import Strictness
from modeltune.records.events import Event, Note
from modeltune.specs.spec_type import Spec
from tests.support import process_specs
from tests.support.small_models import digits

HOW = {
    "raises": "ValueError: as announced",
    "exits": "SystemExit: enough",
    "interrupts": "KeyboardInterrupt",
    "lacks memory": "MemoryError: no room",
    "leaves": "the process that holds the data exited with status 3, peak memory ",
    "segfaults": "the process that holds the data was killed by signal 11 (SIGSEGV), peak memory ",
    "aborts": "the process that holds the data was killed by signal 6 (SIGABRT), peak memory ",
    "is killed": "the process that holds the data was killed by signal 9 (SIGKILL), peak memory ",
    "hangs": "the process that holds the data took longer than data_minutes=1",
}
"""What is said of each fault."""

RUINOUS = ["leaves", "segfaults", "hangs"]
"""Faults that end their process."""


@pytest.fixture(autouse=True)
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have data loaded in a copy of this process, though it has TensorFlow: they need only NumPy."""
    monkeypatch.setattr(data_process, "RUNTIMES", ())


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that says which fault is next; when a process hangs, an hour has passed."""
    file = tmp_path / "fault"
    file.write_text("")
    monkeypatch.setenv(process_specs.FAULT, str(file))
    hanging = tmp_path / f"fault{process_specs.HANGING}"

    def monotonic() -> float:
        return time.monotonic() + 3600 * hanging.exists()

    monkeypatch.setattr(supervision, "monotonic", monotonic)
    yield file
    assert not [*tmp_path.glob("scratch/*")]


def looked_up(
    folder: Path,
    rejudge: bool = False,
    deadline: Deadline = Deadline(),
    spec: Spec = process_specs.with_faulty_data,
) -> Lookup:
    store = f"sqlite:///{folder}/history.db"
    return look_up(spec, {}, store, Strictness(), rejudge, deadline)


@pytest.mark.parametrize("name", HOW)
def test_a_fault_of_the_data_function_is_why_no_run_is_served(
    tmp_path: Path, fault: Path, name: str
) -> None:
    fault.write_text(name)
    lookup = looked_up(tmp_path)
    assert lookup.run is None
    assert lookup.reason.startswith(f"its data do not load: {HOW[name]}")


@pytest.mark.parametrize("name", RUINOUS)
def test_a_fault_ends_no_more_where_a_copy_could_not_use_what_is_loaded(
    tmp_path: Path, fault: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(data_process, "can_be_copied", lambda: False)
    fault.write_text(name)
    assert looked_up(tmp_path).reason.startswith(f"its data do not load: {HOW[name]}")


@pytest.mark.parametrize("name", RUINOUS)
def test_a_fault_of_a_given_model_s_function_is_why_no_run_is_served(
    tmp_path: Path, fault: Path, name: str
) -> None:
    fault.write_text(name)
    lookup = looked_up(tmp_path, spec=process_specs.given_with_fault)
    how = HOW[name].replace("data_minutes", "trial_minutes")
    assert lookup.reason.startswith(f"its model does not load: {how}")


def test_data_of_a_given_model_are_mapped_by_the_run_that_follows(
    tmp_path: Path, fault: Path
) -> None:
    lookup = looked_up(tmp_path, spec=process_specs.given_with_fault)
    assert lookup.reason == "no finished run of this spec is recorded"
    assert lookup.data is not None
    assert isinstance(lookup.data.test.x, np.memmap)


def test_a_data_function_that_grows_is_ended(
    tmp_path: Path, fault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy holds what this process holds.
    monkeypatch.setattr(data_process, "allowed_memory", lambda gigabytes: 2**28)
    fault.write_text("grows")
    assert "more than the limit of 0.2 GiB, during load" in looked_up(tmp_path).reason


def test_a_data_function_that_hangs_ends_with_the_budget(tmp_path: Path, fault: Path) -> None:
    fault.write_text("hangs")
    lookup = looked_up(tmp_path, deadline=Deadline(0, "5m", overdraft=30))
    assert "took longer than the budget of 5m allows, during load" in lookup.reason


def test_where_a_data_function_died_is_in_the_error(tmp_path: Path, fault: Path) -> None:
    fault.write_text("segfaults")
    lent = lend_data(process_specs.with_faulty_data, {}, tmp_path)
    with pytest.raises(ModeltuneError, match="in faulty_data\n"), lent:
        pass


def test_no_temporary_file_outlives_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with lend_data(process_specs.with_untidy_data, {}, tmp_path / "scratch"):
        assert [*folder.glob("modeltune-*/tmp*")]
    assert [*folder.iterdir()] == []


def test_a_data_function_that_is_stopped_goes_on_and_that_is_said(
    tmp_path: Path, fault: Path
) -> None:
    fault.write_text("stops")
    heard: list[Event] = []
    spec = process_specs.with_faulty_data
    with lend_data(spec, {}, tmp_path, listen=heard.append) as data:
        assert {*data.fingerprints} == {"data/train", "data/validation", "data/test"}
    (note,) = heard
    assert isinstance(note, Note)
    assert note.text.endswith("was stopped, and continued")


def test_what_is_loaded_apart_is_mapped_and_stays_when_its_files_are_gone(
    tmp_path: Path, fault: Path
) -> None:
    lookup = looked_up(tmp_path)
    assert lookup.reason == "no finished run of this spec is recorded"
    assert lookup.data is not None
    assert isinstance(lookup.data.train.x, np.memmap)
    expected: Any = digits(train=20, validation=10, test=10)
    for name in ("train", "validation", "test"):
        x, y = getattr(expected, name)
        part = getattr(lookup.data, name)
        np.testing.assert_array_equal(part.x, x)
        np.testing.assert_array_equal(part.y, y)
    # Who only judges needs no data, but what they are known by.
    assert looked_up(tmp_path, rejudge=True).data is None


def test_a_run_without_workers_loads_its_data_where_a_debugger_can_follow(
    tmp_path: Path, fault: Path
) -> None:
    fault.write_text("raises")
    with (
        pytest.raises(ValueError, match="as announced"),
        lend_data(process_specs.with_faulty_data, {}, tmp_path, is_apart=False),
    ):
        pass


def test_where_a_copy_could_not_use_what_is_loaded_data_come_from_a_process_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert not data_process.can_be_copied()
    with lend_data(process_specs.steady, {}, tmp_path) as data:
        assert {*data.fingerprints} == {"data/train", "data/validation", "data/test"}
        taken = data.take()
    assert taken is not None
    assert isinstance(taken.train.x, np.memmap)
    # What this process could only read once more, by itself, is loaded where it is used.
    with lend_data(process_specs.with_other_data, {}, tmp_path) as data:
        assert data.take() is None
    assert not [*tmp_path.iterdir()]


def test_a_spec_that_cannot_be_passed_on_is_loaded_here_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    heard: list[Event] = []
    fixtures = {"x": (number for number in range(3))}
    spec = process_specs.declared(data=lambda x: digits(train=20))(process_specs.steady.model)
    with lend_data(spec, fixtures, tmp_path, listen=heard.append) as data:
        taken = data.take()
        assert taken is not None
        assert taken.train.size == 20
    (note,) = heard
    assert isinstance(note, Note)
    assert note.text.startswith("its data are loaded in pytest's own process, without limits: ")
