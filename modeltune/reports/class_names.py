"""What reports call the classes of an output: by their numbers, with the names that the data declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modeltune.records import Json, Run

ONLY_OUTPUT = "output"
"""What a run's report calls the output of a model that has one."""


class ClassNames:
    """The declared names of an output's classes; a class without one is called by its number.

    Gates and ``select`` functions know a class by its number, so that it stays with the name.

    >>> names = ClassNames(["cat", "dog", "2"])
    >>> names.label(1), names.label(2), names.label(3)
    ('1 dog', '2', '3')
    """

    def __init__(self, names: Sequence[str] = ()):
        self._names = names

    def label(self, number: Json) -> str:
        """Return how a class is called."""
        is_named = isinstance(number, int) and 0 <= number < len(self._names)
        name = self._names[number] if is_named else ""
        return f"{number} {name}" if name and name != str(number) else str(number)


def class_names(run: Run, output: str) -> ClassNames:
    """Return the names of the classes of one output, by its name in the run's report."""
    declared = run.data.get("class_names")
    names = declared if isinstance(declared, Mapping) else {}
    mine = names.get(output, names.get("") if output == ONLY_OUTPUT else None)
    return ClassNames(mine if isinstance(mine, list | tuple) else ())
