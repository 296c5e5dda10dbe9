"""Print for the command line: what the encoding allows, for as long as somebody reads it."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, as far as the encoding allows; print nothing once the reader is gone.

    With ``| head`` a command still runs to its end, and its exit code is that of the whole.
    """
    stream = stream or sys.stdout
    try:
        print(encodable(text), file=stream, flush=True)
    except BrokenPipeError:
        # Python would report the broken pipe again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def room() -> int | None:
    """Return how many columns a table may have: as COLUMNS says, else those of the terminal.

    None: as many as it takes, for whoever reads a pipe or a file.
    """
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told[:9]) > 0:
        return int(told[:9])
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def encodable(text: str) -> str:
    """Return the text as stdout can print it: ``+-`` for ±, ``?`` for everything else it cannot."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    return text
