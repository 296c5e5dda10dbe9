"""Words for people: counts such as "1 run" and "2 runs", and the first line of an error; words of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_CHARACTERS = 600
"""How long one line about an error may be; an array in a message can be any number of pages."""

NAMES_SHOWN = 12
"""Names that a message lists, such as those of columns."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
"""Sequences a terminal obeys (ECMA-48, 5.3 to 5.6)."""

_CALLS = re.compile(r"Exception encountered when calling (.+?)\.?$")
_PLACES = re.compile(r"\s|File \"|Detected at node|<stack traces|\[\[|Original stack|Stack trace")


def count_of(count: int, one: str, more: str | None = None) -> str:
    """Return a count with its noun, ``one`` or ``more``; the default for ``more`` is ``one`` with an s."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def first_names(names: Iterable[object], most: int = NAMES_SHOWN) -> str:
    """Return the first of several names as a message lists them, and how many there are besides.

    >>> first_names(["age", "city", "income"], most=2)
    'age, city and 1 more'
    >>> first_names([])
    'none'
    """
    shown = list(map(str, names))
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) or "none") + more


def error_line(error: BaseException) -> str:
    """Return an error as one line: its type and the line of its message that says most.

    >>> error_line(ValueError("no room\\nat all"))
    'ValueError: no room'
    >>> error_line(ValueError("Exception encountered when calling Dense.call().\\n\\nno room"))
    'ValueError: no room (when calling Dense.call())'
    >>> error_line(KeyboardInterrupt())
    'KeyboardInterrupt'
    """
    line = _telling_line(message_of(error))
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def error_text(error: BaseException) -> str:
    """Return an error as ``Type: message``, all lines of it; its type alone when it says nothing."""
    message = message_of(error)
    return f"{type(error).__name__}: {message}" if message.strip() else type(error).__name__


def message_of(error: BaseException) -> str:
    """Return ``str(error)`` without escape codes, such as Keras's; if that raises, which is up to the error's author, say so instead.

    >>> class Careless(Exception):
    ...     def __str__(self):
    ...         return self.missing
    >>> message_of(Careless())
    '(no message: its __str__ raised AttributeError)'
    """
    try:
        return without_escapes(str(error))
    except (Exception, SystemExit) as raised:  # noqa: BLE001  whatever an author's code raises
        return f"(no message: its __str__ raised {type(raised).__name__})"


def first_line(text: object) -> str:
    """Return the first line of a text, or the one of an error's message that says most.

    Of an empty message it is the name of the error's type.

    >>> first_line("no room\\nat all")
    'no room'
    >>> first_line(ValueError())
    'ValueError'
    """
    if isinstance(text, BaseException):
        return _telling_line(message_of(text)) or type(text).__name__
    line = next(iter(without_escapes(str(text)).strip().splitlines()), "").rstrip()
    return line or ("" if isinstance(text, str) else type(text).__name__)


def without_escapes(text: str) -> str:
    """Return text without escape codes of terminals, whole ones: ``[1m`` of a bold text goes too.

    >>> without_escapes("\\x1b[1mno room\\x1b[0m at all")
    'no room at all'
    """
    return _ESCAPES.sub("", text)


def _telling_line(message: str) -> str:
    """Return the line of an error's message that says most: the first, unless it only leads to another.

    Keras says first which layer was called, TensorFlow that a graph was run and where its nodes
    come from; some errors announce a list. What is wrong comes after that.
    """
    lines = [line.rstrip() for line in message.strip().splitlines() if line.strip()]
    call = ""
    while len(lines) > 1 and (match := _CALLS.match(lines[0])):
        call = call or f" (when calling {match[1]})"
        del lines[0]
    if len(lines) > 1 and lines[0] == "Graph execution error:":
        lines = [line for line in lines[1:] if not _PLACES.match(line)] or lines[1:]
    line = next(iter(lines), "").strip()
    if line.endswith(":") and len(lines) > 1:
        line = f"{line} {lines[1].strip()}"
    return shorten(line) + call


def shorten(line: str, most: int = MOST_CHARACTERS) -> str:
    """Return a line of at most ``most`` characters, and how many were left out.

    >>> shorten("no room at all", 7)
    'no room ... (7 more characters)'
    """
    if len(line) <= most:
        return line
    return f"{line[:most]} ... ({len(line) - most} more characters)"


def text_of(output: bytes) -> str:
    """Return what another program printed: UTF-8, and Latin-1 if it is not that.

    Git prints names as they were typed, in whatever encoding; any byte is a character of Latin-1.

    >>> text_of("Jürgen".encode("latin-1"))
    'Jürgen'
    """
    try:
        return output.decode("utf-8")
    except UnicodeDecodeError:
        return output.decode("latin-1")
