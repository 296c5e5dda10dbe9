"""Find the layers a build function can use that were made outside it, and keep their names for them."""

from __future__ import annotations

import functools
import gc
import re
import sysconfig
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import keras

MOST_OBJECTS = 20_000
"""How many objects are looked at, at most: a HyperModel may hold anything."""

LARGEST_CONTAINER = 1_000
"""Containers of more members hold data, not layers."""

HIGHEST_NUMBER = 10_000
"""A name with a higher number is no automatic one."""

_LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)

_CACHED = type(functools.cache(repr))


def reserve_names(model: Any) -> None:
    """Have Keras count up its automatic names from those of the layers that a build can use.

    Without this, names counted from the beginning would be given twice in a model that is built
    upon a base made at module level, or in the constructor of a HyperModel.

    Args:
        model: the build function or HyperModel of a spec, right before it builds.
    """
    counts: dict[str, int] = {}
    for layer in outside_layers(model):
        for name in _names(layer):
            prefix, number = _split(name)
            if number <= HIGHEST_NUMBER:
                counts[prefix] = max(counts.get(prefix, 0), number + 1)
    for prefix, count in counts.items():
        while keras.backend.get_uid(prefix) < count:
            pass


def outside_layers(model: Any) -> Iterator[keras.layers.Layer]:
    """Yield the layers that code and attributes of a build function or HyperModel lead to.

    These are what functions have as globals, in closures and as defaults, what objects hold, and
    what a cached function has returned; in the author's files, not in libraries.
    """
    waiting = [model]
    known: dict[int, Any] = {}
    while waiting and len(known) < MOST_OBJECTS:
        value = waiting.pop()
        if id(value) in known or value is None or isinstance(value, str | bytes | int | float):
            continue
        known[id(value)] = value  # kept, so that no other object gets its id
        if isinstance(value, keras.layers.Layer):
            yield value
        else:
            waiting += _members(value)


def _members(value: Any) -> list[Any]:
    """Return what a value holds or uses, one level deep."""
    if isinstance(value, FunctionType):
        return [] if _is_of_library(value.__code__) else list(_used_by(value))
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, _CACHED):
        # What it has returned is found only as the garbage collector finds it.
        return [value.__wrapped__, *gc.get_referents(value)]
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if len(value) > LARGEST_CONTAINER:
            return []
        return list(value.values()) if isinstance(value, Mapping) else list(value)
    if isinstance(value, type):
        methods = [getattr(item, "__func__", item) for item in vars(value).values()]
        return [item for item in methods if isinstance(item, FunctionType | keras.layers.Layer)]
    # The class of functions that Cython compiled has a descriptor there.
    package = str(type(value).__module__).partition(".")[0]
    if isinstance(value, ModuleType) or package in _FOREIGN:
        return []
    if type(value).__name__ == "_lru_list_elem":
        return gc.get_referents(value)
    return [*getattr(value, "__dict__", {}).values(), *type(value).__mro__[:-1]]


_FOREIGN = {"builtins", "numpy", "pandas", "tensorflow", "keras", "sklearn", "scipy"}
"""Packages whose objects hold no layers of a user's, or are large."""


def _used_by(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    names = _names_in(function.__code__)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            # Its namespace, since an attribute would load a lazy module.
            namespace = object.__getattribute__(value, "__dict__")
            if not str(namespace.get("__file__") or _LIBRARIES[0]).startswith(_LIBRARIES):
                yield from (namespace[attribute] for attribute in names & namespace.keys())
        else:
            yield value


def _names_in(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _is_of_library(code: CodeType) -> bool:
    return code.co_filename.startswith(_LIBRARIES)


def _names(layer: Any) -> Iterator[str]:
    """Yield the names of a layer and of what it is made of, operations of a functional model too."""
    waiting, known = [layer], set()
    while waiting:
        part = waiting.pop()
        if id(part) in known:
            continue
        known.add(id(part))
        yield str(part.name)
        for kind in ("operations", "layers"):
            try:
                waiting += getattr(part, kind, ())
            except Exception:  # noqa: BLE001  a property of the user's
                continue


def _split(name: str) -> tuple[str, int]:
    """Return an automatic name's prefix and number: ("dense", 2) of dense_2, ("dense", 0) of dense."""
    match = re.fullmatch(r"(.+)_(\d{1,9})", name)
    return (match[1], int(match[2])) if match else (name, 0)
