"""What a spec is made of: fingerprints of its text and of the code behind it."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from modeltune.declarations import typed
from modeltune.specs import Spec


def fingerprints(spec: Spec) -> dict[str, str]:
    """Return a sha256 of the spec as typed and of the source of its model and data functions."""
    texts = {"spec": repr(spec)}
    for name, code in (("source", spec.model), ("data_source", spec.data)):
        defined = code if inspect.isroutine(code) else type(code)
        try:
            texts[name] = inspect.getsource(defined)
        except (OSError, TypeError):
            texts[name] = repr(defined)
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def identity(spec: Spec) -> dict[str, str]:
    """Return what a search depends on besides its data, in parts a user can be told of.

    Finished trials are only taken over when all of it is the same, so the code is taken
    widely: every Python file beside the spec, and those its module has imported from.
    """
    return {
        "search": typed(spec.search),
        "fit": typed(spec.fit),
        "code": _digest(b"".join(path.read_bytes() for path in _code(spec))),
        **{f"the version of {name}": metadata.version(name) for name in ("keras", "tensorflow")},
    }


def _code(spec: Spec) -> list[Path]:
    found = set(_python_files(Path(spec.file).parent))
    module = sys.modules.get(spec.module)
    for value in vars(module).values() if module else ():
        origin = getattr(value, "__module__", None) or getattr(value, "__name__", None)
        file = getattr(sys.modules.get(str(origin)), "__file__", None)
        if file and file.endswith(".py") and not _INSTALLED & set(Path(file).parts):
            found.add(Path(file))
    return sorted(path for path in found if path.is_file())


_INSTALLED = {"site-packages", "dist-packages", Path(os.__file__).parent.name}
"""Folders of code that is not the user's: its versions say enough."""


def _python_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in _INSTALLED]
        yield from (Path(root, name) for name in files if name.endswith(".py"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
