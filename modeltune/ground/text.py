"""Words for people: counts such as "1 run" and "2 runs", and the first line of an error."""

from __future__ import annotations


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
    line = first_line(str(error))
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def first_line(text: object) -> str:
    """Return the first line of a text or of an error's message; of an empty one its type's name.

    >>> first_line("no room\\nat all")
    'no room'
    >>> first_line(ValueError())
    'ValueError'
    """
    line = next(iter(str(text).strip().splitlines()), "").rstrip()
    return line or ("" if isinstance(text, str) else type(text).__name__)
