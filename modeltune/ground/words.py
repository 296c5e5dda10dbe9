"""What is printed of our values in a terminal: members of enumerations as words, and short lines."""

from __future__ import annotations

import enum
import re

from modeltune.ground.text import without_escapes

MOST_OF_A_NAME = 80
"""Characters of a name in a short line about a value."""


class Word(enum.Enum):
    """An enumeration whose members print as what they stand for: ``passed``, not ``RunStatus.PASSED``."""

    def __str__(self) -> str:
        return str(self.value)


def in_a_cell(text: str) -> str:
    """Return a text as a cell of a CSV file: on one line, and never a formula.

    A spreadsheet computes a cell that begins with =, +, - or @ (OWASP, "CSV Injection"): a text that
    does so gets an apostrophe before it, unless it is a number.

    >>> in_a_cell("=1+1"), in_a_cell("-0.5"), in_a_cell("a, b")
    ("'=1+1", '-0.5', 'a, b')
    """
    line = " ".join(without_escapes(text).split())
    line = "".join(character for character in line if character.isprintable())
    if not line.startswith(("=", "+", "-", "@")) or _NUMBER.fullmatch(line):
        return line
    return f"'{line}"


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def in_a_line(text: str, most: int = MOST_OF_A_NAME) -> str:
    r"""Return a text as part of a line: cut to ``most`` characters, without any that a terminal obeys.

    >>> in_a_line("\x1b[1mno room\x1b[0m\nat all", 8)
    'no room…'
    """
    # Text far beyond the end is not looked at.
    line = " ".join(without_escapes(text[: 20 * most]).split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= most else f"{line[: most - 1]}…"
