"""A spec's address, ``model_specs/spec_digits.py::mlp``: the path of its file from the project's root, and its item."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path, PurePath

_ITEM = re.compile(r"::(?=[^\W\d]\w*(?:\[|$))")
"""What is between path and item: an item is a Python name, which parameters in brackets may follow."""


def split_address(address: str) -> tuple[str, str]:
    """Return the path and the item of an address; the item is empty when it has none."""
    parts = _ITEM.split(address, maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else (address, "")


def address_by_name(address: str) -> str:
    """Return an address as runs were recorded before it had a folder: ``spec_digits.py::mlp``."""
    path, item = split_address(address)
    return f"{path.rpartition('/')[2]}::{item}" if item else address


@functools.lru_cache(maxsize=4096)
def root_of_file(file: str, otherwise: Path | None = None) -> Path:
    """Return the folder that the paths of specs start from: the root of the project of a spec file.

    It is the outermost folder with a pyproject.toml inside the git repository, so that two
    packages of one repository have different addresses in a history that they share. Without any
    it is the repository, else ``otherwise``, else the working directory if the file is in it, and
    else the file's own folder.
    """
    place = Path(os.path.abspath(file))
    root = None
    for folder in place.parents:
        if (folder / "pyproject.toml").is_file():
            root = folder
        if (folder / ".git").exists():
            root = root or folder
            break
    here = Path.cwd()
    return root or otherwise or (here if here in place.parents else place.parent)


def root_here() -> Path:
    """Return the folder that the addresses of specs in the working directory start from."""
    return root_of_file(str(Path.cwd() / "spec.py"))


def path_in_project(file: str, root: Path) -> str:
    """Return the path of a file from a folder, with slashes on every system."""
    return PurePath(os.path.relpath(file, root)).as_posix()
