"""What the classes of an output are called: by their numbers, with the names that the data declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ClassNames:
    """The declared names of an output's classes; a class without one is called by its number.

    Gates and ``select`` functions know a class by its number, so that it stays with the name.

    >>> names = ClassNames(["cat", "dog", "2"])
    >>> names.label(1), names.label(2), names.label(3)
    ('1 dog', '2', '3')
    """

    def __init__(self, names: Sequence[str] = ()):
        self._names = names

    def label(self, number: Any) -> str:
        """Return how a class is called."""
        try:
            place = int(number) if number == int(number) else -1
        except (TypeError, ValueError, OverflowError):
            place = -1
        name = self._names[place] if 0 <= place < len(self._names) else ""
        return f"{number} {name}" if name and name != str(number) else str(number)


def names_of_output(declared: object, output: str) -> ClassNames:
    """Return the names of the classes of an output, "" for that of a model that has one.

    Args:
        declared: by output what ``mt.Data(class_names=)`` has; in a record it may be anything.
        output: its name.
    """
    names = declared.get(output) if isinstance(declared, Mapping) else None
    return ClassNames(names if isinstance(names, list | tuple) else ())
