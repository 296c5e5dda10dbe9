"""Find the files that code imports by a name made when it runs, as ``import_module(f"nets.{name}")``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import re
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeltune.ground import first_names
from modeltune.specs.identity.module_files import imported_file, python_files
from modeltune.specs.identity.source_files import dotted_name, parse_file

UNKNOWN = "\0"
"""What stands in a text for a part of it that nothing tells before the code runs."""

MOST_TEXTS = 64
"""How many values of a name are told apart; with more of them it is ``UNKNOWN``."""

FILES_NAMED = 3
"""How many files an assumption names."""

_MODULE, _PATH, _CODE, _NAMES = "module", "path", "code", "names"

_LOADERS: Mapping[str, tuple[str, int]] = {
    "import_module": (_MODULE, 0),
    "__import__": (_MODULE, 0),
    "run_module": (_MODULE, 0),
    "run_path": (_PATH, 0),
    "spec_from_file_location": (_PATH, 1),
    "SourceFileLoader": (_PATH, 1),
    "exec": (_CODE, 0),
    "eval": (_CODE, 0),
    "globals": (_NAMES, 0),
}
"""Functions that reach code no name leads to: what they take, and which argument says it."""

_ALIASES: Mapping[int, str] = {
    id(importlib.import_module): "import_module",
    id(importlib.util.spec_from_file_location): "spec_from_file_location",
    id(runpy.run_path): "run_path",
    id(runpy.run_module): "run_module",
    id(exec): "exec",
    id(eval): "eval",
}

_HOMES = ("importlib", "importlib.util", "importlib.machinery", "runpy", "builtins")
"""Modules that have such functions: what is taken from them by a text may be one."""

_OF_PYTEST = ("spec_*.py", "test_*.py", "*_test.py", "conftest.py")


@dataclass(frozen=True)
class Reach:
    """What a call may import or run: files whole, modules by name, or code that is typed there.

    ``assumption`` says what was taken as reached where the call does not tell, and why.
    """

    files: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()
    code: ast.Module | None = None
    assumption: str | None = None


def reached(path: Path, node: ast.AST, namespace: Mapping[str, Any]) -> Iterator[Reach]:
    """Yield what the calls in a node reach that import or run code by a text.

    Args:
        path: the file of the node.
        node: a statement or lambda at the top of that file.
        namespace: the globals of the file's module; empty where it is not loaded.
    """
    calls = {id(call.func): call for call in ast.walk(node) if isinstance(call, ast.Call)}
    texts: _Texts | None = None
    for inner in ast.walk(node):
        name = _loader(inner, namespace)
        if not name:
            continue
        texts = texts or _Texts(node, namespace)
        call = calls.get(id(inner))
        names = {name} if isinstance(name, str) else texts.of(name)
        for kind, position in sorted({_LOADERS[each] for each in names & _LOADERS.keys()}):
            argument = None if call is None else _argument(call, position)
            if kind == _NAMES:
                yield Reach(files=(path,))
            elif kind == _CODE:
                yield _code(path, inner if call is None else call, argument, texts)
            else:
                values = {UNKNOWN} if argument is None else texts.of(argument)
                yield from _values(path, inner if call is None else call, kind, values)
        if any(UNKNOWN in each for each in names):
            yield from _values(path, inner if call is None else call, _MODULE, {UNKNOWN})


def _loader(node: ast.AST, namespace: Mapping[str, Any]) -> str | ast.expr:
    """Return the name of a function that a node may be, or what says its name; "" when it is none."""
    match node:
        case ast.Attribute(attr=name, ctx=ast.Load()):
            # "eval" is also a method of many objects, and "exec" of cursors.
            return name if name in _LOADERS and name not in ("exec", "eval", "globals") else ""
        case ast.Name(id=name, ctx=ast.Load()):
            name = _ALIASES.get(id(namespace.get(name)), name)
            return name if name in _LOADERS else ""
        case (
            ast.Call(func=ast.Name(id="getattr"), args=[module, member, *_])
            | ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars"), args=[module])
                | ast.Attribute(value=module, attr="__dict__"),
                slice=member,
            )
        ):
            first, *more = dotted_name(module)
            home = ".".join([getattr(namespace.get(first), "__name__", first), *more])
            return member if home in _HOMES else ""
    return ""


def _argument(call: ast.Call, position: int) -> ast.expr | None:
    if position < len(call.args):
        return call.args[position]
    keywords = ("name", "mod_name", "path_name", "location", "path")
    return next((k.value for k in call.keywords if k.arg in keywords[position * 3 :]), None)


def _code(path: Path, call: ast.AST, argument: ast.expr | None, texts: _Texts) -> Reach:
    """Return the code that exec or eval is given; where it is no text, all of the file's own."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        try:
            return Reach(code=ast.parse(argument.value.strip()))
        except (SyntaxError, ValueError):
            return Reach(files=(path,))
    named = [
        file
        for inner in ast.walk(call)
        if isinstance(inner, ast.Constant) and str(inner.value).endswith(".py")
        for file in (path.parent / str(inner.value),)
        if file.is_file()
    ]
    others = f" and {', '.join(file.name for file in named)}" if named else ""
    return Reach(
        files=(path, *named),
        assumption=f"{_at(path, call)} may run anything; assumed: all of {path.name}{others}, "
        "and nothing else",
    )


def _values(path: Path, call: ast.AST, kind: str, values: set[str]) -> Iterator[Reach]:
    for value in sorted(values):
        if UNKNOWN not in value:
            if kind == _MODULE:
                yield Reach(modules=(value,))
            elif (file := path.parent / value).is_file():
                yield Reach(files=(file.resolve(),))
            continue
        top = value.lstrip(".").partition(".")[0]
        is_known = "." in value.lstrip(".") and UNKNOWN not in top and kind == _MODULE
        home = imported_file(path, top, 0) if is_known and not value.startswith(".") else None
        if isinstance(home, str):
            yield Reach(modules=(top,))  # of an installed package
            continue
        files = _matching(path, value, kind, home)
        if files or value.strip("." + UNKNOWN) == "":
            names = first_names([file.name for file in files], FILES_NAMED)
            yield Reach(
                files=files,
                assumption=f"{_at(path, call)} names what it imports only when it runs; assumed: "
                + (f"each of {names}" if files else "no file of yours"),
            )


def _matching(path: Path, value: str, kind: str, home: Path | None) -> tuple[Path, ...]:
    """Return the files that a text with unknown parts may name, by their path or as modules."""
    pattern = re.compile(
        "".join(".*" if part == UNKNOWN else re.escape(part) for part in value.lstrip("."))
    )
    names_any = value.strip("." + UNKNOWN + "/").removesuffix(".py") == ""
    tops = [path.parent]
    while (tops[-1] / "__init__.py").is_file():
        tops.append(tops[-1].parent)
    if home is not None:
        tops.append(home.parent.parent)
    folders = [path.parent] if home is None else [path.parent, home.parent]
    found: dict[Path, None] = {}
    for folder in folders:
        for file in python_files(folder):
            if file == path or (names_any and _is_of_pytest(file)):
                continue
            for top in tops:
                if not file.is_relative_to(top):
                    continue
                relative = file.relative_to(top)
                module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
                names = (relative.as_posix(), file.as_posix()) if kind == _PATH else (module,)
                if any(map(pattern.fullmatch, names)):
                    found[file] = None
    return tuple(sorted(found))


def _is_of_pytest(file: Path) -> bool:
    """Tell a file that pytest imports, and no program: a spec file above all, whatever its name."""
    if any(file.match(pattern) for pattern in _OF_PYTEST):
        return True
    return any(
        isinstance(node, ast.Call)
        and dotted_name(node.func) in (["mt", "spec"], ["modeltune", "spec"])
        for statement in parse_file(file).statements
        for decorator in getattr(statement, "decorator_list", ())
        for node in ast.walk(decorator)
    )


def _at(path: Path, node: Any) -> str:
    text = " ".join(ast.unparse(node).split())
    return f"{path.name}:{node.lineno}: {text if len(text) <= 80 else text[:77] + '...'}"


class _Texts:
    """The texts that expressions of a node may stand for, as far as they can be read."""

    def __init__(self, node: ast.AST, namespace: Mapping[str, Any]):
        self._namespace = namespace
        self._bound: dict[str, list[tuple[ast.expr | None, bool]]] = {}
        for inner in ast.walk(node):
            match inner:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind(target, value)
                case (
                    ast.AnnAssign(target=target, value=value)
                    | ast.NamedExpr(target=target, value=value)
                ):
                    self._bind(target, value)
                case ast.AugAssign(target=target):
                    self._bind(target, None)
                case (
                    ast.For(target=target, iter=values)
                    | ast.comprehension(target=target, iter=values)
                ):
                    self._bind(target, values, is_member=True)
                case ast.arg(arg=name):
                    self._bound.setdefault(name, []).append((None, False))

    def _bind(self, target: ast.expr, value: ast.expr | None, is_member: bool = False) -> None:
        if isinstance(target, ast.Name):
            self._bound.setdefault(target.id, []).append((value, is_member))
            return
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name):
                self._bound.setdefault(inner.id, []).append((None, False))

    def of(self, node: ast.expr | None, depth: int = 0) -> set[str]:
        """Return the texts of an expression, with ``UNKNOWN`` for what cannot be read."""
        texts = self._of(node, depth) if node is not None and depth < 8 else {UNKNOWN}
        return texts if 0 < len(texts) <= MOST_TEXTS else {UNKNOWN}

    def _of(self, node: ast.expr, depth: int) -> set[str]:
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr(values=values):
                return self._joined(list(values), depth)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self.of(value, depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], depth)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined([left, ast.Constant("/"), right], depth)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
                return {re.sub(r"%[#0 +-]*\d*(?:\.\d+)?[a-zA-Z]", UNKNOWN, text)}
            case ast.IfExp(body=one, orelse=other):
                return self.of(one, depth + 1) | self.of(other, depth + 1)
            case ast.Call():
                return self._called(node, depth)
            case ast.Name(id=name):
                return self._named(name, depth)
            case ast.Attribute(value=value, attr="parent"):
                return self._folders(value, depth)
            case ast.Subscript(value=value):
                return self._members(value, depth)
        return {UNKNOWN}

    def _joined(self, parts: list[ast.expr], depth: int) -> set[str]:
        choices = [sorted(self.of(part, depth + 1)) for part in parts]
        joined: set[str] = set()
        for texts in itertools.product(*choices):
            joined.add("".join(texts))
            if len(joined) > MOST_TEXTS:
                # What every text has in common is still known: its fixed parts.
                known = [texts[0] if len(texts) == 1 else UNKNOWN for texts in choices]
                return {"".join(known)}
        return joined

    def _called(self, call: ast.Call, depth: int) -> set[str]:
        name = dotted_name(call.func)[-1]
        if name == "Choice":  # of hyperparameters
            values = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "values")]
            return self._members(values[0], depth) if values else {UNKNOWN}
        if name == "format" and isinstance(call.func, ast.Attribute):
            return {
                re.sub(r"\{[^{}]*\}", UNKNOWN, text) for text in self.of(call.func.value, depth + 1)
            }
        if name in ("str", "Path", "fspath") and len(call.args) == 1:
            return self.of(call.args[0], depth + 1)
        if name in ("join", "Path", "joinpath") and len(call.args) > 1:
            parts = [part for argument in call.args for part in (ast.Constant("/"), argument)][1:]
            return self._joined(parts, depth)
        if name in ("resolve", "absolute") and isinstance(call.func, ast.Attribute):
            return self.of(call.func.value, depth + 1)
        if name in ("abspath", "realpath") and call.args:
            return self.of(call.args[0], depth + 1)
        if name == "dirname" and call.args:
            return self._folders(call.args[0], depth)
        is_bare = not call.args and not call.keywords
        if is_bare and name in ("lower", "upper", "strip") and isinstance(call.func, ast.Attribute):
            return {getattr(text, name)() for text in self.of(call.func.value, depth + 1)}
        return {UNKNOWN}

    def _folders(self, node: ast.expr, depth: int) -> set[str]:
        return {
            UNKNOWN if UNKNOWN in text else str(Path(text).parent)
            for text in self.of(node, depth + 1)
        }

    def _named(self, name: str, depth: int) -> set[str]:
        if name in self._bound:
            texts: set[str] = set()
            for value, is_member in self._bound[name]:
                read = self._members if is_member else self.of
                texts |= {UNKNOWN} if value is None else read(value, depth + 1)
            return texts
        value = self._namespace.get(name)
        return {value} if isinstance(value, str) else {UNKNOWN}

    def _members(self, node: ast.expr, depth: int) -> set[str]:
        """Return the texts that a list, a dict's keys or values, or a global of them holds."""
        match node:
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return set().union(*(self.of(element, depth + 1) for element in elements))
            case ast.Dict(keys=keys, values=values):
                both = [part for part in (*keys, *values) if part is not None]
                return set().union(*(self.of(part, depth + 1) for part in both))
            case ast.Name(id=name) if name in self._bound:
                bound = [value for value, is_member in self._bound[name] if not is_member]
                if None not in bound and bound and depth < 8:
                    return set().union(
                        *(self._members(value, depth + 1) for value in bound if value is not None)
                    )
            case ast.Name(id=name):
                value = self._namespace.get(name)
                if isinstance(value, dict):
                    value = [*value, *value.values()]
                if isinstance(value, list | tuple | set | frozenset) and len(value) <= MOST_TEXTS:
                    texts = {item for item in value if isinstance(item, str)}
                    return texts or {UNKNOWN}
        return {UNKNOWN}
