"""Follow some code by name through a user's files, and collect the statements it depends on."""

from __future__ import annotations

import ast
import copy
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeltune.specs.identity.dynamic_imports import Reach, reached
from modeltune.specs.identity.module_files import imported_file, module_globals
from modeltune.specs.identity.source_files import (
    DEFINITIONS,
    decorator_names,
    global_names,
    is_fixture,
    parse_file,
)
from modeltune.specs.spec_type import Protocol, Spec


class Dependencies:
    """The statements of a user's files that some code depends on, and the packages they import.

    ``assumptions`` say what was taken as reached where the code does not tell before it runs.

    Each ``add_...`` method adds a starting point. ``digests`` then follows the names that the
    added statements use, from file to file, until nothing new turns up.
    """

    def __init__(self) -> None:
        self.packages: set[str] = set()
        self.assumptions: set[str] = set()
        self._texts: dict[Path, dict[tuple[int, str], str]] = {}
        self._imported: set[Path] = set()
        self._waiting: list[tuple[Path, ast.stmt]] = []
        self._fixtures: set[str] = set()
        self._namespaces: dict[str, dict[str, Any]] = {}

    def digests(self) -> dict[Path, str]:
        """Return a sha256 of the collected statements of each file, whatever the order of adding."""
        while self._waiting:
            self.add_names_in(*self._waiting.pop())
        return {
            path: hashlib.sha256("\n".join(text for _, text in sorted(texts.items())).encode())
            .hexdigest()
            for path, texts in sorted(self._texts.items())
            if texts
        }  # fmt: skip

    def add_import(self, path: Path) -> None:
        """Add what importing the file does besides binding names, in the files it imports too."""
        if path in self._imported:
            return
        self._imported.add(path)
        folder = path.parent.parent if path.name == "__init__.py" else path.parent
        package = folder / "__init__.py"
        if package.is_file():
            self.add_import(package)
        source = parse_file(path)
        if source.broken:
            self._texts.setdefault(path, {})[0, ""] = source.broken
        namespace = self._namespace(path)
        for index in source.acting:
            statement = source.statements[index]
            is_spec = isinstance(statement, DEFINITIONS) and (
                type(namespace.get(statement.name)) is Spec
            )
            if not is_spec:
                self._add_statement(path, index)
        for node in source.imports:
            self._add_imported_files(path, node)

    def add_name(self, path: Path, name: str) -> None:
        """Add every statement that binds a global name of the file."""
        self.add_import(path)
        source = parse_file(path)
        for index in source.bindings.get(name, ()):
            statement = source.statements[index]
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    texts, text = self._texts.setdefault(path, {}), ast.dump(alias)
                    binds = (alias.asname or alias.name.partition(".")[0]) == name
                    if binds and (index, text) not in texts:
                        texts[index, text] = text
                        self._add_alias(path, statement, alias)
            else:
                self._add_statement(path, index)
        if name not in source.bindings:
            for index in source.stars:
                self._add_statement(path, index)
            if "__getattr__" in source.bindings:
                self.add_file(path)

    def add_file(self, path: Path) -> None:
        """Add every statement of the file."""
        self.add_import(path)
        for index in range(len(parse_file(path).statements)):
            self._add_statement(path, index)

    def add_names_in(self, path: Path, node: ast.stmt | ast.Lambda) -> None:
        """Add every global name that a node of the file uses, inside its functions too."""
        self.add_import(path)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                for alias in inner.names:
                    self._add_alias(path, inner, alias)
        for name in global_names(node):
            self.add_name(path, name)
        for reach in reached(path, node, self._namespace(path)):
            self._add_reach(path, reach)

    def _add_reach(self, path: Path, reach: Reach) -> None:
        """Add what is imported or run by a text instead of by a name."""
        if reach.assumption:
            self.assumptions.add(reach.assumption)
        for file in reach.files:
            self.add_file(file)
        for module in reach.modules:
            name = module.lstrip(".")
            level = len(module) - len(name)
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                if imported := self._users_file(path, ".".join(parts[:length]), level):
                    self.add_file(imported)
        for statement in reach.code.body if reach.code else ():
            self.add_names_in(path, statement)

    def add_fixture(self, name: str, files: Sequence[Path]) -> None:
        """Add a pytest fixture defined in one of the files, and the fixtures it asks for."""
        if name in self._fixtures:
            return
        self._fixtures.add(name)
        for path in files:
            for statement in parse_file(path).statements:
                if is_fixture(statement, name):
                    self.add_name(path, statement.name)
                    for argument in statement.args.args:
                        self.add_fixture(argument.arg, files)

    def undecorated(self, path: Path, definition: Any) -> Any:
        """Return a spec's definition without the protocol's decorator and those above it.

        Decorators below the protocol's stay: they change the build function itself.
        """
        namespace = self._namespace(path)
        decorators = list(definition.decorator_list)
        kinds = [_decorator_kind(decorator, namespace) for decorator in decorators]
        if Protocol in kinds:
            below = len(kinds) - kinds[::-1].index(Protocol)
        else:
            # The topmost decorator that is no mark is a user's function that makes a protocol.
            below = next((index + 1 for index, kind in enumerate(kinds) if kind is None), 0)
        bare = copy.copy(definition)
        kept = zip(decorators[below:], kinds[below:], strict=True)
        bare.decorator_list = [decorator for decorator, kind in kept if kind is None]
        return bare

    def is_spec(self, path: Path, definition: Any) -> bool:
        """Tell whether the name of a definition is bound to a spec."""
        return type(self._namespace(path).get(definition.name)) is Spec

    def _namespace(self, path: Path) -> dict[str, Any]:
        """Return the globals of the module loaded from a file; none when it is not loaded."""
        if not self._namespaces:
            for module in list(sys.modules.values()):
                namespace = module_globals(module)
                self._namespaces.setdefault(str(namespace.get("__file__")), namespace)
        return self._namespaces.get(str(path), {})

    def _add_statement(self, path: Path, index: int) -> None:
        texts = self._texts.setdefault(path, {})
        if (index, "") in texts:
            return
        statement = parse_file(path).statements[index]
        if isinstance(statement, DEFINITIONS) and self.is_spec(path, statement):
            statement = self.undecorated(path, statement)
        texts[index, ""] = ast.dump(statement)
        self._waiting.append((path, statement))

    def _add_alias(
        self, path: Path, statement: ast.Import | ast.ImportFrom, alias: ast.alias
    ) -> None:
        """Add what one name of an import statement stands for."""
        if isinstance(statement, ast.Import):
            parts = alias.name.split(".")
            for length in range(1, len(parts) + 1):
                if file := self._users_file(path, ".".join(parts[:length]), 0):
                    self.add_file(file)
            return
        origin = statement.module or ""
        file = self._users_file(path, origin, statement.level)
        if alias.name == "*":
            if file:
                self.add_file(file)
        elif file and alias.name in parse_file(file).bindings:
            self.add_name(file, alias.name)
        elif submodule := self._users_file(
            path, f"{origin}.{alias.name}".strip("."), statement.level
        ):
            self.add_file(submodule)
        elif file:
            self.add_name(file, alias.name)

    def _add_imported_files(self, path: Path, statement: ast.Import | ast.ImportFrom) -> None:
        """Add the imports of the user's files that an import statement runs, used or not."""
        level = statement.level if isinstance(statement, ast.ImportFrom) else 0
        origin = (statement.module or "") if isinstance(statement, ast.ImportFrom) else ""
        names = [f"{origin}.{alias.name}".strip(".") for alias in statement.names]
        for name in (origin, *names) if origin else names:
            file = imported_file(path, name, level)
            if isinstance(file, Path):
                self.add_import(file)
            elif file and origin:
                break  # what is imported from an installed package is installed

    def _users_file(self, path: Path, name: str, level: int) -> Path | None:
        """Return the user's own file of an imported module; keep the name of an installed one."""
        file = imported_file(path, name, level)
        if isinstance(file, str):
            self.packages.add(file)
            return None
        return file


def _decorator_kind(decorator: ast.expr, namespace: dict[str, Any]) -> type | str | None:
    """Return Protocol, "mark" for a mark of pytest, or None for any other decorator."""
    if isinstance(decorator, ast.Name) and type(namespace.get(decorator.id)) is Protocol:
        return Protocol
    names = decorator_names(decorator)
    if (
        isinstance(decorator, ast.Call)
        and names[-1:] == ["spec"]
        and names[0] in ("mt", "modeltune")
    ):
        return Protocol
    return "mark" if "mark" in names[:-1] else None
