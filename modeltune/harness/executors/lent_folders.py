"""Folders lent to processes, which go with whoever lends them, however that ends."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from modeltune.ground import (
    HistoryError,
    make_folder,
    mark_folder,
    open_own,
    open_regular,
    refuse_link,
    remove_marked,
    try_lock,
    wait_for_lock,
)


@contextlib.contextmanager
def lend_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """Lend a folder "PURPOSE-..." and remove it afterwards; remove also those that killed processes left.

    The folder is locked until this process ends, however it ends.

    Raises:
        HistoryError: it cannot be made.
    """
    try:
        make_folder(parent)
        refuse_link(parent)
        for left in parent.glob(f"{purpose}-*/lock"):
            with contextlib.suppress(OSError), open_regular(left, through_links=False) as lock:
                if try_lock(lock):
                    remove_marked(left.parent)
        made = Path(tempfile.mkdtemp(dir=parent))
        mark_folder(made)
    except OSError as error:
        raise HistoryError(
            f"{parent} cannot be written ({error}); make the folder writable, or name another "
            "--modeltune-store"
        ) from error
    folder = made.with_name(f"{purpose}-{made.name}")
    with open_own(made / "lock") as lock:
        wait_for_lock(lock)
        # Others see it under this name only when it is locked.
        made.rename(folder)
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                remove_marked(folder)
