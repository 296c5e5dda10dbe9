"""Turn what a spec is made of, functions included, into digests that are equal in every process."""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import inspect
import pickle
import secrets
from dataclasses import replace
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from modeltune.ground import error_text, is_cell
from modeltune.specs.identity.dependencies import Dependencies
from modeltune.specs.identity.module_files import is_installed, module_file
from modeltune.specs.identity.source_files import Function, functions_of, loaded_names, parse_file
from modeltune.specs.spec_type import Protocol, Spec

HELD = "what is held by "
"""How the name of a part begins that is made of values and not of code."""

UNCOMPARABLE = "not comparable: "
"""How a part begins that no other process can compare with its own."""

_PROCESS = secrets.token_hex(8)


def content(
    name: str, value: object, dependencies: Dependencies, model: object = None
) -> dict[str, str]:
    """Return a digest of the functions in a value and, if they hold values, one of these too.

    Args:
        name: the name of the first part; that of the second is ``HELD`` and this name.
        value: a function, an object or a list of them.
        dependencies: gets what the functions use.
        model: what a spec's decorator stands on, to be read without this decorator.
    """
    texts: list[str] = []
    sink = _Digest()
    try:
        _ContentPickler(sink, dependencies, texts, model).dump(value)
        held = sink.sha256.hexdigest()
    except Exception as error:  # noqa: BLE001 - a user's own __reduce__ may raise anything
        held = f"{UNCOMPARABLE}{error_text(error)} [{_PROCESS}]"
    parts = {name: digest("\n".join(texts))} if texts else {}
    members = value if isinstance(value, list) else [value]
    return parts if all(map(_holds_nothing, members)) else parts | {f"{HELD}{name}": held}


def digest(text: str) -> str:
    """Return the sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _holds_nothing(value: object) -> bool:
    return type(value) is FunctionType and not (
        value.__closure__ or value.__defaults__ or value.__kwdefaults__ or not _nodes(value)
    )


def _nodes(function: FunctionType) -> list[Function]:
    """Return the functions in a file that this one may be; none of a cell of a notebook.

    A cell is known by its code and by the globals it uses: what another cell has made of them, in
    whatever order cells were run, is what the function uses.
    """
    code = function.__code__
    if is_cell(function.__globals__, code.co_filename):
        return []
    return functions_of(Path(code.co_filename), code)


class _Digest:
    """A file that only keeps the sha256 of what is written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        self.sha256.update(data)
        return len(memoryview(data))


class _ContentPickler(pickle.Pickler):
    """Writes equal values as the same bytes in every process; nothing reads them back.

    For a function it writes what the function holds, for a user's class what the methods hold.
    The source of a function goes to ``texts``, what the source uses to ``dependencies``.
    """

    def __init__(
        self, file: _Digest, dependencies: Dependencies, texts: list[str], model: object = None
    ):
        super().__init__(file, protocol=5)
        # Without references to earlier objects: they tell an equal value from the same value.
        self.fast = True
        self._dependencies = dependencies
        self._texts = texts
        self._models = (model, inspect.unwrap(model)) if callable(model) else (model,)
        self._seen: dict[int, tuple[int, object]] = {}

    def persistent_id(self, value: Any) -> Any:
        """Return what to write in place of a value; None to have pickle write its content."""
        kind = type(value)
        if kind in (set, frozenset):
            return (kind.__name__, sorted(map(self._element, value)))
        if kind is CodeType:
            return _bytecode(value)
        if issubclass(kind, ModuleType):
            return self._module(value)
        if kind is Spec:
            return ("spec", value.protocol, value.model)
        if kind is Protocol:
            fit = replace(value.fit, tensorboard=False)
            return ("protocol", value.data, value.search, fit)
        if isinstance(value, _CACHED):
            return ("cached", value.__wrapped__)
        if fields := getattr(getattr(value, "dtype", None), "names", None):
            # Between the fields of a structured array, as of a decision tree, is whatever memory held.
            return ("fields", str(value.dtype), [(name, value[name].copy()) for name in fields])
        if not (issubclass(kind, type) or hasattr(value, "__dict__")):
            return None
        if id(value) in self._seen:
            return ("again", self._seen[id(value)][0])
        self._seen[id(value)] = len(self._seen), value
        if kind is FunctionType:
            return self._function(value)
        if kind is MethodType:
            return ("method", value.__func__, value.__self__)
        if str(getattr(kind.__reduce__, "__module__", "")).startswith("keras."):
            return self._keras_object(value)
        return self._class(value) if issubclass(kind, type) else None

    def _element(self, value: object) -> str:
        sink, texts = _Digest(), list[str]()
        _ContentPickler(sink, self._dependencies, texts).dump(value)
        return digest("\n".join([sink.sha256.hexdigest(), *texts]))

    def _module(self, module: Any) -> tuple[object, ...]:
        # Through object, for ``module.__name__`` would load a lazy module.
        name = object.__getattribute__(module, "__dict__")["__name__"]
        file = module_file(name)
        if isinstance(file, Path):
            self._dependencies.add_file(file)
            return ("module", name)
        return ("module", name.partition(".")[0])

    def _keras_object(self, value: Any) -> tuple[object, ...]:
        """Return the config and weights of an object of Keras, whose pickle contains the date."""
        if isinstance(module_file(type(value).__module__), str):
            weights = value.get_weights() if hasattr(value, "get_weights") else ()
            return ("keras", type(value), value.get_config(), weights)
        raise pickle.PicklingError(f"what a {type(value).__name__} holds is not known")

    def _function(self, function: FunctionType) -> tuple[object, ...]:
        path = Path(function.__code__.co_filename)
        cells = tuple(_cell(cell) for cell in function.__closure__ or ())
        if is_installed(path) and path.is_file():
            package = function.__module__.partition(".")[0]
            self._dependencies.packages.add(package)
            return ("function", _home(function, package), function.__qualname__, cells)
        nodes = _nodes(function)
        if not nodes:
            self._texts.append(self._element(_without_docstring(function)))
            used = _globals_used_by(function)
            self._dependencies.packages.update(filter(None, map(_installed, used.values())))
            return ("function", cells, _defaults(function), used)
        for node in nodes:
            if not isinstance(node, ast.Lambda) and (
                any(function is model for model in self._models)
                or self._dependencies.is_spec(path, node)
            ):
                node = self._dependencies.undecorated(path, node)
            self._dependencies.add_names_in(path, node)
            self._texts.append(ast.dump(node))
        is_inner = not any(node in parse_file(path).statements for node in nodes)
        return ("function", cells, is_inner and _defaults(function))

    def _class(self, kind: type) -> tuple[object, ...]:
        file, name = module_file(kind.__module__), kind.__qualname__.partition(".")[0]
        cells = [
            _cell(cell)
            for attribute in vars(kind).values()
            for cell in getattr(attribute, "__closure__", None) or ()
        ]
        # A class made by exec has the module "builtins" without being one of Python's.
        is_made_by_exec = kind.__module__ == "builtins" and vars(builtins).get(name) is not kind
        if isinstance(file, str) and not is_made_by_exec:
            self._dependencies.packages.add(file)
            return ("class", _home(kind, file), kind.__qualname__)
        if isinstance(file, Path) and name in parse_file(file).bindings:
            self._dependencies.add_name(file, name)
            return ("class", name, kind.__bases__, cells)
        inside = {
            key: _parts_of(item) for key, item in vars(kind).items() if key not in _OF_EVERY_CLASS
        }
        return ("class", kind.__qualname__, kind.__bases__, inside, cells)


_OF_EVERY_CLASS = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__",
}  # fmt: skip
"""Attributes that say nothing about what a class does."""

_CACHED = type(functools.cache(repr))


def _home(definition: type | FunctionType, package: str) -> str:
    """Return the module of an installed class or function, and for ours only ``modeltune``.

    Recorded runs must stay comparable when a class of ours moves to another module.
    """
    return package if package == "modeltune" else definition.__module__


def _parts_of(attribute: Any) -> object:
    """Return the functions a class attribute is made of, or the attribute itself."""
    if isinstance(attribute, property):
        return ("property", attribute.fget, attribute.fset, attribute.fdel)
    if isinstance(attribute, staticmethod | classmethod):
        return (type(attribute).__name__, attribute.__func__)
    return attribute


def _bytecode(code: CodeType) -> tuple[object, ...]:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return ("bytecode", code.co_code, code.co_exceptiontable, code.co_consts, names)


def _cell(cell: CellType) -> object:
    try:
        return ("cell", cell.cell_contents)
    except ValueError:
        return "empty cell"


def _defaults(function: FunctionType) -> tuple[object, ...]:
    return (function.__defaults__, function.__kwdefaults__)


def _without_docstring(function: FunctionType) -> CodeType:
    code = function.__code__
    if function.__doc__ is None or code.co_consts[:1] != (function.__doc__,):
        return code
    return code.replace(co_consts=(None, *code.co_consts[1:]))


def _installed(value: Any) -> str | None:
    """Return the installed package that a module, a class or a function comes from."""
    if issubclass(type(value), ModuleType):
        name = object.__getattribute__(value, "__dict__")["__name__"]
    else:
        name = getattr(value, "__module__", None) if isinstance(value, _NAMED) else None
    package = module_file(name) if isinstance(name, str) else None
    return package if isinstance(package, str) else None


_NAMED = (type, FunctionType)


def _globals_used_by(function: FunctionType) -> dict[str, object]:
    """Return the values of the globals that a function without a source file uses."""
    names = sorted(loaded_names(function.__code__))
    return {name: function.__globals__[name] for name in names if name in function.__globals__}
