"""Which statements of a user's own files some code depends on, followed by name across imports."""

from __future__ import annotations

import ast
import copy
import dis
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType
from typing import Any, TypeGuard

from modeltune.ground import PACKAGE
from modeltune.specs.spec_type import Protocol, Spec

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

ANYTHING = {"exec", "eval", "globals", "__import__", "importlib", "import_module", "runpy"}
"""Names of what may run or import code that no name leads to."""

HARMLESS = {
    "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "fixture",
    "lru_cache", "override", "property", "spec", "staticmethod", "total_ordering", "wraps",
}  # fmt: skip
"""Decorators that do nothing but change what they decorate; others, above all ``register...``,
may make it known elsewhere, where no name leads to."""


class Reached:
    """The statements reached so far, by file, and the installed packages they import."""

    def __init__(self) -> None:
        self.packages: set[str] = set()
        self._texts: dict[Path, dict[tuple[int, str], str]] = {}
        self._entered: set[Path] = set()
        self._waiting: list[tuple[Path, ast.stmt]] = []
        self._fixtures: set[str] = set()
        self._namespaces: dict[str, dict[str, Any]] = {}

    def digests(self) -> dict[Path, str]:
        """Return a sha256 of what was reached in each file, the same whatever led there first."""
        while self._waiting:
            self.uses(*self._waiting.pop())
        return {
            path: hashlib.sha256("\n".join(text for _, text in sorted(texts.items())).encode())
            .hexdigest()
            for path, texts in sorted(self._texts.items())
            if texts
        }  # fmt: skip

    def enter(self, path: Path) -> None:
        """Reach what importing the file does besides binding names, also in what it imports."""
        if path in self._entered:
            return
        self._entered.add(path)
        folder = path.parent.parent if path.name == "__init__.py" else path.parent
        package = folder / "__init__.py"
        if package.is_file():
            self.enter(package)
        source = parsed(path)
        if source.broken:
            self._texts.setdefault(path, {})[0, ""] = source.broken
        for index, statement in enumerate(source.statements):
            if isinstance(statement, _DEFINITIONS):
                reaches = not self.is_spec(path, statement) and _is_known_elsewhere(statement)
            else:
                reaches = _has_effect(statement)
            if reaches:
                self._take(path, index)
            elif not isinstance(statement, _DEFINITIONS):
                for node in ast.walk(statement):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        self._enter_imported(path, node)

    def name(self, path: Path, name: str) -> None:
        """Reach whatever binds a global name of the file."""
        self.enter(path)
        source = parsed(path)
        for index in source.bindings.get(name, ()):
            statement = source.statements[index]
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    texts, text = self._texts.setdefault(path, {}), ast.dump(alias)
                    binds = (alias.asname or alias.name.partition(".")[0]) == name
                    if binds and (index, text) not in texts:
                        texts[index, text] = text
                        self._import(path, statement, alias)
            else:
                self._take(path, index)
        if name not in source.bindings:
            for index in source.stars:
                self._take(path, index)
            if "__getattr__" in source.bindings:
                self.whole(path)

    def whole(self, path: Path) -> None:
        """Reach every statement of the file."""
        self.enter(path)
        for index in range(len(parsed(path).statements)):
            self._take(path, index)

    def uses(self, path: Path, node: ast.stmt | ast.Lambda) -> None:
        """Reach every global name that a node of the file uses, also inside its functions."""
        self.enter(path)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                for alias in inner.names:
                    self._import(path, inner, alias)
        names = global_names(node)
        for name in names:
            self.name(path, name)
        if ANYTHING & names:
            for file in _python_files(path.parent):
                self.whole(file)

    def fixture(self, name: str, files: Sequence[Path]) -> None:
        """Reach a pytest fixture in the files, and the fixtures it asks for."""
        if name in self._fixtures:
            return
        self._fixtures.add(name)
        for path in files:
            for statement in parsed(path).statements:
                if _is_fixture(statement, name):
                    self.name(path, statement.name)
                    for argument in statement.args.args:
                        self.fixture(argument.arg, files)

    def undecorated(self, path: Path, definition: Any) -> Any:
        """Return a spec's definition without the protocol's decorator, and all that stand above it.

        What stands below is applied to the build function itself.
        """
        namespace = self._namespace(path)
        decorators = list(definition.decorator_list)
        kinds = [_decorator_kind(decorator, namespace) for decorator in decorators]
        if Protocol in kinds:
            below = len(kinds) - kinds[::-1].index(Protocol)
        else:
            # The topmost that is no mark: a function of the user's that makes a protocol.
            below = next((index + 1 for index, kind in enumerate(kinds) if kind is None), 0)
        bare = copy.copy(definition)
        kept = zip(decorators[below:], kinds[below:], strict=True)
        bare.decorator_list = [decorator for decorator, kind in kept if kind is None]
        return bare

    def is_spec(self, path: Path, definition: Any) -> bool:
        """Tell whether the name of a definition is bound to a spec."""
        return type(self._namespace(path).get(definition.name)) is Spec

    def _namespace(self, path: Path) -> dict[str, Any]:
        """Return the globals of a file that is loaded; of one that is not, none."""
        if not self._namespaces:
            for module in list(sys.modules.values()):
                namespace = _globals(module)
                self._namespaces.setdefault(str(namespace.get("__file__")), namespace)
        return self._namespaces.get(str(path), {})

    def _take(self, path: Path, index: int) -> None:
        texts = self._texts.setdefault(path, {})
        if (index, "") in texts:
            return
        statement = parsed(path).statements[index]
        if isinstance(statement, _DEFINITIONS) and self.is_spec(path, statement):
            statement = self.undecorated(path, statement)
        texts[index, ""] = ast.dump(statement)
        self._waiting.append((path, statement))

    def _import(self, path: Path, statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Reach what one name of an import statement stands for."""
        if isinstance(statement, ast.Import):
            parts = alias.name.split(".")
            for length in range(1, len(parts) + 1):
                if file := self._file(path, ".".join(parts[:length]), 0):
                    self.whole(file)
            return
        origin = statement.module or ""
        file = self._file(path, origin, statement.level)
        if alias.name == "*":
            if file:
                self.whole(file)
        elif file and alias.name in parsed(file).bindings:
            self.name(file, alias.name)
        elif submodule := self._file(path, f"{origin}.{alias.name}".strip("."), statement.level):
            self.whole(submodule)
        elif file:
            self.name(file, alias.name)

    def _enter_imported(self, path: Path, statement: ast.Import | ast.ImportFrom) -> None:
        """Enter the files of ours that an import statement runs, whether its names are used or not."""
        level = statement.level if isinstance(statement, ast.ImportFrom) else 0
        origin = (statement.module or "") if isinstance(statement, ast.ImportFrom) else ""
        names = [f"{origin}.{alias.name}".strip(".") for alias in statement.names]
        for name in (origin, *names) if origin else names:
            file = _file_of(path, name, level)
            if isinstance(file, Path):
                self.enter(file)
            elif file and origin:
                break  # what is imported from an installed package is installed

    def _file(self, path: Path, name: str, level: int) -> Path | None:
        """Return the user's own file of a module; note the package of an installed one."""
        found = _file_of(path, name, level)
        if isinstance(found, str):
            self.packages.add(found)
            return None
        return found


@dataclass(frozen=True, eq=False)
class Source:
    """A file as it counts: without docstrings, gates and validations; ``broken`` when it is no Python.

    ``bindings`` holds the numbers of the top-level statements that bind each global name.
    """

    statements: list[ast.stmt]
    bindings: dict[str, list[int]]
    stars: list[int]
    broken: str = ""


def parsed(path: Path) -> Source:
    """Return what a file holds today; an unreadable one holds nothing."""
    try:
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return Source([], {}, [])


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, modified: int, size: int) -> Source:
    data = path.read_bytes()
    try:
        tree = _Cleaned().visit(ast.parse(data))
    except (SyntaxError, ValueError, RecursionError):
        return Source([], {}, [], hashlib.sha256(data).hexdigest())
    statements: list[ast.stmt] = [s for s in tree.body if not _is_main_guard(s)]
    bindings: dict[str, list[int]] = {}
    stars = []
    for index, statement in enumerate(statements):
        for name in _bound(statement):
            bindings.setdefault(name, []).append(index)
            if name == "*":
                stars.append(index)
    return Source(statements, bindings, stars)


def functions(path: Path, code: CodeType) -> list[Function]:
    """Return the functions in the file that this code may be of: one, or lambdas of one line."""
    found = []
    for statement in parsed(path).statements:
        # Whatever line it is in, a statement of many lines is walked once only.
        first, last = _first_line(statement), statement.end_lineno or 0
        if not first <= code.co_firstlineno <= last:
            continue
        for node in ast.walk(statement):
            if not isinstance(node, Function):
                continue
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            count = code.co_argcount + code.co_kwonlyargcount
            if (
                name == code.co_name
                and _first_line(node) == code.co_firstlineno
                and tuple(a.arg for a in arguments) == code.co_varnames[:count]
            ):
                found.append(node)
    return found


def global_names(node: ast.stmt | ast.Lambda) -> set[str]:
    """Return the global names that a statement or function loads, with Python's own scopes."""
    body: ast.stmt = ast.Expr(node) if isinstance(node, ast.Lambda) else node
    module = ast.fix_missing_locations(ast.Module([body], []))
    try:
        code = compile(module, "<part>", "exec", flags=annotations.compiler_flag, dont_inherit=True)
    except (SyntaxError, ValueError):
        # Not to be compiled on its own: every name it has, local ones too.
        return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return loaded_names(code)


def loaded_names(code: CodeType) -> set[str]:
    """Return the global names that compiled code loads, also inside its functions."""
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT"))
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*map(loaded_names, inner))


def is_installed(path: Path) -> bool:
    """Tell Python's, an installed package's or our own file from a user's."""
    return bool({"site-packages", "dist-packages"} & {*path.parts}) or any(
        folder in path.parents for folder in _NOT_THE_USER_S
    )


_NOT_THE_USER_S = {
    PACKAGE,
    Path(os.__file__).parent,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")),
}


def module_file(name: str) -> Path | str | None:
    """Return the file of a loaded module: a user's, or the name of an installed package."""
    namespace = _globals(sys.modules.get(name))
    file = namespace.get("__file__")
    if not namespace or (name in ("__main__", "__mp_main__") and not file):
        return None
    if file is None and "__path__" in namespace:
        return None  # a folder without __init__.py
    if isinstance(file, str) and file.endswith(".py") and not is_installed(Path(file)):
        return Path(file)
    return name.partition(".")[0]


def _file_of(path: Path, name: str, level: int) -> Path | str | None:
    """Return what ``module_file`` does for an import in a file, also of what is not loaded."""
    if level:
        folder = path.parents[level - 1] if level <= len(path.parents) else path.parent
        return _python_file(folder.joinpath(*filter(None, name.split("."))))
    if (loaded := module_file(name)) is not None:
        return loaded
    top, *children = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for depth, _ in enumerate(children, 2):
            locations = spec and spec.submodule_search_locations
            if spec is None or not locations:
                return None
            if spec.origin and is_installed(Path(spec.origin)):
                return top
            spec = PathFinder.find_spec(".".join(name.split(".")[:depth]), locations)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file if file.suffix == ".py" and not is_installed(file) else top


def _python_file(place: Path) -> Path | None:
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _python_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and not (Path(root, name, "pyvenv.cfg").is_file())
        )
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))


def _globals(module: object) -> dict[str, Any]:
    """Return a module's globals; vars(module) would set off other people's lazy modules."""
    try:
        found: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found


def _decorator_kind(decorator: ast.expr, namespace: dict[str, Any]) -> type | str | None:
    """Return Protocol, "mark" for pytest's marks, or None for any other decorator."""
    if isinstance(decorator, ast.Name) and type(namespace.get(decorator.id)) is Protocol:
        return Protocol
    names = _called(decorator)
    if (
        isinstance(decorator, ast.Call)
        and names[-1:] == ["spec"]
        and names[0] in ("mt", "modeltune")
    ):
        return Protocol
    return "mark" if "mark" in names[:-1] else None


def _dotted(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else [""]


def _called(decorator: ast.expr) -> list[str]:
    return _dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)


def _is_known_elsewhere(statement: Any) -> bool:
    """Tell a definition that takes effect without being named: registered, autouse, a hook."""
    if statement.name.startswith("pytest_"):
        return True
    for decorator in statement.decorator_list:
        names = _called(decorator)
        is_autouse = any(k.arg == "autouse" for k in getattr(decorator, "keywords", ()))
        if "mark" not in names[:-1] and (names[-1] not in HARMLESS or is_autouse):
            return True
    return False


def _is_fixture(
    statement: ast.stmt, name: str
) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    for decorator in statement.decorator_list:
        if _called(decorator)[-1] == "fixture":
            named = [
                getattr(keyword.value, "value", None)
                for keyword in getattr(decorator, "keywords", ())
                if keyword.arg == "name"
            ]
            return (named or [statement.name])[0] == name
    return False


def _has_effect(statement: ast.stmt) -> bool:
    """Tell a top-level statement that does something besides binding names."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    bound = _bound(statement)
    if not bound or bound == {"_"}:
        return not isinstance(statement, ast.Pass)
    return any(
        isinstance(node, ast.Expr | ast.Delete)
        or (isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store))
        for node in _outside_functions(statement)
    )


def _bound(statement: ast.stmt) -> set[str]:
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
    """Yield the nodes that run when the statement does, and belong to the module's own scope."""
    yield statement
    if isinstance(statement, (*_DEFINITIONS, ast.Lambda)):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _outside_functions(child)


def _is_main_guard(statement: ast.stmt) -> bool:
    """Tell ``if __name__ == "__main__":``, which neither pytest nor a trial's process runs."""
    return (
        isinstance(statement, ast.If)
        and ast.unparse(statement.test).replace("'", '"') == '__name__ == "__main__"'
        and not statement.orelse
    )


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]
    return min(lines)


class _Cleaned(ast.NodeTransformer):
    """Drops docstrings, and what is judged or validated rather than searched."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _dotted(node.func)[-1] in ("spec", "with_fields"):
            node.keywords = [k for k in node.keywords if k.arg not in ("gates", "validation")]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list) and body:
                kept = [s for s in body if not _is_text(s)]
                setattr(node, field, kept or [ast.copy_location(ast.Pass(), body[0])])
        return node


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
