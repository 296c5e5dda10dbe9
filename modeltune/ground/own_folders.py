"""Folders that modeltune makes and removes again: known by a mark, and never left through a link.

Whoever restores or shares a store's folder may have put a link, or files of his own, anywhere in
it. Removals therefore go through open folders, which nobody can replace by a link meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from modeltune.ground.bounded_files import open_regular

MARK = ".modeltune-made-this"
"""The file in each such folder; it is the last to go."""

_MARK_TEXT = b"modeltune made this folder, and removes it with all it holds.\n"


def mark_folder(folder: Path) -> None:
    """Mark a folder as one that modeltune may remove with all it holds.

    Another process may mark it at the same time: then that one's mark counts.

    Raises:
        OSError: the mark cannot be written.
    """
    if is_marked(folder):
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with _opened(folder.parent) as parent, _opened(folder.name, parent) as here:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(MARK, dir_fd=here)
        try:
            descriptor = os.open(MARK, flags, 0o666, dir_fd=here)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MARK_TEXT)


def is_marked(folder: Path) -> bool:
    """Tell whether a folder, which is no link, is marked."""
    try:
        if folder.is_symlink():
            return False
        with open_regular(folder / MARK, through_links=False) as file:
            return file.read(len(_MARK_TEXT) + 1) == _MARK_TEXT
    except OSError:
        return False


def remove_marked(folder: Path) -> bool:
    """Remove a marked folder with all it holds; tell whether it is gone.

    A folder without the mark stays, as does one that is a link or lies in a link.

    Raises:
        OSError: a part of it cannot be removed; the mark is still there.
    """
    try:
        with _opened(folder.parent) as parent, _opened(folder.name, parent) as here:
            if not _has_mark(here):
                return False
            for name in os.listdir(here):
                if name != MARK:
                    _remove(name, here)
            os.unlink(MARK, dir_fd=here)
            # Only an empty folder, so nothing that has taken its name meanwhile.
            os.rmdir(folder.name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.lexists(folder)
    return True


def remove_file(path: Path) -> None:
    """Remove a file, or a link itself, whose folder is no link; one that is gone is no error.

    Raises:
        OSError: it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError), _opened(path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)


def refuse_link(folder: Path) -> None:
    """Refuse to write into a folder of a store that is a link: it leads out of the store.

    Raises:
        OSError: it is one.
    """
    if folder.is_symlink():
        target = os.readlink(folder)
        raise OSError(
            errno.ELOOP,
            f"it is a link to {target}, and nothing is written through links",
            str(folder),
        )


def irregular_in(folder: Path) -> Path | None:
    """Return a link, pipe or device anywhere in a folder, None when it has only files and folders."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            with contextlib.suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    return path
    return None


def _has_mark(folder: int) -> bool:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(MARK, flags, dir_fd=folder), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return is_file and file.read(len(_MARK_TEXT) + 1) == _MARK_TEXT
    except OSError:
        return False


def _remove(name: str, folder: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _opened(folder: Path | str, within: int | None = None) -> Iterator[int]:
    """Open a folder, which must be no link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    descriptor = os.open(folder, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
