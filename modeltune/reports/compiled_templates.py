"""Keep the compiled page templates as Python keeps compiled modules: in ``__pycache__`` beside their sources."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import final

import jinja2
from jinja2.bccache import Bucket


@final
class CompiledTemplates(jinja2.BytecodeCache):
    """Compiled templates, each as good as the source and the Jinja that it was compiled from.

    Compiling a page takes a tenth of a second. As with modules nothing is written under
    ``PYTHONDONTWRITEBYTECODE``, nor where the folder cannot be written, and all is written under
    ``PYTHONPYCACHEPREFIX``: who could put code there could put it into a module as well.

    Args:
        folder: where the templates are.
        options: what else of the environment decides what a template is compiled to.
    """

    def __init__(self, folder: Path, options: str):
        self._folder = folder
        self._options = options

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Return the name of a template and of all that decides what it is compiled to."""
        return f"{name}.{self._options}.jinja-{metadata.version('jinja2')}"

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read a compiled template; one of another source or version of Python is left alone."""
        with contextlib.suppress(OSError), open(self._path(bucket), "rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a compiled template, at once or not at all, so that no other process reads half of it."""
        if sys.dont_write_bytecode:
            return
        path = self._path(bucket)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            number, written = tempfile.mkstemp(dir=path.parent)
            try:
                with open(number, "wb") as file:
                    bucket.write_bytecode(file)
                os.replace(written, path)
            except BaseException:
                os.unlink(written)
                raise

    def _path(self, bucket: Bucket) -> Path:
        return Path(importlib.util.cache_from_source(str(self._folder / f"{bucket.key}.py")))
