"""A session that trained and cannot record says so, is red, and loses nothing: its runs wait."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.cli import main
from modeltune.ground.errors import HistoryError
from modeltune.histories.artifacts import verify
from modeltune.histories.pending import flush, read_pending, waiting
from modeltune.histories.store import open_store
from modeltune.records.tasks import Failure, TrialTask
from tests.support import scripted_runs
from tests.support.example import Example, scripted_source
from tests.support.scripted_runs import ALL, Script, scripting
from tests.support.traced import TRACED, in_child, without_space


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


def ruin(history: Path) -> None:
    history.rename(history.with_name("copy.db"))
    history.write_text("a letter, not a database " * 99)


def test_a_run_whose_history_is_lost_waits_and_its_session_is_red(
    scripted: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    history = scripted.path / ".modeltune" / "history.db"
    done = scripted.with_spec(scripted_source()).run_pytest(at_the_end=lambda: ruin(history))
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    (path,) = waiting(scripted.path / ".modeltune")
    run = read_pending(path).run
    assert run.passed
    assert (
        f"  note: run {run.id} of spec_a.py::scripted (passed) is not recorded, but waits in "
        f"{path}; to record it: modeltune flush"
    ) in done.lines
    assert any(
        line.startswith(f"{history}: file is not a database; restore") for line in done.lines
    )
    assert set(done.trained) == ALL

    shutil.move(history.with_name("copy.db"), history)
    capsys.readouterr()
    assert main(["flush"]) == 0
    assert capsys.readouterr() == (
        f"recorded: run {run.id} of spec_a.py::scripted (passed) in {history}\n",
        "",
    )
    with open_store(f"sqlite:///{history}") as store:
        assert repr(store.run("-1")) == repr(run)
        assert len(store.runs()) == 1
        for kept in (run.artifact, *run.files.values()):
            assert kept
            verify(store.folder, kept, run.id)


def test_what_was_trained_for_a_run_that_waits_is_not_trained_again_and_its_files_stay(
    scripted: Example,
) -> None:
    history = scripted.path / ".modeltune" / "history.db"
    scripted = scripted.with_spec(scripted_source())
    assert scripted.run_pytest(at_the_end=lambda: ruin(history)).exit_code == 1
    shutil.move(history.with_name("copy.db"), history)
    done = scripted.run_pytest()
    assert (done.exit_code, done.trained) == (0, ())
    (path,) = waiting(scripted.path / ".modeltune")
    run = read_pending(path).run
    assert run.artifact
    verify(scripted.path / ".modeltune", run.artifact, run.id)


def test_a_history_lost_before_judgement_leaves_the_search_to_go_on(scripted: Example) -> None:
    history = scripted.path / ".modeltune" / "history.db"
    scripted = scripted.with_spec(scripted_source().replace(">= 0.5", ">= mt.previous"))
    assert scripted.run_pytest(at_the_end=lambda: ruin(history)).exit_code == 1
    shutil.move(history.with_name("copy.db"), history)
    assert main(["flush", "--store", f"sqlite:///{history}"]) == 0
    done = scripted.run_pytest()
    assert (done.exit_code, done.trained) == (0, ())
    with open_store(f"sqlite:///{history}") as store:
        assert [run.status.value for run in store.runs()] == ["passed", "interrupted"]


def test_what_can_be_kept_nowhere_says_so_and_loses_no_training(scripted: Example) -> None:
    folder = scripted.path / ".modeltune"

    def lose() -> None:
        ruin(folder / "history.db")
        (folder / "pending").write_text("in the way")

    done = scripted.with_spec(scripted_source()).run_pytest(at_the_end=lose)
    assert done.exit_code == 1
    done.stdout.fnmatch_lines(["*is not recorded, and could not be kept to be recorded later: *"])
    assert (folder / "pending").read_text() == "in the way"
    assert list((folder / "scratch").glob("*/ledger.jsonl"))


def test_a_store_removed_while_it_is_used_is_said_and_what_was_trained_is_recorded(
    scripted: Example,
) -> None:
    store = scripted.path / ".modeltune"
    done = scripted.with_spec(scripted_source()).run_pytest(at_the_end=lambda: shutil.rmtree(store))
    assert done.exit_code == 1
    (folder,) = [
        line.partition(" was removed while a run used it")[0]
        for line in done.lines
        if line.startswith(str(store / "scratch")) and " was removed while a run used it" in line
    ]
    assert Path(folder).parent == store / "scratch"
    assert "Traceback" not in done.output
    (run,) = done.history
    assert run.status.value == "interrupted"
    assert len(run.trials) == 6
    assert scripted.run_pytest().exit_code == 0


@pytest.mark.parametrize("kind", ["trial", "refit"])
def test_a_disk_that_is_full_in_a_task_ends_the_run_which_resumes(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What HDF5 says when it cannot write weights or a state is no failure of a candidate."""
    perform = Script.perform

    def fail(script: Script, task: Any) -> Any:
        result = perform(script, task)
        if (kind == "trial") is isinstance(task, TrialTask):
            reason = "OSError: Can't write data (error message = 'No space left on device')"
            return replace(result, failure=Failure(reason))
        return result

    scripted = scripted.with_spec(scripted_source())
    with monkeypatch.context() as patched:
        patched.setattr(Script, "perform", fail)
        done = scripted.run_pytest()
    assert done.exit_code == 1
    (line,) = [line for line in done.lines if line.startswith("a disk is full: ")]
    assert re.search(r"'No space left on device'\); .*/scratch/\w+ \(\d+ bytes free\): free", line)
    (run,) = done.history
    assert run.status.value == "interrupted"
    # What failed is trained again, and nothing else.
    again = scripted.run_pytest()
    assert again.exit_code == 0
    assert len(again.trained) == (8 if kind == "trial" else 2)


@TRACED
@pytest.mark.usefixtures("script_is_loaded")
def test_a_full_disk_is_said_in_one_line_and_the_run_waits(tmp_path: Path, url: str) -> None:
    def trained() -> str:
        with scripting(tmp_path / "log", without_space):
            try:
                mt.run(scripted_runs.scripted, store=url, listen=lambda event: None)
            except HistoryError as error:
                return "\n".join([str(error), *error.__notes__])
        return "recorded"

    status, words = in_child(trained)
    assert status == 0
    problem, waits = words.splitlines()
    history = tmp_path / "history.db"
    assert re.fullmatch(
        rf"{re.escape(str(history))}: database or disk is full \(\d+ bytes free\); "
        "free some space, then run again",
        problem,
    )
    (path,) = waiting(tmp_path)
    assert f"(passed) is not recorded, but waits in {path}; to record it: modeltune flush" in waits
    with open_store(url) as store:
        assert store.runs() == []
    assert [is_sent for is_sent, _ in flush(url, is_named=True)] == [True]
