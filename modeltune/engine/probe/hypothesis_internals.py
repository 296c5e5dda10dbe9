"""All that we use of Hypothesis though it is not documented: where it keeps files."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from modeltune.ground import MissingNameError, private_name

HYPOTHESIS_NAMES = {
    "set folder": "set_hypothesis_home_dir",
    "folder": "__hypothesis_home_directory",
}
"""What ``hypothesis.configuration`` calls what we use, by our words for it."""


@contextlib.contextmanager
def files_elsewhere() -> Iterator[None]:
    """Have Hypothesis write its files to a folder that goes, not into the user's.

    Even without a database it keeps the constants of loaded modules in ``.hypothesis``. Where
    Hypothesis has other names by now it does that, see ``what_hypothesis_lacks``.
    """
    try:
        before, set_folder = _find("folder"), _find("set folder")
    except MissingNameError:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="modeltune-") as folder:
        set_folder(folder)
        try:
            yield
        finally:
            set_folder(before)


def what_hypothesis_lacks() -> str | None:
    """Return which name Hypothesis lacks and what follows, None when it has all or drew nothing."""
    if "hypothesis" not in sys.modules:
        return None
    try:
        for word in HYPOTHESIS_NAMES:
            _find(word)
    except MissingNameError as missing:
        return f"{missing}: it may have written into .hypothesis"
    return None


def _find(word: str) -> Any:
    from hypothesis import configuration

    return private_name("hypothesis", configuration, HYPOTHESIS_NAMES[word])
