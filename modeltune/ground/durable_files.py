"""Files that are there whole or not at all, and that a power loss does not take away."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from modeltune.ground.bounded_files import open_own


def write_durably(
    path: Path, draft: Path, write: Callable[[Path], object], *, is_new: bool = False
) -> None:
    """Write a file so that it exists whole and on disk, or not at all.

    Args:
        path: the file; its folder exists.
        draft: the name it has while it is written, in the same folder. Nothing has this name
            afterwards, unless the process is killed.
        write: called with ``draft``; what it raises passes through.
        is_new: refuse to replace a file that is there.

    Raises:
        FileExistsError: something has the name, and ``is_new`` was asked for; it is left as it is.
        OSError: the file cannot be written.
    """
    write_files_durably({path: draft}, lambda: write(draft), is_new=is_new)


def write_files_durably(
    drafts: Mapping[Path, Path], write: Callable[[], object], *, is_new: bool = False
) -> None:
    """Write files of one folder together: none has its name before all are whole and on disk.

    They get their names in order; what interrupts that leaves the first of them.

    Args:
        drafts: by file, the name it has while it is written; the folder exists.
        write: writes every draft; what it raises passes through.
        is_new: as for ``write_durably``.

    Raises:
        FileExistsError: as for ``write_durably``.
        OSError: a file cannot be written.
    """
    for draft in drafts.values():
        # What was put there, such as a link, is not written through.
        draft.unlink(missing_ok=True)
    try:
        write()
        for draft in drafts.values():
            sync_file(draft)
        for path, draft in drafts.items():
            if is_new:
                give_name(draft, path)
            else:
                draft.rename(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    sync_folder(next(iter(drafts)).parent)


def give_name(draft: Path, path: Path) -> None:
    """Rename a file to a name that nothing has yet; ``draft`` may still be there afterwards.

    Raises:
        FileExistsError: something has the name; it is left as it is.
    """
    try:
        # Unlike a rename, a link fails when there is a file.
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: who makes the file may replace it, and nobody else.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            draft.rename(path)
        except BaseException:
            path.unlink()
            raise


def append_durably(path: Path, text: str) -> None:
    """Add text at the end of a file, which is made if it is not there, and keep both on disk.

    Several processes may do so at once: each text is added whole, after those of the others.

    Raises:
        OSError: it cannot be written, or is something else than a regular file, such as a link.
    """
    with open_own(path, appends=True) as file:
        file.write(text.encode())
        flush_to_disk(file)
    sync_folder(path.parent)


def flush_to_disk(file: IO[Any]) -> None:
    """Keep on disk what was written to an open file."""
    file.flush()
    os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Keep the content of a file on disk, whoever has written it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Keep on disk which names the folder holds: of new files, renamed and removed ones."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make the folder and its parents, durably; a new ``.modeltune`` is hidden from git."""
    try:
        folder.mkdir()
    except FileNotFoundError:
        make_folder(folder.parent)
        make_folder(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        if folder.name == ".modeltune":
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        sync_folder(folder.parent)
