"""Where ``tempfile`` makes files in a process of a run: in a folder that goes with the run.

TensorFlow's autograph, Keras, Hypothesis and users' code remove their temporary files when their
process exits. A process of a run never exits: it is killed, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeltune.ground import HistoryError
from modeltune.harness.executors.lent_folders import lend_folder

PREPARE = "_sanitize_params"
"""What ``tempfile`` calls the function that chooses the folder of a file without one."""


@contextlib.contextmanager
def lend_temporary_folder() -> Iterator[Path | None]:
    """Lend a folder for the temporary files of processes, and remove it after their end.

    It lies in this process's own, as the path of a socket in it may have about a hundred bytes
    only. None where that cannot be written: files then stay where they are made.
    """
    with contextlib.ExitStack() as stack:
        try:
            usual = Path(tempfile.gettempdir()).resolve()  # on macOS /tmp is a link
            folder = stack.enter_context(lend_folder(usual, "modeltune"))
        except (HistoryError, OSError):
            yield None
            return
        yield folder


def make_temporary_files_in(folder: Path | None) -> None:
    """Have ``tempfile`` make files here from now on, unless it is told a folder.

    ``tempfile.gettempdir()`` stays what it is: code may expect files there that others have made.
    Nothing changes with None, or where this version of Python has another name by now.
    """
    prepare = getattr(tempfile, PREPARE, None)
    if folder is None or prepare is None:
        return
    usual = tempfile.gettempdir()

    def prepare_in_folder(prefix: Any, suffix: Any, dir: Any) -> Any:
        *names, chosen, kind = prepare(prefix, suffix, dir)
        is_usual = dir is None and os.fsdecode(chosen) == usual
        if is_usual and folder.is_dir():
            chosen = os.fsencode(folder) if kind is bytes else str(folder)
        return *names, chosen, kind

    setattr(tempfile, PREPARE, prepare_in_folder)
