"""Counts in words: "1 run", "2 runs"."""

from __future__ import annotations


def counted(count: int, one: str, more: str | None = None) -> str:
    """Return a count and its noun: of several ``more``, which is ``one`` with an s if not given."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"
