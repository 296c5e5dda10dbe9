"""Which parameters of an item belong to its spec, and which another plugin has added, to repeat it for example.

A spec's name has the ids of its own parameters: those of its marks, and of fixtures that its data
function asks for or that its author's conftest.py applies. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modeltune.ground import MissingNameError
from modeltune.plugin import pytest_internals


class Parameters:
    """What ``metafunc.parametrize`` was called with for the function of a spec.

    ``indirect`` are the names whose values come from a fixture of that name; ``missing`` says
    what pytest lacks, if it lacks something: then every parameter counts as the spec's.
    """

    def __init__(self) -> None:
        self.indirect: set[str] = set()
        self.missing: MissingNameError | None = None
        self._calls: list[tuple[str, dict[int, str | None], bool]] = []
        # By the identity of pytest's object, which is kept so that no other gets it.
        self._ids_of_items: dict[int, tuple[object, list[str | None]]] = {}

    @contextmanager
    def recorded(self, metafunc: pytest.Metafunc) -> Iterator[None]:
        """Note each call of ``metafunc.parametrize`` in this context."""
        original = metafunc.parametrize
        own = self._own_names(metafunc)

        def parametrize(argnames: Any, argvalues: Any, *args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            original(argnames, argvalues, *args, **kwargs)
            names = argument_names(argnames)
            indirect = args[0] if args else kwargs.get("indirect", False)
            self.indirect |= {*names} if indirect is True else {*(indirect or ())}
            if names and self.missing is None:
                try:
                    self._calls.append(
                        (names[0], self._ids(metafunc, names[0]), bool(own & {*names}))
                    )
                except MissingNameError as error:
                    self.missing = error

        metafunc.parametrize = parametrize  # type: ignore[method-assign]
        try:
            yield
        finally:
            metafunc.parametrize = original  # type: ignore[method-assign]
        if self._calls and self.missing is None:
            # Now: pytest numbers the values anew when all are there.
            for call, indices, _ in pytest_internals.calls_of(metafunc):
                ids = [ids[indices[name]] for name, ids, is_own in self._calls if is_own]
                self._ids_of_items[id(call)] = call, ids

    def name(self, item: pytest.Function, function: str) -> str:
        """Return the name of an item's spec: ``mlp``, or with the ids of its parameters ``mlp[grid]``."""
        if self.missing is None and not self._calls:
            return function
        try:
            _, ids = self._ids_of_items[id(pytest_internals.call_of(item))]
        except (MissingNameError, KeyError):
            return item.name
        shown = [id_ for id_ in ids if id_ is not None]
        return f"{function}[{'-'.join(shown)}]" if shown else function

    def _ids(self, metafunc: pytest.Metafunc, name: str) -> dict[int, str | None]:
        """Return the ids of the latest call by index; None where it is not shown."""
        ids: dict[int, str | None] = {}
        for _, indices, shown in pytest_internals.calls_of(metafunc):
            before = sum(known[indices[first]] is not None for first, known, _ in self._calls)
            ids[indices[name]] = shown[-1] if len(shown) > before else None
        return ids

    def _own_names(self, metafunc: pytest.Metafunc) -> set[str]:
        marks = metafunc.definition.iter_markers
        reached = {*inspect.signature(metafunc.function).parameters}
        reached |= {name for mark in marks("usefixtures") for name in mark.args}
        for mark in marks("parametrize"):
            reached |= {*argument_names(mark.args[0] if mark.args else mark.kwargs["argnames"])}
        try:
            fixtures = pytest_internals.fixtures_of(metafunc)
        except MissingNameError as error:
            self.missing = error
            return reached
        home = metafunc.function.__code__.co_filename
        for name, definitions in fixtures.items():
            code = (getattr(fixture.func, "__code__", None) for fixture in definitions)
            files = [getattr(each, "co_filename", "") for each in code]
            if home in files or "conftest.py" in [Path(file).name for file in files]:
                reached.add(name)
        waiting = list(reached)
        while waiting:
            for fixture in fixtures.get(waiting.pop(), ()):
                waiting += {*fixture.argnames} - reached
                reached |= {*fixture.argnames}
        return reached


def argument_names(names: str | Collection[str]) -> list[str]:
    """Return the names that a call of ``parametrize`` gives values to."""
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    return list(names)
