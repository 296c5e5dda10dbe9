"""Temporary files of a process are made where they are removed with it, and nothing else changes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from modeltune.ground.own_folders import mark_folder
from modeltune.harness.executors.tempfile_internals import (
    PREPARE,
    lend_temporary_folder,
    make_temporary_files_in,
)


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this process; what the test changes is changed back."""
    folder = tmp_path / "usual"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(tempfile, PREPARE, getattr(tempfile, PREPARE))
    return folder


def test_what_tempfile_makes_goes_with_the_folder(usual: Path) -> None:
    with lend_temporary_folder() as folder:
        assert folder is not None
        make_temporary_files_in(folder)
        made = [Path(tempfile.mkdtemp()), Path(tempfile.mkstemp(suffix=".txt")[1])]
        made.append(Path(tempfile.mkdtemp(suffix=b"").decode()))
        (made[0] / "file").write_text("left behind")
        assert {path.parent for path in made} == {folder}
        assert folder.parent == usual
    assert [*usual.iterdir()] == []


def test_a_folder_that_code_names_is_the_one_it_gets(usual: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with lend_temporary_folder() as folder:
        make_temporary_files_in(folder)
        assert tempfile.gettempdir() == str(usual)
        assert Path(tempfile.mkdtemp(dir=usual)).parent == usual
        assert Path(tempfile.mkdtemp(dir=own)).parent == own
        tempfile.tempdir = str(own)
        assert Path(tempfile.mkdtemp()).parent == own


def test_files_are_made_as_usual_where_there_is_no_folder(usual: Path) -> None:
    make_temporary_files_in(None)
    assert Path(tempfile.mkdtemp()).parent == usual
    with lend_temporary_folder() as folder:
        make_temporary_files_in(folder)
    # Somebody has tidied up.
    assert Path(tempfile.mkdtemp()).parent == usual


def test_where_nothing_can_be_written_no_folder_is_lent(usual: Path) -> None:
    usual.rmdir()
    usual.touch()
    with lend_temporary_folder() as folder:
        assert folder is None


def test_what_a_killed_run_left_goes_with_the_next(usual: Path) -> None:
    left, others = usual / "modeltune-left", usual / "modeltune-selftest"
    for folder in (left, others):
        folder.mkdir()
    (left / "lock").touch()
    mark_folder(left)
    with lend_temporary_folder():
        assert not left.exists()
    assert others.exists()
