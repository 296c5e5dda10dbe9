"""Find the spec file of a recorded run: in this project, or in the folder that the user names.

A row may be of a stranger: it decides neither which file is imported nor where a baseline is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modeltune.ground import UNKNOWN_NOTEBOOK, HistoryError, project_root
from modeltune.records import Run, Summary
from modeltune.specs import split_address


def spec_file(run: Run | Summary, folder: str | None) -> Path:
    """Return the file of a run's spec: in the folder that was named, else in this project.

    Raises:
        HistoryError: there is none, or only one outside.
    """
    recorded = Path(run.file)
    if folder is None:
        root = project_root(Path.cwd())
        candidates = list(_in_project(recorded, root))
        remedy = "name its folder: --specs DIR"
    else:
        root = Path(folder).absolute()
        candidates = [root / recorded.name]
        remedy = "name another folder: --specs DIR"
    for file in candidates:
        # What is accepted of a notebook without a known name needs its folder only.
        is_there = file.is_file() if _exists(file) else recorded.name == UNKNOWN_NOTEBOOK
        if _is_inside(file, root) and is_there and file.parent.is_dir():
            return file
    outside = [file for file in (*candidates, recorded) if _exists(file)]
    if outside:
        raise HistoryError(
            f"{outside[0]!s:.300}, the file of {run.spec}, is not used: it lies outside {root}, or in a "
            f"hidden folder; {remedy}"
        )
    missing = candidates[0] if folder is not None else recorded
    raise HistoryError(
        f"{missing!s:.300}, the file of {run.spec}, does not exist; name its folder: --specs DIR"
    )


def spec_folder(run: Run | Summary) -> Path | None:
    """Return the folder of a run's spec file in this project, None when it is elsewhere."""
    root = project_root(Path.cwd())
    folders = (file.parent for file in _in_project(Path(run.file), root))
    return next(
        (folder for folder in folders if _is_inside(folder, root) and _exists(folder)), None
    )


def node_of(run: Run, file: Path) -> str:
    """Return what pytest is asked for: the file, which is absolute and so no option, and the item.

    Raises:
        HistoryError: the run's spec is no item, or pytest would read the path as one; or it is in a
            notebook.
    """
    if file.suffix != ".py":
        raise HistoryError(
            f"run {run.id}: {run.spec} is in a notebook, which pytest cannot import: run the notebook, "
            f"where mt.run(spec, rejudge={run.id!r}) judges it again; modeltune export {run.id} "
            "NAME.weights.h5 writes its weights"
        )
    name, bracket, parameters = split_address(run.spec)[1].partition("[")
    if not name.isidentifier() or (bracket and not parameters.endswith("]")):
        raise HistoryError(f"run {run.id}: {run.spec!r:.200} names no spec: write FILE.py::NAME")
    if "::" in str(file) or "[" in str(file):
        raise HistoryError(f"{file}: pytest takes no path with :: or [ in it; rename the folder")
    return f"{file}::{name}{bracket}{parameters}"


def _in_project(recorded: Path, root: Path) -> Iterator[Path]:
    """Yield where a recorded file may be: where the run says, or at the same place in this project."""
    if recorded.is_absolute():
        if recorded.is_relative_to(root):
            yield recorded
    else:
        yield root / recorded
    for start in range(1, len(recorded.parts)):
        file = root.joinpath(*recorded.parts[start:])
        if _exists(file):
            yield file


def _is_inside(path: Path, root: Path) -> bool:
    """Tell whether a path leads to a place in a folder, by no way out of it and no hidden folder.

    A hidden folder, such as ``.modeltune``, holds what was restored or downloaded, and no specs.
    """
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ("..",)
    if ".." in parts or any(part.startswith(".") for part in parts):
        return False
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):
        # A loop of links, or characters that no path has.
        return False


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):
        return False
