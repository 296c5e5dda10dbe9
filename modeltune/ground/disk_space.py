"""Tell a full disk from other errors, and how much is free."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from modeltune.ground.text import message_of

_FULL = ("No space left on device", "Disk quota exceeded", "disk is full")
"""What libraries say whose errors carry no number: HDF5, TensorFlow, SQLite."""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or one that led to it, says that a disk is full."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if says_disk_full(message_of(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def says_disk_full(text: str) -> bool:
    """Tell whether the words of an error, as from another process, say that a disk is full."""
    return any(words in text for words in _FULL)


def free_space(folder: Path) -> str:
    """Return how much is free where a folder is or will be, such as " (4096 bytes free)"; else ""."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        return f" ({shutil.disk_usage(folder).free} bytes free)"
    except OSError:
        return ""
