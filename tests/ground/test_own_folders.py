"""Only a folder with our mark is removed, only inside its parent, and nothing that a link leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeltune.ground.own_folders import (
    MARK,
    irregular_in,
    is_marked,
    mark_folder,
    refuse_link,
    remove_file,
    remove_marked,
)


def filled(folder: Path, *, is_ours: bool = True) -> Path:
    """Return a folder with a file and a folder in it."""
    (folder / "sub" / "deep").mkdir(parents=True)
    for name in ("file", "sub/file", "sub/deep/file"):
        (folder / name).write_text(name)
    if is_ours:
        mark_folder(folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_marked_folder_goes_with_all_it_holds(tmp_path: Path) -> None:
    assert remove_marked(filled(tmp_path / "ours"))
    assert names(tmp_path) == set()
    assert remove_marked(tmp_path / "ours")


def test_two_processes_may_mark_a_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def late(name: str, *, dir_fd: int | None = None) -> None:
        """Remove a file; before the process goes on, another one marks the folder."""
        monkeypatch.undo()
        try:
            unlink(name, dir_fd=dir_fd)
        finally:
            mark_folder(tmp_path)

    monkeypatch.setattr(os, "unlink", late)
    mark_folder(tmp_path)
    assert os.unlink is unlink
    assert is_marked(tmp_path)


@pytest.mark.parametrize("mark", [None, "", "modeltune", "link", "folder"])
def test_a_folder_without_our_mark_stays_whole(tmp_path: Path, mark: str | None) -> None:
    folder = filled(tmp_path / "mine", is_ours=False)
    if mark == "link":
        (folder / MARK).symlink_to(filled(tmp_path / "ours") / MARK)
    elif mark == "folder":
        (folder / MARK).mkdir()
    elif mark is not None:
        (folder / MARK).write_text(mark)
    before = names(tmp_path)
    assert not remove_marked(folder)
    assert not is_marked(folder)
    assert names(tmp_path) == before


def test_a_link_is_no_folder_of_ours_whatever_it_leads_to(tmp_path: Path) -> None:
    """Nor is what lies in a link: the store ends there."""
    filled(tmp_path / "elsewhere" / "ours")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "ours")
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    assert not remove_marked(tmp_path / "link")
    assert not is_marked(tmp_path / "link")
    assert not remove_marked(tmp_path / "scratch" / "ours")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        remove_file(tmp_path / "scratch" / "ours" / ".." / "ours" / "file" / "..")
    with pytest.raises(OSError, match=r"it is a link to .*elsewhere, and nothing is written"):
        refuse_link(tmp_path / "scratch")
    assert names(tmp_path) == before


def test_links_in_a_folder_of_ours_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    mine, ours = filled(tmp_path / "mine", is_ours=False), filled(tmp_path / "ours")
    (ours / "link").symlink_to(mine)
    (ours / "sub" / "deep" / "link").symlink_to(mine / "file")
    assert irregular_in(ours) in (ours / "link", ours / "sub" / "deep" / "link")
    before = names(mine)
    assert remove_marked(ours)
    assert names(mine) == before
    assert names(tmp_path) == {"mine", *(f"mine/{name}" for name in before)}


@pytest.mark.parametrize("replacement", ["a link", "a folder", "a link in its parent's place"])
def test_what_takes_the_place_of_a_folder_while_it_is_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacement: str
) -> None:
    scratch = tmp_path / "scratch"
    mine, ours, listdir = filled(tmp_path / "mine" / "ours"), filled(scratch / "ours"), os.listdir
    before = names(mine)

    def replaced(folder: int) -> list[str]:
        if replacement == "a link":
            ours.rename(tmp_path / "moved")
            ours.symlink_to(mine)
        elif replacement == "a folder":
            ours.rename(tmp_path / "moved")
            mine.rename(ours)
        else:
            scratch.rename(tmp_path / "moved")
            scratch.symlink_to(mine.parent)
        monkeypatch.setattr(os, "listdir", listdir)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", replaced)
    try:
        remove_marked(ours)
    except OSError:
        assert replacement != "a link in its parent's place"
    assert names(ours) == before
    # Only the folder that was ours when it was looked at is empty, or gone.
    assert names(tmp_path / "moved") == set()


def test_a_file_is_removed_from_a_real_folder_and_a_link_as_itself(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "file").write_text("ours")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        remove_file(tmp_path / "folder" / "mine")
    for name in ("file", "link", "gone", "nowhere/file"):
        remove_file(tmp_path / name)
    assert names(tmp_path) == {"mine", "folder"}
