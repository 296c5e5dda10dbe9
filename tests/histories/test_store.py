"""The store keeps what it acknowledged, reads back what it was given, and says what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

import modeltune
from modeltune.ground.errors import HistoryError
from modeltune.histories import store as stores
from modeltune.histories.contract import StorageContract, some_run
from modeltune.histories.places import place_of
from modeltune.histories.store import APPLICATION_ID, HEAD, Store, open_store
from modeltune.records.json_form import from_json
from modeltune.records.plain_data import Json
from modeltune.records.runs import Run, RunStatus, Scores
from modeltune.records.verdicts import Outcome
from tests.support.histories import (
    DAMAGES,
    DATA,
    DIGITS,
    DIGITS_0001,
    DIGITS_0002,
    DIGITS_0003,
    NEXT_HEAD,
    digest,
)
from tests.support.traced import TRACED, calls_of, every_kill, in_child

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a history may be made."""
    return tmp_path / ".modeltune" / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Yield an empty history."""
    with open_store(f"sqlite:///{path}") as opened:
        yield opened


class TestSQLite(StorageContract):
    """What every history keeps to, kept by a file."""

    @pytest.fixture
    def url(self, path: Path) -> str:
        return f"sqlite:///{path}"


# Where a history is made, and how.


def test_a_new_folder_is_hidden_from_git_and_holds_nothing_else(store: Store, path: Path) -> None:
    assert sorted(os.listdir(path.parent)) == [".gitignore", "history.db"]
    assert (path.parent / ".gitignore").read_text() == "*\n"


def test_a_folder_of_the_user_gets_no_gitignore(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/deep/er/runs.db").close()
    assert os.listdir(tmp_path / "deep" / "er") == ["runs.db"]


def test_an_open_history_stays_where_it_was_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///history.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        store.record(DIGITS)
        assert store.folder == tmp_path
    assert os.listdir(tmp_path / "elsewhere") == []


def test_sqlite_is_opened_as_promised(store: Store, path: Path) -> None:
    with store._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "delete",
        "synchronous": 3,  # EXTRA: the folder is synced too
        "foreign_keys": 1,
        "busy_timeout": 30000,
    }
    assert path.read_bytes()[68:72] == b"mtun" == APPLICATION_ID.to_bytes(4, "big")


def test_what_writes_takes_its_turn_before_it_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    prepare = stores._prepare

    def listen(connection: sqlite3.Connection, record: object) -> None:
        prepare(connection, record)
        connection.set_trace_callback(statements.append)

    monkeypatch.setattr(stores, "_prepare", listen)
    with open_store(f"sqlite:///{path}") as store:
        begun = [statement for statement in statements if statement.startswith(("BEGIN", "CREATE"))]
        assert begun[0] == "BEGIN IMMEDIATE"
        assert [statement for statement in begun[1:] if statement.startswith("BEGIN")] == ["BEGIN"]
        statements.clear()
        store.record(DIGITS)
        assert [statement.split("(")[0].strip() for statement in statements] == [
            "BEGIN IMMEDIATE",
            "INSERT INTO runs",
            "INSERT INTO trials",
            "INSERT INTO trials",
            *["INSERT INTO scores"] * 7,
            *["INSERT INTO verdicts"] * 4,
            "INSERT INTO artifacts",
            "COMMIT",
        ]


def test_a_file_system_without_hard_links_will_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with open_store(f"sqlite:///{path}") as store:
        store.record(DIGITS)
    assert sorted(os.listdir(path.parent)) == [".gitignore", "history.db"]


# What is there is never made worse.


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a history with a few runs."""
    path = tmp_path_factory.mktemp("recorded") / "history.db"
    with open_store(f"sqlite:///{path}") as store:
        for index in range(5):
            store.record(some_run(f"run-{index}"))
    return path.read_bytes()


@pytest.mark.parametrize("create", [True, False], ids=["recording", "reading"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_history_is_refused_in_one_line_and_left_alone(
    tmp_path: Path, recorded: bytes, damage: str, create: bool
) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(recorded)
    harm, message = DAMAGES[damage]
    harm(path)
    before = digest(path)
    with pytest.raises(HistoryError) as refused:
        open_store(f"sqlite:///{path}", create=create)
    assert str(refused.value) == message.replace("PATH", str(path))
    assert digest(path) == before
    assert os.listdir(tmp_path) == ["history.db"]


def test_a_folder_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryError) as refused:
        open_store(f"sqlite:///{tmp_path}")
    assert str(refused.value) == (
        f"{tmp_path} is a folder; name a file in it: sqlite:///{tmp_path}/history.db"
    )


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(HistoryError, match=r"notes/history.db cannot be opened \(.*notes"):
        open_store(f"sqlite:///{tmp_path}/notes/history.db")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("history.db", "the store is no URL like sqlite:///.modeltune/history.db or "
         "postgresql://user@host/database; for a file write sqlite:///history.db"),
        ("hunter2:@", "the store is no URL like sqlite:///.modeltune/history.db or "
         "postgresql://user@host/database"),
        ("postgresql://me:hunter2@host:port/runs", "the store is no URL like "
         "sqlite:///.modeltune/history.db or postgresql://user@host/database"),
        ("postgresql://me:hunter2@host:70000/runs", "the store's URL has a port that there is not; "
         "write one from 1 to 65535"),
        ("postgresql://me:p@hunter2@host/runs", "the store's URL has more than one @; in user, "
         "password and options write @ as %40, / as %2F, : as %3A and ? as %3F"),
        ("postgresql://me:hunter2@host/runs?application_name=\udcff", "the store's URL has a "
         "character that is none, or not printable; write it as %XX"),
        ("sqlite:///runs.db?key=hunter2", "sqlite:///runs.db?*** names no file to keep a history in; "
         "write sqlite:///relative/path.db or sqlite:////absolute/path.db"),
        ("mysql://me:hunter2@host/runs", "a history is kept in sqlite or postgresql, not in mysql; "
         "write sqlite:///path.db or postgresql://user@host/database"),
        ("sqlite://", "sqlite:// names no file to keep a history in; "
         "write sqlite:///relative/path.db or sqlite:////absolute/path.db"),
    ],
)  # fmt: skip
def test_a_wrong_url_is_explained_without_its_secret(url: str, message: str) -> None:
    with pytest.raises(HistoryError) as refused:
        open_store(url)
    assert str(refused.value) == message
    assert "hunter2" not in message


def test_secrets_are_masked_wherever_they_are_in_the_url() -> None:
    url = "postgresql://me:hunter2@host/runs?sslpassword=hunter3&sslmode=require"
    place = place_of(url)
    assert str(place) == ("postgresql+psycopg://me:***@host/runs?sslmode=require&sslpassword=***")
    with pytest.raises(HistoryError) as refused, place.plain_errors():
        raise sa.exc.OperationalError("x", None, Exception("no password hunter2, hunter3"))
    assert "hunter" not in str(refused.value)
    # By whatever password, it is one history, under a URL that asks for none.
    spelled = [url, str(place), "postgresql+psycopg://me@host/runs?sslmode=require"]
    assert {place_of(spelling).identity for spelling in spelled} == {spelled[-1]}


# Processes die, race, and lack rights.


@TRACED
def test_a_run_whose_writer_is_killed_is_there_whole_or_not_at_all(
    store: Store, path: Path
) -> None:
    before, attempts = 0, list[str]()

    def record() -> str:
        name = f"run-{len(attempts)}"
        store.record(some_run(name))
        return name

    for acknowledged in every_kill(record, "pwrite64", "fdatasync", "unlink"):
        attempts.append(acknowledged)
        # By sqlite3 itself: the judge shares no code with the accused.
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            count = {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("runs", "trials", "scores", "verdicts", "artifacts")
            }
            newest = connection.execute("SELECT id FROM runs ORDER BY seq DESC").fetchone()
        runs = count["runs"]
        assert count == {
            "runs": runs,
            "trials": 2 * runs,
            "scores": 7 * runs,
            "verdicts": 4 * runs,
            "artifacts": runs,
        }
        assert runs - before in (0, 1)
        if acknowledged:
            assert newest == (acknowledged,)
        before = runs
    assert len(attempts) > 10


@TRACED
def test_what_commits_a_run_is_on_disk_before_the_run_is_acknowledged(
    store: Store, path: Path, tmp_path: Path
) -> None:
    """After a power cut, a journal whose removal was not on disk would undo the run."""

    def record() -> None:
        store.record(DIGITS)
        os.truncate(tmp_path / "acknowledged", 1)

    (tmp_path / "acknowledged").touch()
    syncs = ("fsync", "fdatasync")
    calls = calls_of(
        record, tmp_path / "trace", "pwrite64", "unlink", "unlinkat", "truncate", *syncs
    )
    end = next(number for number, call in enumerate(calls) if call.startswith("truncate"))
    done = [call for call in calls[:end] if str(path.parent) in call]
    removed = max(number for number, call in enumerate(done) if call.startswith("unlink"))
    assert f"{path.name}-journal" in done[removed]
    # The runs before the journal is removed, then the folder that no longer names it.
    assert done[removed - 1].startswith(syncs)
    assert f"<{path}>" in done[removed - 1]
    assert [
        call.startswith(syncs) and f"<{path.parent}>" in call for call in done[removed + 1 :]
    ] == [True]


@TRACED
def test_a_killed_first_open_leaves_no_half_made_history(tmp_path: Path) -> None:
    attempts = 0

    def make() -> str:
        open_store(f"sqlite:///{tmp_path}/{attempts}.db").close()
        return "made"

    for acknowledged in every_kill(make, "fdatasync", "unlink", "link", "fsync"):
        path = tmp_path / f"{attempts}.db"
        assert path.exists() or not acknowledged
        with open_store(f"sqlite:///{path}") as store:
            store.record(DIGITS)
        attempts += 1


def schema(path: Path) -> tuple[str, bool, bool]:
    """Return the version, and whether each half of the next migration is there."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("SELECT version_num FROM modeltune_schema").fetchone()
        columns = {row[1] for row in connection.execute("PRAGMA table_info(runs)")}
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    return version, "colour" in columns, "colours" in tables


@pytest.mark.usefixtures("next_release")
def test_an_older_history_is_upgraded_with_its_runs(tmp_path: Path, recorded: bytes) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(recorded)
    with open_store(f"sqlite:///{path}", create=False) as store:
        assert len(store.runs()) == 5
    assert schema(path) == (NEXT_HEAD, True, True)


@pytest.mark.parametrize(
    ("version", "digits"), [("0001", DIGITS_0001), ("0002", DIGITS_0002)], ids=["0001", "0002"]
)
def test_a_history_of_each_older_schema_is_upgraded_and_reads_as_it_was(
    version: str, digits: Run, tmp_path: Path
) -> None:
    path = tmp_path / "history.db"
    shutil.copyfile(DATA / f"history-{version}.db", path)
    assert schema(path)[0] == version
    with open_store(f"sqlite:///{path}", create=False) as store:
        assert [run.status.value for run in store.runs()] == ["error", "failed"]
        # By repr: a curve has a NaN, equal to nothing.
        assert repr(store.run(DIGITS.id)) == repr(digits)
        store.record(some_run("today"))
        assert repr(store.run("today")) == repr(some_run("today"))
    assert schema(path)[0] == HEAD


def assert_typed(report: Json, typed: list[Run]) -> None:
    """Hold that each gate's text and loose details of then have become facts and details."""
    loose = {run["id"]: [*run["verdicts"], *run["checks"]] for run in report["runs"]}
    for run in typed:
        for verdict, then in zip((*run.verdicts, *run.checks), loose[run.id], strict=True):
            assert verdict.facts is not None
            # What a bound refers to is a fact; "rows" no check has ever said.
            assert verdict.details is not None or {*then["details"]} <= {"source", "rows"}


def test_a_history_of_schema_0003_reads_as_the_report_of_its_runs_does(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    shutil.copyfile(DATA / "history-0003.db", path)
    report = json.loads((DATA / "report-0003.json").read_text())
    assert (schema(path)[0], report["schema"]) == ("0003", 1)
    with open_store(f"sqlite:///{path}", create=False) as store:
        assert len(report["runs"]) == store.count() == 9
        for data in report["runs"]:
            run = store.run(data["id"])
            # By repr: a curve has a NaN, equal to nothing.
            assert repr(run) == repr(from_json(data))
            store.record(run)
        assert store.count() == 9
        outcomes = {
            verdict.outcome for run in map(store.run, store.ids()) for verdict in run.verdicts
        }
        assert outcomes == set(Outcome)
        assert_typed(report, [store.run(id_) for id_ in store.ids()])
        assert repr(store.run(DIGITS.id)) == repr(DIGITS_0003)
        failed = [trial for trial in store.run("7ad8467d").trials if trial.score is None]
        assert [trial.reason for trial in failed] == ["ValueError: unlucky"] * 2
        assert {trial.traceback for trial in failed} == {None}
        assert [file[1] for file in store.files() if file[0] == "7ad8467d831c93ce"] == [
            "weights", "architecture", "examples", "samples",
        ]  # fmt: skip
    assert schema(path)[0] == HEAD


@pytest.mark.usefixtures("next_release")
@TRACED
def test_a_killed_upgrade_leaves_the_old_schema_or_the_new(tmp_path: Path, recorded: bytes) -> None:
    path, schemas = tmp_path / "history.db", set()

    def upgrade() -> str:
        open_store(f"sqlite:///{path}").close()
        return "upgraded"

    path.write_bytes(recorded)
    for acknowledged in every_kill(upgrade, "pwrite64", "fdatasync", "unlink"):
        schemas.add(now := schema(path))
        assert now == (NEXT_HEAD, True, True) or not acknowledged
        path.write_bytes(recorded)
    assert schemas == {(HEAD, False, False), (NEXT_HEAD, True, True)}


def test_a_history_one_may_only_read_is_read_and_says_so_when_written(recorded: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        path.write_bytes(recorded)
        path.chmod(0o444)
        Path(folder).chmod(0o555)

        def read_and_write() -> str:
            if os.geteuid() == 0:
                os.setuid(65534)
            with open_store(f"sqlite:///{path}") as store:
                read = len(store.runs())
                try:
                    store.record(DIGITS)
                except HistoryError as error:
                    return f"{read} runs; {error}"
            return "recorded"

        before = digest(path)
        status, words = in_child(read_and_write)
        assert status == 0
        assert words == (
            f"5 runs; {path}: attempt to write a readonly database; make the file and its folder "
            "readable and writable, or name another --modeltune-store"
        )
        assert digest(path) == before
        Path(folder).chmod(0o755)


def test_a_locked_history_says_so(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sa.event.listen(
        store._engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA busy_timeout = 1").close(),
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError) as refused:
            store.record(DIGITS)
    assert str(refused.value) == (
        f"{path}: database is locked; "
        "another process has held it for 30 seconds; wait for it, or end it"
    )


# The schema.


def test_the_revision_we_know_is_the_last_migration() -> None:
    assert ScriptDirectory(str(stores.MIGRATIONS)).get_heads() == [HEAD]


def test_opening_a_current_history_loads_no_alembic(path: Path, store: Store) -> None:
    code = (
        "import sys; from modeltune.histories.store import open_store; "
        f"open_store('sqlite:///{path}').close(); print('alembic' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


# The history as a frame.


def test_the_frame_has_one_row_per_run_oldest_first(store: Store, path: Path) -> None:
    store.record(DIGITS)
    store.record(
        Run(
            id="b",
            created="2026-11-21T00:00:00+01:00",
            spec="spec_digits.py::cnn",
            file="spec_digits.py",
            status=RunStatus.ERROR,
            objective="maximize val_accuracy",
            scores={"seq": Scores((1.0, 2.0))},
            error="no data",
        )
    )
    frame = modeltune.history(store=f"sqlite:///{path}").frame()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "seq": "int64",
        "id": "string",
        "created": "datetime64[us, UTC]",
        "spec": "string",
        "file": "string",
        "status": "string",
        "objective": "string",
        "best_score": "float64",
        "data_seconds": "float64",
        "search_seconds": "float64",
        "validation_seconds": "float64",
        "git_revision": "string",
        "git_dirty": "boolean",
        "cached": "boolean",
        "error": "string",
        "loss": "float64",
        "loss_std": "float64",
        "accuracy": "float64",
        "accuracy_std": "float64",
        "parameters": "float64",
        "parameters_std": "float64",
        "score_seq": "float64",
        "score_seq_std": "float64",
    }
    assert frame["seq"].tolist() == [1, 2]
    assert frame["id"].tolist() == [DIGITS.id, "b"]
    assert frame["created"].tolist() == [
        pd.Timestamp("2026-11-20T21:10:00", tz="UTC"),
        pd.Timestamp("2026-11-20T23:00:00", tz="UTC"),
    ]
    assert frame["accuracy"][0] == DIGITS.scores["accuracy"].mean
    assert frame["accuracy_std"][0] == pytest.approx(DIGITS.scores["accuracy"].std, rel=1e-14)
    assert frame["score_seq"][1] == 1.5
    missing = frame[["accuracy", "parameters_std", "git_dirty", "best_score", "error"]].isna()
    assert missing.to_numpy().tolist() == [
        [False, True, False, False, True],
        [True, True, True, True, False],
    ]


def test_the_frame_of_one_spec_and_of_none_has_the_same_columns(store: Store, path: Path) -> None:
    store.record(DIGITS)
    url = f"sqlite:///{path}"
    assert modeltune.history(url).frame("spec_digits.py::mlp")["id"].tolist() == [DIGITS.id]
    empty = modeltune.history(url).frame("spec_digits.py::rnn")
    assert (len(empty), str(empty["created"].dtype)) == (0, "datetime64[us, UTC]")


def test_the_frame_finds_the_default_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    (tmp_path / "pyproject.toml").write_text('[tool.modeltune]\nstore = "sqlite:///runs.db"\n')
    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        store.record(DIGITS)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert len(modeltune.history().frame()) == 1


def test_a_run_has_a_row_in_the_frame_for_every_summary_field() -> None:
    from modeltune.histories.frames import COLUMNS
    from modeltune.records.runs import Summary

    fields = {field.name for field in dataclasses.fields(Summary)}
    assert fields - {*COLUMNS} == {"durations", "fingerprints", "scores"}
