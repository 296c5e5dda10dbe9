"""A history that cannot be read or written gets one clear line, from pytest and from every command."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modeltune as mt
from modeltune.cli import main
from modeltune.ground.errors import HistoryError
from modeltune.histories.contract import some_run
from modeltune.histories.pending import spool
from modeltune.histories.store import open_store
from tests.support import scripted_runs
from tests.support.example import Example, scripted_source
from tests.support.histories import DAMAGES, DIGITS, digest
from tests.support.scripted_runs import scripting
from tests.support.traced import TRACED, in_child, without_space

# Who may read next to nothing cannot import either.
pytestmark = pytest.mark.usefixtures("script_is_loaded")

COMMANDS = {
    "history": ["history"],
    "show": ["show", "-1"],
    "accept": ["accept", "-1", "--reason", "r"],
    "check": ["check", "-1"],
    "compare": ["compare", "-2", "-1"],
    "report": ["report"],
    "export": ["export", "-1", "model.keras"],
    "replay": ["replay", "-1"],
    "flush": ["flush"],
    "gc": ["gc"],
    "merge": ["merge", "other.db", ".modeltune/history.db"],
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a history with a run."""
    path = tmp_path_factory.mktemp("recorded") / "history.db"
    with open_store(f"sqlite:///{path}") as store:
        store.record(DIGITS)
    return path.read_bytes()


@pytest.fixture
def history(scripted: Example, recorded: bytes) -> Path:
    """Return the history of the project in the working directory, with a run that waits beside it."""
    path = scripted.write() / ".modeltune" / "history.db"
    path.parent.mkdir()
    path.write_bytes(recorded)
    with open_store(f"sqlite:///{path}") as store:
        spool(store, some_run("a"))
    return path


def contents(folder: Path) -> dict[str, str]:
    return {str(path): digest(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", [*DAMAGES, "a folder"])
def test_every_command_says_in_one_line_what_is_wrong_and_changes_nothing(
    history: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "a folder":
        history.unlink()
        history.mkdir()
        message = f"PATH is a folder; name a file in it: sqlite:///{history}/history.db"
    else:
        harm, message = DAMAGES[damage]
        harm(history)
    before = contents(history.parent)
    for name, command in COMMANDS.items():
        assert main(command) == 1, name
        out, err = capsys.readouterr()
        problem = message.replace("PATH", str(history)).partition(";")[0]
        assert (out, len(err.splitlines())) == ("", 1)
        # What to do comes after it, and is another for who only reads.
        assert err.startswith(f"modeltune: {problem}; ")
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert f"WRONG  {problem}; " in out
    assert "WRONG  run a of spec_digits.py::mlp waits to be recorded: modeltune flush" in out
    assert err == ""
    assert contents(history.parent) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_pytest_is_red_before_it_trains_and_changes_nothing(
    scripted: Example, history: Path, damage: str
) -> None:
    harm, message = DAMAGES[damage]
    harm(history)
    before = contents(history.parent)
    done = scripted.with_spec(scripted_source()).run_pytest()
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    assert message.replace("PATH", str(history)) in done.lines
    assert done.trained == ()
    assert contents(history.parent) == before


# Rights and space.


def as_nobody(folder: Path, command: Callable[[], object]) -> str:
    """Return what a command says to one who may look into the folder and write nothing there."""

    def run() -> str:
        if os.geteuid() == 0:
            os.setuid(65534)
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            try:
                code = command()
            except HistoryError as error:
                code = error
        return f"{out.getvalue()}{code}".replace(str(folder), "FOLDER")

    folder.chmod(0o555)
    try:
        status, words = in_child(run)
    finally:
        folder.chmod(0o755)
    assert status == 0
    return words


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder outside pytest's own, into which only its owner may look."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def trained(folder: Path, store: str) -> Callable[[], object]:
    log = folder / "log"
    log.touch()
    log.chmod(0o666)

    def train() -> object:
        with scripting(log):
            return mt.run(scripted_runs.scripted, store=store, listen=lambda event: None)

    return train


ADVICE = "make the file and its folder readable and writable, or name another --modeltune-store"


def test_a_folder_one_may_not_write_to_gets_no_first_history(folder: Path) -> None:
    output = as_nobody(folder, trained(folder, f"sqlite:///{folder}/.modeltune/history.db"))
    assert output == (
        "FOLDER/.modeltune/history.db cannot be opened "
        f"(Permission denied: FOLDER/.modeltune); {ADVICE}"
    )
    assert os.listdir(folder) == ["log"]


def test_a_history_one_may_only_read_is_shown_and_nothing_is_trained_for_it(
    folder: Path, recorded: bytes
) -> None:
    history = folder / "history.db"
    history.write_bytes(recorded)
    history.chmod(0o444)
    before = digest(history)
    url = f"sqlite:///{history}"
    assert DIGITS.id in as_nobody(folder, lambda: main(["history", "--store", url]))
    output = as_nobody(folder, trained(folder, url))
    assert output.startswith("FOLDER/scratch/")
    assert output.endswith("; make the folder writable, or name another --modeltune-store")
    assert (folder / "log").read_text() == ""
    assert digest(history) == before
    assert sorted(os.listdir(folder)) == ["history.db", "log"]


def test_a_history_one_may_not_even_read_is_said(
    folder: Path, recorded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    history = folder / "history.db"
    history.write_bytes(recorded)
    history.chmod(0)
    said_by_all = (
        "modeltune: FOLDER/history.db cannot be opened "
        f"(Permission denied: FOLDER/history.db); {ADVICE}"
    )
    output = as_nobody(folder, lambda: main(["history", "--store", f"sqlite:///{history}"]))
    assert output == f"{said_by_all}\n1"
    output = as_nobody(folder, lambda: main(["doctor", "--store", f"sqlite:///{history}"]))
    assert output == f"{said_by_all.replace('modeltune: ', 'WRONG  ')}\n1 thing is wrong\n1"


@TRACED
def test_a_full_disk_gets_no_first_history(tmp_path: Path) -> None:
    def make() -> object:
        without_space()
        try:
            return open_store(f"sqlite:///{tmp_path}/history.db")
        except HistoryError as error:
            return error

    status, words = in_child(make)
    assert status == 0
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/history.db: database or disk is full \(\d+ bytes free\); "
        "free some space, then run again",
        words,
    )
    assert os.listdir(tmp_path) == []
