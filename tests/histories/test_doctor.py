"""The doctor finds what is wrong with a history, and changes nothing of it."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.histories import pending
from modeltune.histories import store as stores
from modeltune.histories.artifacts import keep
from modeltune.histories.baselines import accept
from modeltune.histories.doctor import is_wal_unsafe
from modeltune.histories.store import HEAD, open_store
from modeltune.records.runs import RunStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DATA, DIGITS

pytestmark = pytest.mark.filterwarnings("error")

RUN = "a" * 16


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a run and its files."""
    root = tmp_path_factory.mktemp("recorded")
    (root / "pyproject.toml").write_text("")
    folder = root / ".modeltune"
    with open_store(f"sqlite:///{folder}/history.db") as store:
        for number, name in enumerate((RUN, "b" * 16)):
            weights = keep(
                folder, f"artifacts/{name}.weights.h5", lambda to: to.write_text("12345")
            )
            spec = f"spec_digits.py::m{number}"
            store.record(replace(DIGITS, id=name, spec=spec, artifact=weights, files={}))
    return root


@pytest.fixture
def folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of its ``.modeltune``; we are in the project."""
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    shutil.copytree(recorded, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project" / ".modeltune"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file's content, and when it and every folder were written to."""
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


def doctor(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Return the command's exit code and what it says, once it has shown that it changed nothing."""
    before = state(folder.parent)
    status = main(["doctor"])
    assert state(folder.parent) == before
    output = capsys.readouterr()
    assert output.err == ""
    return status, output.out.replace(f"{folder}/", "").splitlines()


def test_a_sound_history_is_said_to_be_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = doctor(folder, capsys)
    assert lines[0].startswith(f"ok     SQLite {sqlite3.sqlite_version}, rollback journal")
    assert lines[1:] == [
        f"ok     history.db: 2 runs, schema {HEAD}",
        "ok     2 files of runs, as they were recorded (10 bytes)",
        "ok     all files beside it are needed",
    ]
    assert status == 0


def test_a_run_that_is_flushed_while_we_look_is_not_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "waiting", lambda folder: [folder / "pending/gone.json"])
    assert doctor(folder, capsys)[0] == 0


WEIGHTS = f"artifacts/{RUN}.weights.h5"


def asked(folder: Path, *statements: str) -> None:
    """Do something to the database that modeltune never does."""
    with closing(sqlite3.connect(folder / "history.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def overwritten(folder: Path) -> None:
    with (folder / "history.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(8192, size, 8192):
            file.seek(page)
            file.write(b"\xff" * 4096)


def waiting(folder: Path) -> None:
    with open_store(f"sqlite:///{folder}/history.db") as store:
        pending.spool(store, replace(DIGITS, id="c" * 16, artifact=None, files={}))


def killed_writer(folder: Path) -> None:
    """Leave what a process leaves that is killed while it writes to the database."""
    pid = os.fork()
    if not pid:
        gc.disable()  # as of ``in_child``
        connection = sqlite3.connect(folder / "history.db", isolation_level=None)
        # Written to the file before it is committed.
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE runs SET notes = printf('%.*c', 100000, 'x')")
        connection.execute("UPDATE trials SET curve = printf('%.*c', 100000, 'x')")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (folder / "history.db-journal").stat().st_size


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: (f / WEIGHTS).unlink(), f"weights of run {RUN}: {WEIGHTS} is missing"),
    "cut": (lambda f: (f / WEIGHTS).write_text("1234"), f"{WEIGHTS} was changed since it was rec"),
    "bit": (lambda f: (f / WEIGHTS).write_text("12344"), f"{WEIGHTS} was changed since it was rec"),
    "outside": (
        lambda f: asked(f, f"UPDATE artifacts SET path = '../x' WHERE run = '{RUN}'"),
        f'run {RUN} is refused: it names the file "../x", which is none that modeltune keeps',
    ),
    "stray row": (
        lambda f: asked(
            f, "UPDATE scores SET run = run || 'x' WHERE metric = 'loss' AND refit = 0"
        ),
        "of scores belongs to no run; restore a copy",
    ),
    "pages": (overwritten, "malformed"),
    "cut database": (lambda f: os.truncate(f / "history.db", 8192), "malformed"),
    "empty": (lambda f: os.truncate(f / "history.db", 0), "is empty (0 bytes)"),
    "gone": (
        lambda f: (f / "history.db").unlink(),
        "history.db is gone, though files of its runs are there; restore it",
    ),
    "newer": (
        lambda f: asked(f, "UPDATE modeltune_schema SET version_num = '9999'"),
        f"was written by a newer modeltune (schema 9999; this one knows up to {HEAD})",
    ),
    "no schema": (lambda f: asked(f, "DELETE FROM modeltune_schema"), "which schema it has"),
    "log": (
        lambda f: asked(f, "PRAGMA journal_mode = WAL"),
        "was switched to a write-ahead log by another program; modeltune history --store ",
    ),
    "killed writer": (
        killed_writer,
        "; beside it is history.db-journal, of a process that is writing",
    ),
    "waiting": (waiting, f"run {'c' * 16} of {DIGITS.spec} waits to be recorded: modeltune flush"),
    "waiting, damaged": (
        lambda f: (waiting(f), os.truncate(f / f"pending/{'c' * 16}.json", 100)),
        f"pending/{'c' * 16}.json does not hold a run to be recorded",
    ),
    "baseline": (
        lambda f: (
            (f.parent / "baselines").mkdir(),
            (f.parent / "baselines/spec_a.py.b.json").write_text("{"),
        ),
        "baselines/spec_a.py.b.json cannot be read",
    ),
}


@pytest.mark.parametrize("harm", WRONG)
def test_what_is_wrong_is_named_and_left_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    act, problem = WRONG[harm]
    act(folder)
    status, lines = doctor(folder, capsys)
    assert status == 1
    assert any(line.startswith("WRONG  ") and problem in line for line in lines), lines
    assert lines[-1].endswith(("thing is wrong", "things are wrong"))


def test_what_a_killed_writer_left_is_mended_by_the_next_who_opens_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed_writer(folder)
    assert main(["history"]) == 0
    capsys.readouterr()
    status, _ = doctor(folder, capsys)
    assert status == 0


def test_all_damaged_files_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (RUN, "b" * 16):
        (folder / f"artifacts/{name}.weights.h5").write_text("")
    status, lines = doctor(folder, capsys)
    assert sum(line.startswith("WRONG") for line in lines) == 2
    assert (status, lines[-1]) == (1, "2 things are wrong")


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_an_older_schema_is_checked_and_not_upgraded(
    folder: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    data = DATA / f"history-{version}.db"
    shutil.copyfile(data, folder / "history.db")
    status, lines = doctor(folder, capsys)
    assert f"ok     history.db: 2 runs, schema {version}" in lines
    assert (
        "note   the schema is of an older modeltune; the next run, and any command that reads it, "
        f"upgrades it to {stores.HEAD}"
    ) in lines
    # Its files are not here.
    assert status == 1


def test_leftovers_and_a_baseline_without_its_model_are_only_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    run = replace(DIGITS, status=RunStatus.PASSED, verdicts=gates, checks=())
    accept(run, None, folder.parent / "spec_digits.py", why="on another machine")
    lost = folder / f"artifacts/{'c' * 16}.weights.h5"
    lost.write_text("12345")
    os.utime(lost, (0, 0))
    status, lines = doctor(folder, capsys)
    assert status == 0
    noted = [line for line in lines if line.startswith("note")]
    assert "artifacts/20261120-211000-0a1b2c3d.weights.h5 not there" in noted[0]
    assert noted[1] == "note   1 file or folder is not needed (5 bytes); to remove: modeltune gc"


def test_without_a_history_nothing_is_wrong_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    assert "there is no history yet" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("version", "is_unsafe"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 1), True),
        ((3, 50, 4), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_versions_of_sqlite_with_the_fault_are_known(
    version: tuple[int, int, int], is_unsafe: bool
) -> None:
    assert is_wal_unsafe(version) is is_unsafe


def _pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _endless])
@pytest.mark.parametrize(
    "name",
    [
        f"artifacts/{RUN}.weights.h5",
        "artifacts/histories.txt",
        f"pending/{RUN}.json",
        f"scratch/{RUN}/ledger.jsonl",
        "../specs/baselines/spec_a.py.b.json",
        "history.db",
        "history.db-journal",
        "history.db-wal",
        "other.db",
        "../pyproject.toml",
    ],
)
def test_nothing_that_is_no_file_is_waited_for(
    folder: Path, name: str, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that reads it ends, and names it."""
    make(folder / name)
    for command in ("doctor", "gc", "flush", "history"):
        main([command])
        said = capsys.readouterr()
        if command == "doctor" and name != "other.db":
            assert Path(name).name in said.out + said.err
