"""A history in PostgreSQL keeps the same promises, whatever becomes of its server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from modeltune.cli import main
from modeltune.ground.errors import HistoryError
from modeltune.histories import store as stores
from modeltune.histories.artifacts import keep, verify
from modeltune.histories.contract import StorageContract, some_run
from modeltune.histories.merging import merge
from modeltune.histories.schema import runs
from modeltune.histories.store import HEAD, Store, open_store
from modeltune.records.runs import Run
from tests.support.histories import DATA, DIGITS, DIGITS_0001, DIGITS_0002, NEXT_HEAD
from tests.support.postgres import PASSWORD, STRANGER, Server
from tests.support.traced import TRACED, every_kill


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with postgres.database() as name:
        yield name


@pytest.fixture
def url(postgres: Server, database: str) -> str:
    return postgres.url(database)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


class TestPostgreSQL(StorageContract):
    """What every history keeps to, kept by a server."""

    @pytest.fixture
    def url(self, postgres: Server, database: str) -> str:
        return postgres.url(database)


# Readers and writers at once.


def test_a_reader_sees_no_run_that_comes_while_it_reads(store: Store, url: str) -> None:
    store.record(some_run("a"))
    with store.reading() as connection:
        counted = sa.select(sa.func.count()).select_from(runs)
        assert connection.scalar(counted) == 1
        with open_store(url) as other:
            other.record(some_run("b"))
        assert connection.scalar(counted) == 1
    assert len(store.runs()) == 2


def test_who_only_reads_cannot_write(store: Store) -> None:
    with pytest.raises(HistoryError, match="read-only transaction"), store._reading() as connection:
        connection.execute(sa.delete(runs))


def test_a_locked_table_says_so(store: Store, postgres: Server, database: str) -> None:
    def impatient(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1ms'")

    sa.event.listen(store._engine, "begin", impatient)
    with psycopg.connect(f"host={postgres.folder} user=modeltune dbname={database}") as other:
        other.execute("LOCK TABLE runs")
        with pytest.raises(HistoryError) as refused:
            store.record(DIGITS)
    assert str(refused.value) == (
        f"{store}: canceling statement due to lock timeout; "
        "another process has held it for 30 seconds; wait for it, or end it"
    )


def test_writing_waits_for_others_so_long_and_no_longer(store: Store) -> None:
    with stores._writing(store._engine) as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"


# The server goes away.


def _cut(store: Store, postgres: Server, when: Callable[[str], bool]) -> list[str]:
    """Have the server end the store's connection, once, before the first such statement."""
    statements: list[str] = []

    def listen(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if when(statement) and not statements:
            statements.append(statement)
            pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            postgres.ask(f"SELECT pg_terminate_backend({pid}, 10000)")

    sa.event.listen(store._engine, "before_cursor_execute", listen)
    return statements


def test_a_connection_that_is_lost_once_is_made_again(store: Store, postgres: Server) -> None:
    statements = _cut(store, postgres, lambda statement: statement.startswith("INSERT INTO trials"))
    store.record(DIGITS)
    assert statements
    assert repr(store.run(DIGITS.id)) == repr(DIGITS)


def test_a_commit_whose_answer_is_lost_is_no_second_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, lost = Store._insert, list[Run]()

    def committed(self: Store, run: Run) -> None:
        insert(self, run)
        if not lost:
            lost.append(run)
            gone = Exception("server closed the connection unexpectedly")
            raise sa.exc.OperationalError("COMMIT", None, gone, connection_invalidated=True)

    monkeypatch.setattr(Store, "_insert", committed)
    store.record(DIGITS)
    assert lost
    assert [summary.id for summary in store.runs()] == [DIGITS.id]


def test_a_server_that_is_down_is_one_line_that_says_what_to_do(
    store: Store, postgres: Server, url: str
) -> None:
    postgres.stop()
    try:
        for attempt in (
            lambda: store.record(DIGITS),
            store.runs,
            lambda: open_store(url),
            lambda: open_store(url, create=False),
        ):
            with pytest.raises(HistoryError) as refused:
                attempt()
            message = str(refused.value)
            assert message.startswith(f"{store}: connection ")
            assert message.endswith("; check the URL and that the server is up")
            assert "\n" not in message
    finally:
        postgres.start()
    assert store.runs() == []


def test_nobody_listening_is_said_in_one_line() -> None:
    with pytest.raises(HistoryError) as refused:
        open_store("postgresql://me:hunter2@127.0.0.1:1/runs")
    assert str(refused.value) == (
        "postgresql+psycopg://me:***@127.0.0.1:1/runs: connection failed: connection to server at "
        '"127.0.0.1", port 1 failed: Connection refused; check the URL and that the server is up'
    )


# Killed in the middle.


def quiet(postgres: Server, database: str) -> None:
    """Return when the server has noticed that the killed process is gone."""
    postgres.ask(
        f"""DO $$ BEGIN WHILE EXISTS
        (SELECT FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid())
        LOOP PERFORM pg_sleep(0.002), pg_stat_clear_snapshot(); END LOOP; END $$"""
    )


@TRACED
def test_a_run_whose_writer_is_killed_is_there_whole_or_not_at_all(
    store: Store, postgres: Server, database: str
) -> None:
    attempts = list[str]()

    def record() -> str:
        name = f"run-{len(attempts)}"
        store.record(some_run(name))
        return name

    before = 0
    for acknowledged in every_kill(record, "sendto"):
        attempts.append(acknowledged)
        quiet(postgres, database)
        # By psycopg itself: the judge shares no code with the accused.
        tables = ("runs", "trials", "scores", "verdicts", "artifacts")
        count = {t: postgres.ask(f"SELECT count(*) FROM {t}", database)[0][0] for t in tables}
        recorded = count["runs"]
        assert isinstance(recorded, int)
        assert list(count.values()) == [factor * recorded for factor in (1, 2, 7, 4, 1)]
        assert recorded - before in ((1,) if acknowledged else (0, 1))
        before = recorded
    assert len(attempts) > 5


def schema(postgres: Server, database: str) -> tuple[object, bool, bool]:
    """Return the version, and whether each half of the next migration is there."""
    ((version, column, table),) = postgres.ask(
        """SELECT (SELECT version_num FROM modeltune_schema),
        EXISTS (SELECT FROM information_schema.columns WHERE column_name = 'colour'),
        EXISTS (SELECT FROM information_schema.tables WHERE table_name = 'colours')""",
        database,
    )
    return version, bool(column), bool(table)


@TRACED
def test_a_killed_upgrade_leaves_the_old_schema_or_the_new(
    postgres: Server, database: str, url: str, request: pytest.FixtureRequest
) -> None:
    open_store(url).close()
    request.getfixturevalue("next_release")
    schemas = set()

    def upgrade() -> str:
        open_store(url).close()
        return "upgraded"

    for acknowledged in every_kill(upgrade, "sendto", step=2):
        quiet(postgres, database)
        schemas.add(now := schema(postgres, database))
        assert now == (NEXT_HEAD, True, True) or not acknowledged
        if now[0] == NEXT_HEAD:
            undo = f"UPDATE modeltune_schema SET version_num = '{HEAD}'; DROP TABLE colours; "
            postgres.ask(undo + "ALTER TABLE runs DROP COLUMN colour", database)
    assert schemas == {(HEAD, False, False), (NEXT_HEAD, True, True)}


@TRACED
def test_a_killed_first_open_leaves_no_half_made_history(
    postgres: Server, database: str, url: str
) -> None:
    def make() -> str:
        open_store(url).close()
        return "made"

    for acknowledged in every_kill(make, "sendto", step=6):
        quiet(postgres, database)
        if acknowledged:
            open_store(url, create=False).close()
        with open_store(url) as store:
            store.record(DIGITS)
        postgres.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database)


@pytest.mark.parametrize(
    ("version", "digits"), [("0001", DIGITS_0001), ("0002", DIGITS_0002)], ids=["0001", "0002"]
)
def test_a_history_of_each_older_schema_is_upgraded_and_reads_as_it_was(
    version: str,
    digits: Run,
    url: str,
    postgres: Server,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as then:
        then.setattr(stores, "HEAD", version)
        open_store(url).close()
    # The rows of the file that the modeltune of that schema wrote.
    with (
        closing(sqlite3.connect(DATA / f"history-{version}.db")) as old,
        psycopg.connect(host=str(postgres.folder), user="modeltune", dbname=database) as new,
    ):
        for table in ("runs", "trials", "scores", "verdicts", "artifacts"):
            kinds: dict[str, str] = dict(
                new.execute(
                    "SELECT column_name, data_type FROM information_schema.columns "
                    f"WHERE table_name = '{table}'"
                ).fetchall()
            )
            columns = [row[1] for row in old.execute(f"PRAGMA table_info({table})")]
            listed = ", ".join(f'"{name}"' for name in columns)
            # As text, cast by the server: SQLite has no booleans, nor a kind of its own for JSON.
            casts = ", ".join(f"%s::text::{kinds[name]}" for name in columns)
            for row in old.execute(f"SELECT * FROM {table}"):
                new.execute(f"INSERT INTO {table} ({listed}) VALUES ({casts})", row)
    with open_store(url, create=False) as store:
        assert [run.status.value for run in store.runs()] == ["error", "failed"]
        # By repr: a curve has a NaN, equal to nothing.
        assert repr(store.run(DIGITS.id)) == repr(digits)
    assert postgres.ask("SELECT version_num FROM modeltune_schema", database) == [(HEAD,)]


# Not ours to write in.


def refusal(url: str) -> str:
    with pytest.raises(HistoryError) as refused:
        open_store(url)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_another_program_s_tables_are_refused_and_left_alone(
    postgres: Server, database: str, url: str
) -> None:
    postgres.ask("CREATE TABLE runs (mine text); INSERT INTO runs VALUES ('kept')", database)
    assert refusal(url).endswith(
        'relation "runs" already exists; '
        "the database has tables of another program; use a database of its own"
    )
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert postgres.ask(tables, database) == [("runs",)]
    assert postgres.ask("SELECT * FROM runs", database) == [("kept",)]


def test_files_are_kept_in_the_project_hidden_from_git(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert store.folder == tmp_path / ".modeltune"
    assert (store.folder / ".gitignore").read_text() == "*\n"


def test_another_program_s_migrations_are_not_ours(
    postgres: Server, database: str, url: str
) -> None:
    theirs = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES "
    postgres.ask(f"{theirs}('abc')", database)
    with open_store(url) as store:
        store.record(DIGITS)
    assert postgres.ask("SELECT * FROM alembic_version", database) == [("abc",)]


def test_who_may_not_create_tables_is_told(postgres: Server, database: str) -> None:
    url = postgres.url(database, f"{STRANGER}:{PASSWORD}")
    address = postgres.url(database, f"{STRANGER}:***").replace(
        "postgresql:", "postgresql+psycopg:"
    )
    assert refusal(url) == (
        f"{address.replace('/', '%2F').replace('%2F%2F', '//', 1).replace('@%2F', '@/')}: "
        "permission denied for schema public; ask for the right to create and write tables"
    )


def test_who_may_only_read_reads_and_is_told_when_writing(
    postgres: Server, database: str, store: Store
) -> None:
    store.record(DIGITS)
    postgres.ask(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {STRANGER}", database)
    with open_store(postgres.url(database, f"{STRANGER}:{PASSWORD}")) as theirs:
        assert theirs.run("-1").id == DIGITS.id
        with pytest.raises(HistoryError) as refused:
            theirs.record(replace(DIGITS, id="b"))
    assert str(refused.value).endswith(
        "permission denied for table runs; ask for the right to create and write tables"
    )


@pytest.mark.parametrize(
    ("user", "advice"),
    [
        (f"{STRANGER}:{PASSWORD}x", "check the user and the password in the URL"),
        (STRANGER, "check the user and the password in the URL"),
        (f"nobody:{PASSWORD}", "check the user in the URL"),
    ],
)
def test_a_wrong_user_is_told_without_the_password(
    postgres: Server, user: str, advice: str
) -> None:
    assert refusal(postgres.url("postgres", user)).endswith(f"; {advice}")


def test_a_password_in_the_query_is_shown_nowhere(postgres: Server) -> None:
    url = f"{postgres.url('postgres', STRANGER)}&password={PASSWORD}x"
    assert f"{STRANGER}:***@" in refusal(url)


def test_a_database_that_is_not_there_is_told(postgres: Server) -> None:
    assert refusal(postgres.url("absent")).endswith(
        'database "absent" does not exist; create the database first, or check its name in the URL'
    )


def test_a_database_that_cannot_hold_every_name_is_refused(postgres: Server) -> None:
    with postgres.database("ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'") as name:
        assert "encoding is LATIN1, which cannot hold every name" in refusal(postgres.url(name))


def test_an_unknown_option_in_the_url_is_told(postgres: Server) -> None:
    assert 'invalid connection option "colour"' in refusal(f"{postgres.url('x')}&colour=red")


def test_the_start_of_an_id_is_found_however_a_server_sorts(postgres: Server) -> None:
    # In Danish "aa" is a letter after "z"; and this server sorts numbers by their value.
    options = "ENCODING 'UTF8' TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'da-u-kn-true'"
    with postgres.database(options) as name, open_store(postgres.url(name), keep=True) as store:
        for one, other in (("aa01", "ab01"), ("10a1", "12a1")):
            store.record(some_run(one))
            store.record(some_run(other))
            assert store.run(one[:2]).id == one
            with pytest.raises(HistoryError, match=f"more than one run: {other}.*{one}"):
                store.run(one[:1])


# Beside histories in files.


def test_runs_go_from_a_file_to_a_server_and_back_with_their_files(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_store(f"sqlite:///{tmp_path}/one/history.db") as one,
        open_store(url) as server,
        open_store(f"sqlite:///{tmp_path}/two/history.db") as two,
    ):
        weights = keep(one.folder, "artifacts/a.weights.h5", lambda to: to.write_text("12345"))
        run = some_run("a", artifact=weights, files={})
        one.record(run)
        for into, other in ((server, one), (two, server), (one, two)):
            assert merge(into, other).refused == []
            assert merge(into, other).copied == []
            assert verify(into.folder, weights, "a").read_text() == "12345"
            assert repr(into.run("a")) == repr(run)
        assert len(one.runs()) == 1


def test_a_run_that_a_server_cannot_hold_is_left_out_of_a_merge_and_the_others_are_copied(
    store: Store, tmp_path: Path
) -> None:
    with open_store(f"sqlite:///{tmp_path}/one/history.db") as other:
        for name in ("a", "b", "c", "d"):
            weights = keep(other.folder, f"artifacts/{name}.weights.h5", lambda to: to.touch())
            # An index of the server takes 2700 bytes, and can pack what repeats.
            spec = "".join(map(chr, range(0x4E00, 0x4E00 + 4000))) if name == "b" else "spec"
            other.record(some_run(name, spec=spec, artifact=weights, files={}))
        database = tmp_path / "one/history.db"
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            assert connection.execute(
                f"UPDATE artifacts SET refit = {2**40} WHERE run = 'c'"
            ).rowcount
        for _ in range(2):
            merged = merge(store, other)
            assert [run.id for run in store.runs()] == ["d", "a"]
            assert merged.stopped is None
            assert [line.removeprefix(f"{store}: run ")[:27] for line in merged.refused] == [
                "b has no place in a record:", "c has no place in a record:",
            ]  # fmt: skip
            assert all("\n" not in line for line in merged.refused)
    kept = {path.name for path in (store.folder / "artifacts").glob("*.h5")}
    assert kept == {"a.weights.h5", "d.weights.h5"}


def test_a_database_that_lacks_a_column_is_not_taken_for_one_that_is_not_there(
    store: Store, postgres: Server, database: str
) -> None:
    store.record(DIGITS)
    postgres.ask("ALTER TABLE runs DROP COLUMN created", database)
    with pytest.raises(HistoryError, match=r"runs\.created does not exist; restore a copy"):
        store.runs()


def test_what_a_history_on_a_server_names_is_no_leftover(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    open_store(f"sqlite:///{tmp_path}/.modeltune/history.db").close()
    files = [tmp_path / ".modeltune" / f"artifacts/{name * 16}.weights.h5" for name in "ab"]
    with open_store(url) as server:
        for file in files:
            weights = keep(server.folder, f"artifacts/{file.name}", lambda to: to.write_text("1"))
            os.utime(file, (0, 0))
        server.record(some_run("b" * 16, artifact=weights, files={}))
    assert main(["gc"]) == 1
    assert f"also holds files of {server.identity}, and only" in capsys.readouterr().err
    assert main(["doctor", "--store", url]) == 0
    output = capsys.readouterr().out
    assert "ok     1 file of a run, as it was recorded (1 bytes)" in output
    assert "note   1 file or folder is not needed (1 bytes); to remove: modeltune gc" in output
    assert main(["gc", "--also", url]) == 0
    assert [file.exists() for file in files] == [False, True]
