"""What a search and a run depend on besides their data, in named parts that can be compared."""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import inspect
import os
import pickle
import secrets
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from modeltune.ground import project_root, typed
from modeltune.specs.datasets import Data
from modeltune.specs.reachability import (
    Reached,
    functions,
    is_installed,
    loaded_names,
    module_file,
    parsed,
)
from modeltune.specs.spec_type import Protocol, Spec, data_arguments

PREFIX = "identity/"
"""What the keys of a run's fingerprints begin with that hold the parts of its identity."""

GATES = "gates/"
"""What the keys begin with that hold what the functions in its gates do."""

VERSIONS = ("keras", "tensorflow", "keras-tuner", "numpy", "modeltune")

HELD = "what is held by "
"""How the name of a part begins that is made of values, not of code."""

UNCOMPARABLE = "not comparable: "
"""How a part begins that no other process can compare with its own."""

_PROCESS = secrets.token_hex(8)


def fingerprints(spec: Spec) -> dict[str, str]:
    """Return what a run record keeps of a spec: its text, its source, and the run's identity."""
    texts = {"spec": repr(spec)}
    for name, code in (("source", spec.model), ("data_source", spec.data)):
        defined = code if inspect.isroutine(code) else type(code)
        try:
            texts[name] = inspect.getsource(defined)
        except (OSError, TypeError):
            texts[name] = repr(defined)
    return {
        **{name: _digest(text) for name, text in texts.items()},
        **{f"{PREFIX}{name}": part for name, part in run_identity(spec).items()},
        **{f"{GATES}{name}": part for name, part in gates_identity(spec).items()},
    }


def run_identity(spec: Spec) -> dict[str, str]:
    """Return what scores and checks of a run depend on besides its data; its gates are not in it."""
    return search_identity(spec) | {
        "validation": typed(spec.validation),
        "checks": typed(spec.checks),
    }


def recorded_identity(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Return the ``run_identity`` among a run's fingerprints; nothing when it was not kept."""
    return {
        name.removeprefix(PREFIX): part
        for name, part in fingerprints.items()
        if name.startswith(PREFIX)
    }


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ, sorted."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def edited(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ although both processes import the same files.

    What functions hold is passed over: each process may have made it at random.
    """
    return [name for name in changed(here, there) if not name.startswith(HELD)]


def search_identity(spec: Spec) -> dict[str, str]:
    """Return what a search depends on besides its data, in parts a user can be told of.

    Finished trials are only taken over when all of it is the same. Of code, what the build
    function, the data function and the callbacks lead to by name counts, in the user's own
    files, as Python reads it: no comments, formatting or docstrings. What a file does when it is
    imported, besides binding names, counts in every file they come from. It is the same in
    every process, and computing it loads no module.

    What a function holds, in its closure or as an instance, is a part of its own. One that
    cannot be compared, such as a lock, begins with ``UNCOMPARABLE`` and differs in each process.

    Of one spec object it is found once: what was imported stays what it was when its file is
    edited later.
    """
    if spec not in _found:
        _found[spec] = _identity(spec)
    return dict(_found[spec])


_found: WeakKeyDictionary[Spec, dict[str, str]] = WeakKeyDictionary()


def gates_identity(spec: Spec) -> dict[str, str]:
    """Return what slices and behaviours in a spec's gates are made of, as ``search_identity`` does.

    Nothing when its gates have none.
    """
    asked = [part for gate in spec.gates for part in gate.asked]
    if not asked:
        return {}
    reached = Reached()
    parts = _content("the gates", asked, reached)
    return parts | {f"code of the gates ({p.name})": d for p, d in reached.digests().items()}


def _identity(spec: Spec) -> dict[str, str]:
    reached = Reached()
    home = Path(spec.file)
    parts = {
        "search": typed(spec.search),
        # Where curves are shown decides nothing.
        "fit": typed(replace(spec.fit, tensorboard=False)),
        **_content("the build function", spec.model, reached, model=spec.model),
        **_data(spec, home, reached),
        **_content("the callbacks", list(spec.fit.callbacks), reached),
    }
    if home.is_file():
        reached.enter(home)
        for conftest in _conftests(home):
            reached.enter(conftest)
    for path, digest in reached.digests().items():
        name = os.path.relpath(path, home.parent)
        parts[f"code in {name}" if path == home else f"imported code ({name})"] = digest
    return parts | _versions(reached.packages)


def _data(spec: Spec, home: Path, reached: Reached) -> dict[str, str]:
    if isinstance(spec.data, Data):
        # Its arrays have fingerprints; how a stream was made may stand anywhere in the file.
        reached.whole(home)
        return {}
    for name in data_arguments(spec.data):
        reached.fixture(name, [home, *_conftests(home)])
    return _content("the data function", spec.data, reached)


def _conftests(home: Path) -> list[Path]:
    """Return the conftest.py files in effect beside a spec file, the nearest first."""
    folder, root = home.absolute().parent, project_root(home.parent)
    folders = [folder, *folder.parents]
    return [
        found
        for place in folders[: folders.index(root) + 1]
        if (found := place / "conftest.py").is_file()
    ]


def _versions(packages: set[str]) -> dict[str, str]:
    minor = ".".join(map(str, sys.version_info[:2]))
    imported = {_distribution(name) for name in packages - sys.stdlib_module_names} - {None}
    return {
        "the version of python": minor,
        **{
            f"the version of {name}": _version(name)
            for name in sorted({*VERSIONS, *filter(None, imported)})
        },
    }


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _distribution(package: str) -> str | None:
    """Return what an installed package is called where it is installed from: scikit-learn."""
    known = {"sklearn": "scikit-learn", "keras_tuner": "keras-tuner", "PIL": "pillow"}
    name = known.get(package, package)
    if _version(name) != "not installed":
        return name
    return next(iter(metadata.packages_distributions().get(package, ())), None)


def _content(name: str, value: object, reached: Reached, model: object = None) -> dict[str, str]:
    """Return a digest of the functions in a value and, when they hold any values, one of these.

    What the functions use is reached. ``model`` is what a spec's decorator stands on.
    """
    texts: list[str] = []
    hashed = _Hashed()
    try:
        _Values(hashed, reached, texts, model).dump(value)
        held = hashed.digest.hexdigest()
    except Exception as error:  # noqa: BLE001 - a user's own __reduce__ may raise anything
        held = f"{UNCOMPARABLE}{type(error).__name__}: {error} [{_PROCESS}]"
    parts = {name: _digest("\n".join(texts))} if texts else {}
    members = value if isinstance(value, list) else [value]
    return parts if all(map(_holds_nothing, members)) else parts | {f"{HELD}{name}": held}


def _holds_nothing(value: object) -> bool:
    return type(value) is FunctionType and not (
        value.__closure__
        or value.__defaults__
        or value.__kwdefaults__
        or not functions(Path(value.__code__.co_filename), value.__code__)
    )


class _Hashed:
    """A file that only keeps the sha256 of what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        self.digest.update(data)
        return len(memoryview(data))


class _Values(pickle.Pickler):
    """Write values so that equal ones are the same bytes in every process; never to be read back.

    Of a function is written what it holds, of a class of the user's what its methods hold:
    what they say goes to ``texts``, or is reached.
    """

    def __init__(self, file: _Hashed, reached: Reached, texts: list[str], model: object = None):
        super().__init__(file, protocol=5)
        # No references to what came before: they tell equal values from the same value.
        self.fast = True
        self._reached = reached
        self._texts = texts
        self._models = (model, inspect.unwrap(model)) if callable(model) else (model,)
        self._seen: dict[int, tuple[int, object]] = {}

    def persistent_id(self, value: Any) -> Any:
        """Return what to write in place of a value; None for what pickle writes by content."""
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
            return self._keras(value)
        return self._class(value) if issubclass(kind, type) else None

    def _element(self, value: object) -> str:
        hashed, texts = _Hashed(), list[str]()
        _Values(hashed, self._reached, texts).dump(value)
        return _digest("\n".join([hashed.digest.hexdigest(), *texts]))

    def _module(self, module: Any) -> tuple[object, ...]:
        # Through object, for a lazy module would be loaded.
        name = object.__getattribute__(module, "__dict__")["__name__"]
        file = module_file(name)
        if isinstance(file, Path):
            self._reached.whole(file)
            return ("module", name)
        return ("module", name.partition(".")[0])

    def _keras(self, value: Any) -> tuple[object, ...]:
        """Return what Keras says an object of its own is made of: pickled, it has a date in it."""
        if isinstance(module_file(type(value).__module__), str):
            weights = value.get_weights() if hasattr(value, "get_weights") else ()
            return ("keras", type(value), value.get_config(), weights)
        raise pickle.PicklingError(f"what a {type(value).__name__} holds is not known")

    def _function(self, function: FunctionType) -> tuple[object, ...]:
        path, code = Path(function.__code__.co_filename), function.__code__
        cells = tuple(_cell(cell) for cell in function.__closure__ or ())
        if is_installed(path) and path.is_file():
            self._reached.packages.add(function.__module__.partition(".")[0])
            return ("function", function.__module__, function.__qualname__, cells)
        nodes = functions(path, code)
        if not nodes:
            self._texts.append(self._element(code))
            return ("function", cells, _defaults(function), _globals_of(function))
        for node in nodes:
            if not isinstance(node, ast.Lambda) and (
                any(function is model for model in self._models)
                or self._reached.is_spec(path, node)
            ):
                node = self._reached.undecorated(path, node)
            self._reached.uses(path, node)
            self._texts.append(ast.dump(node))
        is_inner = not any(node in parsed(path).statements for node in nodes)
        return ("function", cells, is_inner and _defaults(function))

    def _class(self, kind: type) -> tuple[object, ...]:
        file, name = module_file(kind.__module__), kind.__qualname__.partition(".")[0]
        cells = [
            _cell(cell)
            for attribute in vars(kind).values()
            for cell in getattr(attribute, "__closure__", None) or ()
        ]
        is_nobody_s = kind.__module__ == "builtins" and vars(builtins).get(name) is not kind
        if isinstance(file, str) and not is_nobody_s:
            self._reached.packages.add(file)
            # Of our own classes, the public name: a search outlives a move of modules.
            home = file if file == "modeltune" else kind.__module__
            return ("class", home, kind.__qualname__)
        if isinstance(file, Path) and name in parsed(file).bindings:
            self._reached.name(file, name)
            return ("class", name, kind.__bases__, cells)
        inside = {
            key: _parts(item) for key, item in vars(kind).items() if key not in _OF_EVERY_CLASS
        }
        return ("class", kind.__qualname__, kind.__bases__, inside, cells)


_OF_EVERY_CLASS = {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"}

_CACHED = type(functools.cache(repr))


def _parts(attribute: Any) -> object:
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


def _globals_of(function: FunctionType) -> dict[str, object]:
    """Return the values of the globals a function uses whose source is not to be had."""
    names = sorted(loaded_names(function.__code__))
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
