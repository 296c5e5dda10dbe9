"""Bind heavy modules lazily while spec files are imported, so that collecting them costs nothing.

Python's own ``importlib.util.LazyLoader`` leaves the unloaded module in ``sys.modules``, where
``import keras.layers`` and libraries asking ``"numpy" in sys.modules`` trip over it. Here the
import *statement* is answered instead (``builtins.__import__``): a stand-in goes to the importer
and nowhere else, so what is in ``sys.modules`` is always real.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import PurePath
from types import ModuleType, SimpleNamespace
from typing import Any

HEAVY = (
    "tensorflow",
    "keras",
    "keras_tuner",
    "numpy",
    "pandas",
    "sqlalchemy",
    "sklearn",
    "scipy",
    "matplotlib",
    "torch",
    "jax",
)

_loading: ContextVar[bool] = ContextVar("_loading", default=False)
"""True in a thread while it loads a heavy module: nothing that module imports is lazy."""

_REAL = "<the real module>"
"""The key under which a stand-in keeps its module: no identifier, as numpy has a ``real``."""

_PROBES = ("pytest", "_pytest", "_mock_name", "_is_coroutine", "patchings")
"""Beginnings of the names that pytest and unittest.mock look up on every module attribute."""

_LOADING_DUNDERS = frozenset(
    {
        "__all__",
        "__version__",
        "__internal__",
        "__operators__",
        "__config__",
    }
)
"""Dunders that people type (``tf.__internal__``); all others are looked up by collectors."""


@contextmanager
def lazily(names: Collection[str] = HEAVY) -> Iterator[None]:
    """Give stand-ins to ``import keras`` and ``from keras import layers`` inside the context.

    A stand-in loads its module at the first attribute access, also long after the context. A name
    that is already imported, not installed, or imported by an installed package (anything in
    ``site-packages``) gets the ordinary import, and so does every other form of statement, such
    as ``import keras.layers`` or ``from keras import Model``.
    """
    ordinary_import = builtins.__import__
    stand_ins: dict[str, StandIn] = {}

    def import_lazily(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        __tracebackhide__ = True  # pytest shows the user's statement, not this frame
        package, _, submodule = name.partition(".")
        if level or package not in names or _loading.get():
            return ordinary_import(name, globals, locals, fromlist, level)
        if not submodule and package not in sys.modules and _is_statement(globals, fromlist):
            wanted = [f"{package}.{child}" for child in fromlist or ()] or [package]
            for missing in [wish for wish in wanted if wish not in stand_ins]:
                if (spec := _find(missing)) is not None:
                    stand_ins[missing] = StandIn(spec)
            if stand_ins.keys() >= {*wanted}:
                if not fromlist:
                    return stand_ins[package]
                # The statement takes its names off this object and drops it.
                return SimpleNamespace(
                    **{child: stand_ins[f"{package}.{child}"] for child in fromlist}
                )
        loaded_before = len(sys.modules)
        with _really():
            module = ordinary_import(name, globals, locals, fromlist, level)
        if len(sys.modules) > loaded_before:
            _rebind()
        return module

    builtins.__import__ = import_lazily
    try:
        yield
    finally:
        builtins.__import__ = ordinary_import


class StandIn(ModuleType):
    """An installed module that is not loaded yet; forwards to the real one from first use on."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        vars(self).update(__spec__=spec, __loader__=spec.loader, __package__=spec.parent)
        # Where a module is, what looks at every name of a file may ask, and it is known.
        vars(self).update(__file__=spec.origin)
        if spec.submodule_search_locations is not None:
            vars(self).update(__path__=list(spec.submodule_search_locations))

    def __getattr__(self, name: str) -> Any:
        if _REAL not in vars(self) and _is_probe(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_load(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_load(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_load(self), name)

    def __dir__(self) -> list[str]:
        return dir(_load(self))

    def __reduce__(self) -> tuple[object, ...]:
        # A function that refers to a stand-in travels to another process as one by name.
        return importlib.import_module, (self.__name__,)

    def __repr__(self) -> str:
        return f"<lazy module {self.__name__!r}>"


def _is_probe(name: str) -> bool:
    """Tell a name that collectors look up on every object: it is no reason to load the module."""
    is_dunder = name.startswith("__") and name.endswith("__")
    return name.startswith(_PROBES) or (is_dunder and name not in _LOADING_DUNDERS)


def _load(stand_in: StandIn) -> Any:
    """Return the module that the import statement would have bound, and bind it in place of the stand-in."""
    if _REAL not in vars(stand_in):
        _resolve(stand_in)
        _rebind()
    return vars(stand_in)[_REAL]


def _resolve(stand_in: StandIn) -> Any:
    name = stand_in.__name__
    package, _, child = name.rpartition(".")
    with _really():
        # As ``from package import child`` does: the attribute first, which the package may have set.
        real = getattr(importlib.import_module(package), child, None) if package else None
        if real is None:
            real = importlib.import_module(name)
    vars(stand_in).update({_REAL: real, "__doc__": real.__doc__})
    return real


@contextmanager
def _really() -> Iterator[None]:
    """Make every import in this thread an ordinary one."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


def _rebind() -> None:
    """Replace the stand-ins of loaded modules in the globals of all modules."""
    if _loading.get():
        return  # What is half loaded now is bound when the outermost load is complete.
    for module in list(sys.modules.values()):
        if not issubclass(type(module), ModuleType):
            continue
        # vars(module) would set off other people's lazy modules.
        namespace: dict[str, Any] = object.__getattribute__(module, "__dict__")
        if StandIn not in map(type, list(namespace.values())):
            continue
        for name, value in list(namespace.items()):
            if type(value) is StandIn and (_REAL in vars(value) or value.__name__ in sys.modules):
                namespace[name] = _resolve(value)


def _find(name: str) -> ModuleSpec | None:
    """Return the spec of a regular module on the path, or None; imports nothing."""
    package = name.rpartition(".")[0]
    if not package:
        spec = PathFinder.find_spec(name)
    elif (parent := _find(package)) is None or parent.submodule_search_locations is None:
        return None
    else:
        spec = PathFinder.find_spec(name, parent.submodule_search_locations)
    # A folder that merely has the name (origin None) is left to the ordinary import.
    return spec if spec is not None and spec.origin is not None else None


def _is_statement(globals: Mapping[str, object] | None, fromlist: object) -> bool:
    """Tell an import statement in a user's file from a call, and from one in an installed package.

    ``__import__(name)`` and C code look into ``sys.modules`` afterwards; packages may decide by
    whether an import fails. Both get the real thing. A statement passes its globals, and None or
    a tuple of names.
    """
    if globals is None or not (fromlist is None or isinstance(fromlist, tuple)):
        return False
    file = globals.get("__file__")
    return not (
        isinstance(file, str) and {"site-packages", "dist-packages"} & {*PurePath(file).parts}
    )
