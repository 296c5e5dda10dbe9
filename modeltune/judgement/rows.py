"""Which test samples a slice is of: a class, a named slice, or a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Group:
    """The test samples that have a value, of a column of metadata or of a function."""

    by: str
    value: str

    def __str__(self) -> str:
        return f'{self.by} "{self.value}"'


Rows: TypeAlias = str | int | Group
"""Which test samples: a slice by its name, a class, or a group."""
