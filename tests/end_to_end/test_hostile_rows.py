"""Whatever a row of a history holds, a command says which run and column, and shows the others."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
import sqlite3
import traceback
import warnings
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeltune.cli import main
from modeltune.ground.errors import ModeltuneError
from modeltune.histories.artifacts import keep
from modeltune.histories.frames import history
from modeltune.histories.schema import metadata
from modeltune.histories.store import open_store
from tests.support.histories import DIGITS
from tests.support.reported_runs import searched

GOOD, BAD = "a" * 16, "b" * 16

VALUES: dict[str, object] = {
    "null": None,
    "negative": -7,
    "huge": 2**63 - 1,
    "infinite": float("inf"),
    "text": "../../evil",
    "long": "x" * 100_000,
    "not utf-8": b"\xff\xfe",
    "nul": "a\0b",
    "surrogate": '"\\ud800"',
    "not canonical": '"a"',
    "cut": '{"a": ',
    "NaN": '{"a": NaN, "refits": NaN}',
    "deep": "[" * 5000 + "]" * 5000,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "a list": "[1]",
    "nested lists": "[[[[]]]]",
    "an object": '{"a": {"b": [1, null, "x"]}}',
    "digits": '{"a": ' + "9" * 400 + "}",
    "a date": "99999-99-99T99:99:99",
}
"""What a cell may hold, by what it is."""

INSIDE: tuple[object, ...] = (
    None,
    -1,
    1e308,
    "x",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"x": {}},
    [{}],
    [None],
    True,
)
"""What may stand under any key of a document."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a history with a good run and one whose rows are to be damaged, both with files."""
    folder = tmp_path_factory.mktemp("original")
    with open_store(f"sqlite:///{folder}/history.db") as store:
        for name in (GOOD, BAD):
            weights = keep(folder, f"artifacts/{name}.weights.h5", lambda to: to.write_bytes(b"w"))
            run = replace(searched(3, 2), id=name, artifact=weights, files={}, baseline=None)
            store.record(replace(run, checks=DIGITS.checks, advice=("x",), model=DIGITS.model))
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a copy of it in which we are."""
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("pyproject.toml").write_text("")
    shutil.copytree(original, ".modeltune")
    return tmp_path / "project"


COMMANDS = (
    ["history"],
    ["history", searched(1, 1).spec],
    ["show", BAD],
    ["show", GOOD],
    ["show", "-1"],
    ["show", BAD, "--trial", "0"],
    ["compare", GOOD, BAD],
    ["report"],
    ["report", GOOD, BAD],
    ["merge", "into.db", ".modeltune/history.db"],
    ["doctor"],
    ["gc", "--dry-run"],
    ["accept", BAD, "--reason", "mine"],
    ["check", BAD, "--specs", "nowhere"],
    ["replay", BAD, "--specs", "nowhere"],
    ["flush"],
)


def said(arguments: list[str]) -> tuple[int, str, str]:
    """Return a command's exit code and what it prints; a traceback fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(arguments)
        except Exception as error:  # noqa: BLE001  that there is none is the claim
            pytest.fail(f"{arguments}: {''.join(traceback.format_exception(error)[-3:])[-1500:]}")
    return status, out.getvalue(), err.getvalue()


def damage(statement: str, value: object) -> bool:
    """Change the row of the run; tell whether SQLite allows it."""
    with closing(sqlite3.connect(".modeltune/history.db", isolation_level=None)) as connection:
        try:
            return connection.execute(statement, (value,)).rowcount > 0
        except (sqlite3.IntegrityError, sqlite3.OperationalError):
            return False


@contextlib.contextmanager
def undamaged_after() -> Iterator[None]:
    """Put the history back, and what commands have written away."""
    kept = Path(".modeltune/history.db").read_bytes()
    try:
        yield
    finally:
        Path(".modeltune/history.db").write_bytes(kept)
        for path in Path.cwd().glob("into.db*"):
            path.unlink()
        shutil.rmtree("artifacts", ignore_errors=True)
        shutil.rmtree(".modeltune/report", ignore_errors=True)


def attack(project: Path, what: str, commands: tuple[list[str], ...] = COMMANDS) -> None:
    """Run every command on a damaged history: each ends as it should, and the good run is shown."""
    for arguments in commands:
        status, out, err = said(arguments)
        assert status in (0, 1), (what, arguments)
        assert "Traceback" not in out + err, (what, arguments)
        if arguments in (["history"], ["show", GOOD]):
            assert GOOD in out, (what, arguments, out, err)
        if arguments[0] == "show" and status:
            assert err.count("\n") == 1, (what, arguments, err)
        assert len(err) < 20_000, (what, arguments)
    outside = {path.name for path in project.parent.iterdir()}
    assert outside == {"project"}, what


TABLES = {name: list(table.c.keys()) for name, table in metadata.tables.items()}


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_of_a_row_ends_a_command_with_a_traceback(project: Path, table: str) -> None:
    key = "id" if table == "runs" else "run"
    number = 0
    for column in TABLES[table]:
        # Some of the values in each column, each value in some columns, and commands in turn.
        for what, value in itertools.islice(itertools.cycle(VALUES.items()), number, number + 2):
            with undamaged_after():
                number += 5
                if damage(f"UPDATE {table} SET \"{column}\" = ? WHERE {key} = '{BAD}'", value):
                    turn = COMMANDS[number % len(COMMANDS)]
                    attack(project, f"{table}.{column}: {what}", (["show", BAD], turn))


DOCUMENTS = {
    "runs": ("search", "fit", "validation", "data", "environment", "task_report", "model", "checks",
             "files", "fingerprints", "notes"),
    "trials": ("values", "curve"),
    "verdicts": ("details", "facts"),
}  # fmt: skip


def test_no_value_inside_a_document_does(project: Path) -> None:
    number = 0
    for table, columns in DOCUMENTS.items():
        key = "id" if table == "runs" else "run"
        for column in columns:
            longest = (
                f'SELECT "{column}" FROM {table} WHERE {key} = ? ORDER BY length("{column}") DESC'
            )
            with closing(sqlite3.connect(".modeltune/history.db")) as connection:
                (text,) = connection.execute(longest, (BAD,)).fetchone()
            for changed in itertools.islice(variations(json.loads(text)), column == "fit", None, 9):
                number += 1
                with undamaged_after():
                    statement = f"UPDATE {table} SET \"{column}\" = ? WHERE {key} = '{BAD}'"
                    damage(statement, json.dumps(changed))
                    what = f"{table}.{column}: {json.dumps(changed)[:300]}"
                    attack(project, what, (RENDERING[number % len(RENDERING)],))


RENDERING = (["show", BAD], ["report", BAD], ["compare", GOOD, BAD], ["history"])


def variations(document: Any, seen: set[str] | None = None) -> Iterator[Any]:
    """Yield a document with a hostile value under each kind of key in turn."""
    seen = set() if seen is None else seen
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(entries):
        place = str(key) if isinstance(document, dict) else "-"
        if place not in seen or isinstance(value, dict | list):
            if place not in seen:
                seen.add(place)
                for other in INSIDE:
                    changed = json.loads(json.dumps(document))
                    changed[key] = other
                    yield changed
            if isinstance(value, dict | list):
                for inner in variations(value, seen):
                    changed = json.loads(json.dumps(document))
                    changed[key] = inner
                    yield changed


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_stands_twice_leaves_out_its_run_alone(project: Path, table: str) -> None:
    rows, kept = f"SELECT * FROM {table}", f"CREATE TABLE kept AS SELECT * FROM {table}"
    with closing(sqlite3.connect(".modeltune/history.db", isolation_level=None)) as connection:
        # Where our keys are gone: the file is a stranger's.
        connection.executescript(f"PRAGMA foreign_keys = OFF; {kept}; DROP TABLE {table};")
        connection.execute(f"ALTER TABLE kept RENAME TO {table}")
        key = "id" if table == "runs" else "run"
        connection.execute(f"INSERT INTO {table} {rows} WHERE {key} = '{BAD}' LIMIT 1")
    attack(project, table)
    for path in Path.cwd().glob("into.db*"):
        path.unlink()
    status, out, err = said(["merge", "into.db", ".modeltune/history.db"])
    assert (status, err.count("\n")) == (1, 1)
    assert out.startswith("copied 1 run ")
    assert re.search(rf"run {BAD} is left out: column {table}\.\w+: stands in (two|2) rows", err)


def test_the_other_runs_are_in_the_frame_and_the_one_left_out_is_named(project: Path) -> None:
    damage(f"UPDATE runs SET status = ? WHERE id = '{BAD}'", "splendid")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert list(history().frame()["id"]) == [GOOD]
    assert f"run {BAD} is left out: column runs.status" in str(warned[0].message)
    with pytest.raises(ModeltuneError, match=r"column runs\.status"):
        history().trials(BAD)
