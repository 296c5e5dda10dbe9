"""What the command line prints: as far as the encoding allows, for as long as somebody reads it."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, as far as the encoding allows; nothing more once the reader is gone.

    As of ``| head``: the command goes on all the same, and its exit code tells the whole.
    """
    stream = stream or sys.stdout
    try:
        print(encodable(text), file=stream, flush=True)
    except BrokenPipeError:
        # Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def encodable(text: str) -> str:
    """Return text that stdout can print: with ``+-`` for ±, and ``?`` for the rest it cannot."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    return text
