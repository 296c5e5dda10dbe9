"""The notebook that code runs in: whether it is a cell of one, and which file the kernel knows it by."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeltune.ground.bounded_files import MEBIBYTE, read_json

NOTEBOOK = ".ipynb"

UNKNOWN_NOTEBOOK = "notebook"
"""What a notebook is called whose name nobody has told the kernel."""

MOST_NOTEBOOKS = 50
"""How many notebooks beside a kernel are looked into for the cell that runs."""

LARGEST_NOTEBOOK = 16 * MEBIBYTE
"""Bytes; what a larger one holds is pictures."""


def ipython() -> Any | None:
    """Return the shell of IPython or of a Jupyter kernel that this process is; None of others."""
    found = sys.modules.get("IPython")
    return found.get_ipython() if found is not None and hasattr(found, "get_ipython") else None


def kernel() -> Any | None:
    """Return the shell of a Jupyter kernel, whose output a notebook shows; None elsewhere."""
    shell = ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


def is_cell(namespace: Mapping[str, object], file: str) -> bool:
    """Tell code that was typed into IPython or a notebook from code that a file holds.

    Args:
        namespace: the globals of the code.
        file: its ``co_filename``: of a cell it changes with every edit.
    """
    shell = ipython()
    if shell is None or namespace is not shell.user_ns:
        return False
    # A debugger writes cells to the files that they are named after; %run -i runs real ones.
    is_cells = getattr(shell.compile, "format_code_name", lambda name: None)(file) is not None
    return is_cells or not os.path.isfile(file)


def notebook_file() -> Path:
    """Return the path of the notebook that runs in this kernel, by what the kernel was told.

    VS Code tells the file (``__vsc_ipynb_file__``); Jupyter tells the session's name when it starts a
    kernel (``JPY_SESSION_NAME``, IPython's ``__session__``), which a renamed notebook keeps. nbconvert
    and nbclient tell nothing: then it is the one notebook in the working directory that holds the cell
    that is running, as it is saved. Where that finds none, or several, it is called ``notebook``.
    """
    shell = ipython()
    told = {} if shell is None else shell.user_ns
    for name in (
        told.get("__vsc_ipynb_file__"),
        told.get("__session__"),
        os.environ.get("JPY_SESSION_NAME"),
    ):
        if isinstance(name, str) and (file := _named_file(name)) is not None:
            return file
    here = Path.cwd()
    return (shell and _running(here, id(shell))) or here / UNKNOWN_NOTEBOOK


def _named_file(name: str) -> Path | None:
    """Return the file of a session's name; None of a console, which has no file."""
    # The name may be a path on another machine, or have a drive's name before it: "RTC:digits.ipynb".
    last = re.split(r"[/\\:]", name)[-1]
    if not last.endswith(NOTEBOOK) and not os.path.isfile(name):
        return None
    return Path(name).absolute() if os.path.isfile(name) else Path.cwd() / last


@functools.cache
def _running(folder: Path, _shell: int) -> Path | None:
    """Return the one notebook here that holds the running cell; what was found first stays."""
    shell = ipython()
    history = getattr(shell, "history_manager", None)
    raw = history.input_hist_raw[-1].strip() if history and history.input_hist_raw else ""
    if not raw:
        return None
    files = sorted(folder.glob(f"*{NOTEBOOK}"))[: MOST_NOTEBOOKS + 1]
    if len(files) > MOST_NOTEBOOKS:
        return None
    found = [file for file in files if raw in _cells(file)]
    return found[0] if len(found) == 1 else None


def _cells(file: Path) -> Iterator[str]:
    """Yield the code of the cells of a notebook; nothing of a file that is none."""
    try:
        document = read_json(file, LARGEST_NOTEBOOK)
    except (OSError, ValueError):
        return
    cells = document.get("cells") if isinstance(document, dict) else None
    for cell in cells if isinstance(cells, list) else ():
        source = cell.get("source") if isinstance(cell, dict) else None
        if isinstance(source, list):
            source = "".join(map(str, source))
        if isinstance(source, str):
            yield source.strip()
