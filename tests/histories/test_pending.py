"""A run that could not be recorded waits on disk, whole, and is recorded once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings

from modeltune.cli import main
from modeltune.ground.errors import HistoryError, UnrecordableError
from modeltune.harness.recording import RunDraft, drop_lost, first_draft
from modeltune.histories import pending
from modeltune.histories.artifacts import keep, verify
from modeltune.histories.contract import some_run
from modeltune.histories.pending import flush, read_pending, spool, waiting
from modeltune.histories.places import place_of
from modeltune.histories.store import Store, open_store
from modeltune.records.events import Event, Listener, Note
from modeltune.records.json_form import from_json
from modeltune.records.runs import Best, Run, RunStatus
from tests.support import scripted_runs
from tests.support.histories import DATA, DIGITS, runs
from tests.support.traced import TRACED, every_kill


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


def flushed(url: str) -> list[tuple[bool, str]]:
    return list(flush(url, is_named=True))


# What waits is what was judged.


@settings(max_examples=40)
@given(run=runs)
def test_every_run_survives_its_waiting(tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    run = replace(run, id=f"run-{next(_numbers)}")
    folder = tmp_path_factory.getbasetemp() / "waiting"
    store = _store(f"sqlite:///{folder}/history.db")
    path = spool(store, run)
    waiting_run = read_pending(path)
    # By repr: it finds NaN equal to itself, and tells 1 from True, and one order from another.
    assert repr(waiting_run.run) == repr(run)
    # The commit may have been: then what was recorded and what waited have to be the same.
    store.record(run)
    store.record(waiting_run.run)


_numbers = itertools.count()
_stores: dict[str, Store] = {}


def _store(url: str) -> Store:
    return _stores.setdefault(url, open_store(url))


def unreached(url: str) -> Store:
    """Return the history on a server that nobody has asked for anything."""
    place = place_of(url)
    return Store(place, sa.create_engine(place.url))


def test_what_waits_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = spool(unreached("postgresql://me:hunter2@host/runs?sslpassword=hunter3"), DIGITS)
    assert path == tmp_path / ".modeltune" / "pending" / f"{DIGITS.id}.json"
    text = path.read_text()
    assert "hunter" not in text
    named = "postgresql+psycopg://me@host/runs"
    assert read_pending(path).store == named
    # As an earlier modeltune has written it.
    path.write_text(text.replace(named, "postgresql+psycopg://me:***@host/runs?sslpassword=***"))
    assert read_pending(path).store == named


def test_a_run_waits_where_its_files_cannot_be_noted_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".modeltune/artifacts").mkdir(parents=True)
    (tmp_path / ".modeltune/artifacts/histories.txt").write_bytes(b"\xff")
    with pytest.raises(HistoryError, match=r"histories\.txt, which names histories"):
        unreached("postgresql://me@host/runs").record(DIGITS)


def draft(store: Store, run: str, listen: Listener) -> RunDraft:
    spec = scripted_runs.scripted
    return RunDraft(first_draft(run, spec), spec, store, listen)


def test_what_can_never_be_recorded_does_not_wait_for_it(
    store: Store, url: str, tmp_path: Path
) -> None:
    with pytest.raises(HistoryError, match="has no place in a record"):
        spool(store, some_run("a", search={"x": object()}))
    events: list[Event] = []
    unrecordable = draft(store, "a", events.append)
    unrecordable.add_best(Best(2**70, 1.0, {}))
    with pytest.raises(UnrecordableError) as refused:
        unrecordable.record()
    note = (
        "run a of tests/support/scripted_runs.py::scripted (error) is not recorded and never can be, so it "
        "does not wait either; mend what has no place in a record, and run its spec again"
    )
    assert (refused.value.__notes__, events) == ([note], [Note(note)])
    assert waiting(tmp_path) == []
    # What an earlier modeltune has let wait.
    path = spool(store, some_run("a", best=Best(2**70, 1.0, {})))
    ((is_sent, line),) = flushed(url)
    assert not is_sent
    assert line.endswith(f"; it can never be recorded: remove {path}")


def test_a_flush_beside_a_session_that_goes_on_loses_no_file(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Store.known
    kept = keep(tmp_path, "artifacts/a.weights.h5", lambda path: path.write_text("12345"))
    spool(store, some_run("a", artifact=kept, files={}))

    def overtaken(self: Store, ids: Sequence[str]) -> dict[str, RunStatus | None]:
        statuses = known(self, ids)
        flushed(url)
        return statuses

    monkeypatch.setattr(Store, "known", overtaken)
    drop_lost(store, ["a"], tmp_path)
    verify(tmp_path, kept, "a")
    assert waiting(tmp_path) == []


# Each is recorded once.


def test_what_waits_is_recorded_and_then_gone(store: Store, url: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        spool(store, some_run(name))
    assert flushed(url) == [
        (True, f"recorded: run {name} of spec_digits.py::mlp (failed) in {tmp_path}/history.db")
        for name in ("a", "b")
    ]
    assert repr(store.run("a")) == repr(some_run("a"))
    assert waiting(tmp_path) == []
    assert flushed(url) == []


def test_a_run_that_an_earlier_version_left_to_wait_is_recorded(
    store: Store, url: str, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "pending", tmp_path / "pending")
    (path,) = waiting(tmp_path)

    assert [is_recorded for is_recorded, _ in flushed(url)] == [True]

    assert not path.exists()
    reported = json.loads((DATA / "report-0003.json").read_text())["runs"]
    (same,) = (run for run in reported if run["id"] == "7ad8467d831c93ce")
    assert repr(store.run(path.stem)) == repr(from_json(same | {"id": path.stem}))


@TRACED
def test_a_killed_flush_is_finished_by_the_next_and_sends_nothing_twice(
    store: Store, url: str, tmp_path: Path
) -> None:
    expected = set[str]()

    def send() -> str:
        return str(flushed(url))

    def next_two() -> None:
        names = {f"{len(expected)}", f"{len(expected) + 1}"}
        expected.update(names)
        for name in names:
            spool(store, some_run(name))

    next_two()
    for _ in every_kill(send, "unlink", "fsync"):
        flushed(url)
        assert waiting(tmp_path) == []
        assert {summary.id for summary in store.runs()} == expected
        assert len(store.runs()) == len(expected)
        next_two()


def test_two_flushes_at_once_get_in_nobody_s_way(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        spool(store, some_run(name))
    record = Store.record

    def overtaken(self: Store, run: Run) -> None:
        for path in waiting(self.folder):
            record(self, read_pending(path).run)
            path.unlink()

    monkeypatch.setattr(Store, "record", overtaken)
    # What the other has sent meanwhile is neither sent nor amiss.
    assert [is_sent for is_sent, _ in flushed(url)] == [True]
    assert [summary.id for summary in store.runs()] == ["b", "a"]


def test_a_file_that_cannot_be_removed_is_said_and_the_others_are_sent(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [spool(store, some_run(name)) for name in ("a", "b")]

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as then:
        then.setattr(os, "unlink", refuse)
        assert flushed(url) == [
            (
                False,
                f"{path} cannot be removed ([Errno 13] Permission denied: '{path.name}'), though its run "
                f"is recorded in {tmp_path}/history.db; make its folder writable and flush again, "
                "or remove it",
            )
            for path in paths
        ]
    assert [summary.id for summary in store.runs()] == ["b", "a"]
    assert [is_sent for is_sent, _ in flushed(url)] == [True, True]


def _changed(path: Path) -> None:
    path.write_text(path.read_text().replace("0.9611", "0.9999"))


def _newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pending": 99}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda path: os.truncate(path, 700), "does not hold a run to be recorded ("),
    "empty": (
        lambda path: os.truncate(path, 0),
        "does not hold a run to be recorded (Expecting value",
    ),
    "changed": (
        _changed,
        "does not hold a run to be recorded (it was changed since it was written)",
    ),
    "another's": (
        lambda path: path.write_text("{}"),
        "does not hold a run to be recorded (no 'pending')",
    ),
    "a list": (
        lambda path: path.write_text("[1]"),
        "does not hold a run to be recorded (it is no object, but [1])",
    ),
    "nothing": (
        lambda path: path.write_text("null"),
        "does not hold a run to be recorded (it is no object, but null)",
    ),
    "not text": (
        lambda path: path.write_bytes(b"\xff\xfe"),
        "does not hold a run to be recorded ('utf-8' codec",
    ),
    "of a newer modeltune": (_newer, "(format 99, of a newer modeltune: upgrade it)"),
    "renamed": (lambda path: path.rename(path.with_name("b.json")), "(it holds run a)"),
    "a pipe": (
        lambda path: (path.unlink(), os.mkfifo(path)),
        "cannot be read: [Errno 22] it is a pipe",
    ),
    "deep": (
        lambda path: path.write_text("[" * 10**5 + "]" * 10**5),
        "nested more than 200 levels deep",
    ),
    "of another type": (
        lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"pending": "2"})),
        "does not hold a run to be recorded (format '2')",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read: [Errno 21] Is a dir"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_run_that_waits_is_said_and_set_aside(
    store: Store, url: str, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spool(store, some_run("c"))
    harm, problem = DAMAGES[damage]
    harm(spool(store, some_run("a")))
    (path,) = set(waiting(tmp_path)) - {tmp_path / "pending" / "c.json"}
    before = not path.is_file() or path.read_bytes()

    assert main(["flush", "--store", url]) == 1

    out, err = capsys.readouterr()
    assert out.startswith("recorded: run c ")
    assert err.startswith(f"{path} ")
    assert problem in err
    assert len(err.splitlines()) == 1
    # What may be whole to another reader keeps its name.
    stays = damage in ("of a newer modeltune", "a folder")
    aside = path if stays else path.with_name(f"{path.name}.damaged")
    assert (f"; it was set aside as {aside.name}" in err) is not stays
    assert waiting(tmp_path) == ([path] if stays else [])
    assert (aside.is_dir() or not aside.is_file() or aside.read_bytes()) == before
    assert main(["flush", "--store", url]) == int(stays)


def test_what_is_too_large_to_be_read_is_neither_written_nor_read(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spool(store, some_run("a"))
    monkeypatch.setattr(pending, "LARGEST_WAITING", 1000)
    ((is_sent, line),) = flushed(url)
    assert not is_sent
    assert str(path) in line
    assert "more than the 1000 allowed" in line
    with pytest.raises(HistoryError, match=r"run b has no place in a record: its record has more"):
        spool(store, some_run("b"))
    assert waiting(tmp_path) == []


def test_what_is_set_aside_replaces_nothing_that_was(
    store: Store, url: str, tmp_path: Path
) -> None:
    for number in range(3):
        path = spool(store, some_run("a"))
        path.write_text(f"{number}")
        flushed(url)
    aside = sorted((tmp_path / "pending").iterdir())
    assert [path.read_text() for path in aside] == ["1", "2", "0"]


def test_a_run_that_differs_from_the_recorded_one_of_its_id_stays(
    store: Store, url: str, tmp_path: Path
) -> None:
    store.record(some_run("a", error="other"))
    path = spool(store, some_run("a"))
    assert flushed(url) == [(False, f"{tmp_path}/history.db: another run is already recorded as a")]
    assert waiting(tmp_path) == [path]


def test_what_was_meant_for_another_store_is_sent_there_only_when_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    with open_store("sqlite:///.modeltune/other.db") as other:
        spool(other, DIGITS)
    assert main(["flush"]) == 1
    named = f"sqlite:///{tmp_path}/.modeltune/other.db"
    assert capsys.readouterr().err == (
        f"{tmp_path}/.modeltune/pending/{DIGITS.id}.json: its run was meant for {named}; "
        f"to record it there: modeltune flush --store {named}\n"
    )
    assert main(["flush", "--store", named]) == 0
    assert main(["flush"]) == 0
    assert capsys.readouterr().out.endswith("no run waits to be recorded\n")


def test_nothing_is_sent_to_a_history_that_does_not_open(
    store: Store, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spool(store, DIGITS)
    (tmp_path / "history.db").write_text("a letter, not a database " * 99)
    assert main(["flush", "--store", url]) == 1
    assert "is not a SQLite file" in capsys.readouterr().err
    assert waiting(tmp_path) == [path]


def test_history_mentions_what_waits(
    store: Store, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.record(DIGITS)
    spool(store, some_run("a"))
    assert main(["history", "--store", url]) == 0
    message = f"1 run waits in {tmp_path}/pending to be recorded: modeltune flush --store {url}"
    assert capsys.readouterr().out.splitlines()[-1] == message
