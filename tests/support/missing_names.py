"""Libraries that lack private names, as a newer version of them might."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from modeltune.engine.internals import (
    keras_internals,
    keras_tuner_internals,
    names,
    tensorflow_internals,
)
from modeltune.engine.internals.names import Name

LIBRARIES = (
    keras_internals.KERAS,
    tensorflow_internals.TENSORFLOW,
    keras_tuner_internals.KERAS_TUNER,
)


@contextlib.contextmanager
def lacking(*missing: Name) -> Iterator[None]:
    """Have libraries lack these names for us; they go on using them themselves."""
    original = names.private
    gone = {name.name for name in missing}

    libraries = {
        library.package.replace("-", "_")
        for library in LIBRARIES
        if set(missing) & {*library.names}
    }
    others = {library.package.replace("-", "_") for library in LIBRARIES} - libraries

    def private(owner: Any, name: str) -> Any:
        kind = owner if hasattr(owner, "__module__") else type(owner)
        package = str(getattr(kind, "__module__", "")).partition(".")[0]
        # Two libraries may have a name of the same spelling.
        if name in gone and package not in others:
            raise AttributeError(name)
        return original(owner, name)

    with pytest.MonkeyPatch.context() as patch:
        for module in (names, keras_internals, tensorflow_internals, keras_tuner_internals):
            patch.setattr(module, "private", private)
        for library in LIBRARIES:
            patch.setitem(vars(library), "_reasons", {})
        # keras-tuner would call another method than the one overridden here.
        for hooks in (keras_tuner_internals.ReadHooks, keras_tuner_internals.ProposalHooks):
            for method in gone & vars(hooks).keys():
                patch.delattr(hooks, method)
        yield
