"""Words for people: counts such as "1 run" and "2 runs", and the first line of an error; words of other programs."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
"""Sequences a terminal obeys (ECMA-48, 5.3 to 5.6)."""


def count_of(count: int, one: str, more: str | None = None) -> str:
    """Return a count with its noun, ``one`` or ``more``; the default for ``more`` is ``one`` with an s."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def error_line(error: BaseException) -> str:
    """Return an error as one line: its type and the first line of its message.

    >>> error_line(ValueError("no room\\nat all"))
    'ValueError: no room'
    >>> error_line(KeyboardInterrupt())
    'KeyboardInterrupt'
    """
    line = first_line(message_of(error))
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
    """Return the first line of a text or of an error's message; of an empty one its type's name.

    >>> first_line("no room\\nat all")
    'no room'
    >>> first_line(ValueError())
    'ValueError'
    """
    message = message_of(text) if isinstance(text, BaseException) else without_escapes(str(text))
    line = next(iter(message.strip().splitlines()), "").rstrip()
    return line or ("" if isinstance(text, str) else type(text).__name__)


def without_escapes(text: str) -> str:
    """Return text without escape codes of terminals, whole ones: ``[1m`` of a bold text goes too.

    >>> without_escapes("\\x1b[1mno room\\x1b[0m at all")
    'no room at all'
    """
    return _ESCAPES.sub("", text)


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
