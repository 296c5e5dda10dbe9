"""A file is there whole or not at all, and on disk before anybody is told that it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modeltune.ground.durable_files import (
    append_durably,
    give_name,
    make_folder,
    write_durably,
    write_files_durably,
)
from tests.support.traced import TRACED, every_kill

NEW = b"new" * 1000


def write(path: Path) -> None:
    """Write what is to be kept."""
    path.write_bytes(NEW)


def names(folder: Path) -> list[str]:
    """Return all files below the folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is asked of the disk, in order."""
    calls: list[str] = []
    fsync, rename, link = os.fsync, os.rename, os.link

    def watched_fsync(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"
        calls.append(f"fsync {kind}")
        fsync(descriptor)

    def watched(call: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def naming(source: Path, target: Path) -> None:
            calls.append(call.__name__)
            call(source, target)

        return naming

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched(rename))
    monkeypatch.setattr(os, "link", watched(link))
    return calls


@pytest.mark.parametrize(("is_new", "naming"), [(False, "rename"), (True, "link")])
def test_it_is_on_disk_before_its_name_and_the_name_before_we_return(
    tmp_path: Path, calls: list[str], is_new: bool, naming: str
) -> None:
    write_durably(tmp_path / "file", tmp_path / "draft", write, is_new=is_new)
    assert calls == ["fsync file", naming, "fsync folder"]
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == NEW


def test_files_written_together_get_their_names_once_all_are_on_disk(
    tmp_path: Path, calls: list[str]
) -> None:
    drafts = {tmp_path / name: tmp_path / f"{name}.draft" for name in ("one", "two")}
    write_files_durably(drafts, lambda: [write(draft) for draft in drafts.values()])
    assert calls == ["fsync file"] * 2 + ["rename"] * 2 + ["fsync folder"]
    assert names(tmp_path) == ["one", "two"]


def test_of_files_written_together_none_is_left_when_one_fails(tmp_path: Path) -> None:
    drafts = {tmp_path / name: tmp_path / f"{name}.draft" for name in ("one", "two")}

    def fail() -> None:
        write(tmp_path / "one.draft")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_files_durably(drafts, fail)
    assert names(tmp_path) == []


def test_a_file_is_replaced_unless_it_has_to_be_new(tmp_path: Path) -> None:
    path, draft = tmp_path / "file", tmp_path / "draft"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_durably(path, draft, write, is_new=True)
    assert path.read_bytes() == b"old"
    write_durably(path, draft, write)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [RuntimeError("no space in h5py"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_what_was_there_and_is_heard(
    tmp_path: Path, failure: BaseException
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise failure

    with pytest.raises(type(failure)):
        write_durably(tmp_path / "file", tmp_path / "draft", fail)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@TRACED
def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", set()

    def replace() -> str:
        write_durably(path, tmp_path / "draft", write)
        return "written"

    path.write_bytes(b"old")
    for acknowledged in every_kill(replace, "write", "fsync", "rename"):
        contents.add(content := path.read_bytes())
        assert content == NEW or not acknowledged
        path.write_bytes(b"old")
    assert contents == {b"old", NEW}


def test_text_is_added_to_the_end_and_is_on_disk_before_we_return(
    tmp_path: Path, calls: list[str]
) -> None:
    append_durably(tmp_path / "file", "one\n")
    append_durably(tmp_path / "file", "two\n")
    assert (tmp_path / "file").read_text() == "one\ntwo\n"
    assert calls == ["fsync file", "fsync folder"] * 2


def test_text_that_another_process_adds_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    class Late(str):
        """A text; when it is written, another process is quicker."""

        def encode(self, *_: str) -> bytes:
            append_durably(tmp_path / "file", "another\n")
            return super().encode()

    append_durably(tmp_path / "file", Late("one\n"))
    assert (tmp_path / "file").read_text() == "another\none\n"


def test_without_hard_links_the_second_does_not_take_the_first_one_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for content in ("first", "second"):
        (tmp_path / content).write_text(content)
    give_name(tmp_path / "first", tmp_path / "file")
    with pytest.raises(FileExistsError):
        give_name(tmp_path / "second", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "first"


def test_only_a_new_modeltune_folder_is_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "old" / ".modeltune").mkdir(parents=True)
    for folder in ("old", "new"):
        make_folder(tmp_path / folder / ".modeltune" / "artifacts")
        make_folder(tmp_path / folder / ".modeltune" / "artifacts")
    assert names(tmp_path) == ["new/.modeltune/.gitignore"]
