"""The door of a package: its public names, each loaded from its module on first use."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def door(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package (PEP 562).

    Importing a package must cost next to nothing, because the pytest plugin does it in every
    pytest run: a module is imported when one of its names is first used. Until then ``dir`` does
    not list the name. What walks over the attributes of every module, as freezegun does while
    it replaces ``datetime``, would import pandas at the worst moment.

    Args:
        package: the package's ``__name__``.
        names: public names by the module of the package that has them. A module that is public
            itself stands under ``"."``.

    Raises:
        ValueError: a name stands under two modules.
    """
    counts = Counter(name for listed in names.values() for name in listed)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"{package} lists {', '.join(twice)} twice")
    homes = {name: module for module, listed in names.items() for name in listed}

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == ".":
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted(name for name in homes if is_loaded(name))

    def is_loaded(name: str) -> bool:
        if name in vars(sys.modules[package]):
            return True
        home = sys.modules.get(f"{package}.{homes[name]}")
        return home is not None and name in dir(home)

    return load, listed


def later(package: str, name: str) -> Any:
    """Return a public name of one of our packages, which may be above the one that asks.

    What a value shows of itself in a notebook is rendered by packages that are built upon it: it
    asks for them by name when it is shown.
    """
    return getattr(importlib.import_module(f"modeltune.{package}"), name)
