"""Read a Python file as far as a search depends on it: its statements and the names they bind."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, TypeGuard

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

HARMLESS = {
    "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "fixture",
    "lru_cache", "override", "property", "spec", "staticmethod", "total_ordering", "wraps",
}  # fmt: skip
"""Decorators that only change what they decorate. Any other decorator, ``register`` above all,
may also store the function or class somewhere, and it then has an effect without being named."""


@dataclass(frozen=True, eq=False)
class SourceFile:
    """The statements of a file, without docstrings, gates, validations and the main guard.

    ``bindings`` maps each global name to the indices of the statements that bind it; ``stars``
    are the indices of the ``from ... import *``. A file that is not valid Python has no
    statements, and the digest of its bytes in ``broken``.
    """

    statements: list[ast.stmt]
    bindings: dict[str, list[int]]
    stars: list[int]
    broken: str = ""

    # What follows is the same for every spec of the file, so it is found once: a file may hold hundreds.

    @functools.cached_property
    def functions(self) -> Mapping[int, Sequence[Function]]:
        """The functions and lambdas of the file by the line on which each begins."""
        by_line: dict[int, list[Function]] = {}
        for statement in self.statements:
            for node in ast.walk(statement):
                if isinstance(node, Function):
                    by_line.setdefault(_first_line(node), []).append(node)
        return by_line

    @functools.cached_property
    def acting(self) -> Sequence[int]:
        """The statements that do more when they are imported than bind names, or may do."""
        return [
            index
            for index, statement in enumerate(self.statements)
            if (
                is_known_elsewhere(statement)
                if isinstance(statement, DEFINITIONS)
                else has_effect(statement)
            )
        ]

    @functools.cached_property
    def imports(self) -> Sequence[ast.Import | ast.ImportFrom]:
        """The imports in the other statements, except in definitions."""
        acting = {*self.acting}
        return [
            node
            for index, statement in enumerate(self.statements)
            if index not in acting and not isinstance(statement, DEFINITIONS)
            for node in ast.walk(statement)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]


def parse_file(path: Path) -> SourceFile:
    """Return what a file holds now; a file that cannot be read holds nothing."""
    try:
        status = path.stat()
        return _parse_file(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return SourceFile([], {}, [])


@functools.lru_cache(maxsize=256)
def _parse_file(path: Path, modified: int, size: int) -> SourceFile:
    data = path.read_bytes()
    try:
        tree = _Cleaner().visit(ast.parse(data))
    except (SyntaxError, ValueError, RecursionError):
        return SourceFile([], {}, [], hashlib.sha256(data).hexdigest())
    statements: list[ast.stmt] = [s for s in tree.body if not _is_main_guard(s)]
    bindings: dict[str, list[int]] = {}
    stars = []
    for index, statement in enumerate(statements):
        for name in _bound_names(statement):
            bindings.setdefault(name, []).append(index)
            if name == "*":
                stars.append(index)
    return SourceFile(statements, bindings, stars)


class _Cleaner(ast.NodeTransformer):
    """Removes docstrings, and the gates and validations of specs: no search depends on them."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if dotted_name(node.func)[-1] in ("spec", "with_fields"):
            node.keywords = [k for k in node.keywords if k.arg not in ("gates", "validation")]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list) and body:
                kept = [statement for statement in body if not _is_text(statement)]
                setattr(node, field, kept or [ast.copy_location(ast.Pass(), body[0])])
        return node


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_main_guard(statement: ast.stmt) -> bool:
    """Tell ``if __name__ == "__main__":``, which neither pytest nor a trial's process runs."""
    return (
        isinstance(statement, ast.If)
        and ast.unparse(statement.test).replace("'", '"') == '__name__ == "__main__"'
        and not statement.orelse
    )


# The functions of a file, and the names that code uses


def functions_of(path: Path, code: CodeType) -> list[Function]:
    """Return the functions in a file that may have compiled to this code.

    That is one function, or all lambdas with the same arguments on the same line.
    """
    functions = []
    for node in parse_file(path).functions.get(code.co_firstlineno, ()):
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        count = code.co_argcount + code.co_kwonlyargcount
        if name == code.co_name and tuple(a.arg for a in arguments) == code.co_varnames[:count]:
            functions.append(node)
    return functions


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]
    return min(lines)


def global_names(node: ast.stmt | ast.Lambda) -> set[str]:
    """Return the global names that a statement or function loads, by Python's own scoping."""
    body: ast.stmt = ast.Expr(node) if isinstance(node, ast.Lambda) else node
    module = ast.fix_missing_locations(ast.Module([body], []))
    try:
        code = compile(module, "<part>", "exec", flags=annotations.compiler_flag, dont_inherit=True)
    except (SyntaxError, ValueError):
        # Python does not compile it on its own. Take every name in it, local ones too.
        return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return loaded_names(code)


def loaded_names(code: CodeType) -> set[str]:
    """Return the global names that compiled code loads, its inner functions included."""
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT"))
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*map(loaded_names, inner))


def _bound_names(statement: ast.stmt) -> set[str]:
    """Return the global names that a top-level statement binds."""
    names: set[str] = set()
    for node in _outside_functions(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                names.add(name)
            case _ if type(node).__name__ == "TypeAlias":
                names.add(node.name.id)
    for node in ast.walk(statement):
        if isinstance(node, ast.Global):
            names |= {*node.names}
    return names


def _outside_functions(statement: ast.AST) -> Iterator[Any]:
    """Yield the nodes of a statement that are not inside a function or class."""
    yield statement
    if isinstance(statement, (*DEFINITIONS, ast.Lambda)):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _outside_functions(child)


# What a top-level statement does when its file is imported


def has_effect(statement: ast.stmt) -> bool:
    """Tell a top-level statement that does more than bind names, such as a call."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    names = _bound_names(statement)
    if not names or names == {"_"}:
        return not isinstance(statement, ast.Pass)
    return any(
        isinstance(node, ast.Expr | ast.Delete)
        or (isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store))
        for node in _outside_functions(statement)
    )


def is_known_elsewhere(definition: Any) -> bool:
    """Tell a definition that has an effect without being named: a hook, autouse, registered."""
    if definition.name.startswith("pytest_"):
        return True
    for decorator in definition.decorator_list:
        names = decorator_names(decorator)
        is_autouse = any(k.arg == "autouse" for k in getattr(decorator, "keywords", ()))
        if "mark" not in names[:-1] and (names[-1] not in HARMLESS or is_autouse):
            return True
    return False


def is_fixture(statement: ast.stmt, name: str) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Tell the definition of the pytest fixture of this name."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    for decorator in statement.decorator_list:
        if decorator_names(decorator)[-1] == "fixture":
            names = [
                getattr(keyword.value, "value", None)
                for keyword in getattr(decorator, "keywords", ())
                if keyword.arg == "name"
            ]
            return (names or [statement.name])[0] == name
    return False


def decorator_names(decorator: ast.expr) -> list[str]:
    """Return the dotted name of a decorator, with or without a call: ["pytest", "fixture"]."""
    return dotted_name(decorator.func if isinstance(decorator, ast.Call) else decorator)


def dotted_name(node: ast.expr) -> list[str]:
    """Return the parts of a name: ["mt", "spec"] of mt.spec; "" for a part that is no name."""
    if isinstance(node, ast.Attribute):
        return [*dotted_name(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else [""]
