"""Find the file behind a module or an import, and tell a user's own file from an installed one."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from modeltune.ground import PACKAGE

_FOLDERS_OF_OTHERS = {
    PACKAGE,
    Path(os.__file__).parent,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")),
}


def is_installed(path: Path) -> bool:
    """Tell a file of Python, of an installed package or of modeltune from a user's own file."""
    return bool({"site-packages", "dist-packages"} & {*path.parts}) or any(
        folder in path.parents for folder in _FOLDERS_OF_OTHERS
    )


def module_file(name: str) -> Path | str | None:
    """Return the file of a loaded module.

    For a module that is installed, return the name of its package instead; None for a module
    that is not loaded or has no file.
    """
    namespace = module_globals(sys.modules.get(name))
    file = namespace.get("__file__")
    if not namespace or (name in ("__main__", "__mp_main__") and not file):
        return None
    if file is None and "__path__" in namespace:
        return None  # a folder without __init__.py
    if isinstance(file, str) and file.endswith(".py") and not is_installed(Path(file)):
        return Path(file)
    return name.partition(".")[0]


def imported_file(path: Path, name: str, level: int) -> Path | str | None:
    """Return what ``module_file`` returns for a module that a file imports, loaded or not.

    Args:
        path: the file with the import statement.
        name: the module's name as the statement has it.
        level: the number of leading dots of a relative import; 0 for an absolute one.
    """
    if level:
        folder = path.parents[level - 1] if level <= len(path.parents) else path.parent
        return _python_file(folder.joinpath(*filter(None, name.split("."))))
    if (loaded := module_file(name)) is not None:
        return loaded
    top, *children = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for depth, _ in enumerate(children, 2):
            locations = spec and spec.submodule_search_locations
            if spec is None or not locations:
                return None
            if spec.origin and is_installed(Path(spec.origin)):
                return top
            spec = PathFinder.find_spec(".".join(name.split(".")[:depth]), locations)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file if file.suffix == ".py" and not is_installed(file) else top


def python_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, sorted, without hidden folders and environments."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and not (Path(root, name, "pyvenv.cfg").is_file())
        )
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))


def module_globals(module: object) -> dict[str, Any]:
    """Return a module's globals without loading it; ``vars(module)`` would load a lazy module."""
    try:
        namespace: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return namespace


def _python_file(place: Path) -> Path | None:
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)
