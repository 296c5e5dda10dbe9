"""The columns of a terminal: how many a text takes, and how tables and texts fit into so many; prints nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

GAP = 2
"""Columns between two cells of a table."""

LONGEST_PIECE = 24
"""Columns of a word that a cell keeps whole, such as an id; longer ones are broken."""

NARROWEST = 10
"""Columns below which nothing is made to fit."""

_PIECES = re.compile(r"[^/:,]+[/:,]*|[/:,]+")
"""Where a word may be broken, as a path or an address."""


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes, by the widths Unicode defines."""
    return sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """Return the text, or its beginning and ``…``, in no more than so many columns."""
    if width(text) <= columns:
        return text
    taken, end = 1, 0
    while (taken := taken + _columns(text[end])) <= columns:
        end += 1
    return f"{text[:end]}…" if columns > 0 else ""


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def wrap(text: str, columns: int) -> list[str]:
    """Return a text in lines of no more than so many columns, broken at spaces where there are any.

    Nothing is lost but spaces where a line ends. A character of two columns takes them even if there is one.
    """
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width(joined) <= columns:
            line = joined
            continue
        if line:
            lines.append(line)
        *whole, line = _broken(word, columns)
        lines += whole
    return [*lines, line]


def _broken(word: str, columns: int) -> list[str]:
    """Return a word in lines: broken after a slash or a colon, and anywhere if there is none."""
    lines = [""]
    for piece in _PIECES.findall(word):
        if width(lines[-1] + piece) <= columns:
            lines[-1] += piece
            continue
        if width(piece) <= columns:
            lines.append(piece)
            continue
        for character in piece:
            if lines[-1] and width(lines[-1] + character) > columns:
                lines.append("")
            lines[-1] += character
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def hanging(first: str, text: str, columns: int | None) -> str:
    """Return a text after what comes first on its line, all further lines indented as far.

    Where that leaves too little room they are indented by four columns.
    """
    if columns is None or width(first + text) <= columns:
        return f"{first}{text}".rstrip()
    indent = width(first)
    if columns - indent < NARROWEST:
        return f"{first.rstrip()}\n" + "\n".join(
            f"    {line}" for line in wrap(text, max(columns - 4, NARROWEST))
        )
    return f"\n{' ' * indent}".join([*_with_first(first, wrap(text, columns - indent))])


def _with_first(first: str, lines: Sequence[str]) -> list[str]:
    return [f"{first}{lines[0]}", *lines[1:]]


def fitting(rows: Sequence[Sequence[str]], columns: int) -> list[int] | None:
    """Return the width of each column of a table, headers among its rows, so that all fit.

    Ids and numbers stay whole, the widest columns are wrapped most. None if there is no room for that.
    """
    natural = [max(map(width, cells)) for cells in zip(*rows, strict=True)]
    least = [
        min(whole, max(map(_longest_piece, cells)))
        for whole, cells in zip(natural, zip(*rows, strict=True), strict=True)
    ]
    room = columns - GAP * (len(natural) - 1)
    if sum(least) > room:
        return None
    widest = max(natural)
    while sum(widths := _capped(natural, least, widest)) > room:
        widest -= 1
    return widths


def _capped(natural: Sequence[int], least: Sequence[int], widest: int) -> list[int]:
    return [min(whole, max(few, widest)) for whole, few in zip(natural, least, strict=True)]


def _longest_piece(cell: str) -> int:
    pieces = (piece for word in cell.split(" ") for piece in _PIECES.findall(word))
    return min(max(map(width, pieces), default=0), LONGEST_PIECE)
