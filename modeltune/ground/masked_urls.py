"""Passwords that nothing prints: URLs that may hold some, and those of a connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from modeltune.ground.text import error_line

MASK = "***"
"""What is shown where a password is."""

_SQLITE = re.compile(r"(sqlite(?:\+pysqlite)?:///(?:.*/)?)([^/?]*)(\?.*)?", re.DOTALL)

_WITHOUT_SECRETS = re.compile(
    r"[\w+.-]+://(?:[^:/?#@\s]*@)?[\w.-]*(?::[0-9]{1,5}(?=/|$))?(?:/[\w./-]*)?"
)
"""A URL in which no password can be: anything else is shown without what follows its scheme."""


class MaskedUrl:
    """A URL that may hold a password: its text is what ``reveal`` returns, and nothing else shows it.

    Tracebacks print the values of variables and attributes. A frame in which an error may be
    raised therefore holds this and not the text.
    """

    __slots__ = ("_hidden",)

    def __init__(self, url: str | MaskedUrl) -> None:
        self._hidden: str = url._hidden if isinstance(url, MaskedUrl) else url

    def reveal(self) -> str:
        """Return the URL with its password; bind it to no name where an error may be raised."""
        return self._hidden

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskedUrl) and self._hidden == other._hidden

    def __hash__(self) -> int:
        return hash(self._hidden)

    def __bool__(self) -> bool:
        return bool(self._hidden)

    def __str__(self) -> str:
        if match := _SQLITE.fullmatch(self._hidden):
            return f"{match[1]}{match[2]}{'?***' if match[3] else ''}"
        if _WITHOUT_SECRETS.fullmatch(self._hidden):
            return self._hidden
        scheme, separator, _ = self._hidden.partition("://")
        return f"{scheme}://***" if separator and re.fullmatch(r"[\w+.-]+", scheme) else "***"

    def __repr__(self) -> str:
        return repr(str(self))


class Secrets:
    """The passwords in a URL, by the names of options of the driver; printed as ``***``.

    Nothing else holds them, so that no traceback of ours, SQLAlchemy or the driver shows one.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] = {}) -> None:
        self._values = dict(values)

    def __repr__(self) -> str:
        return str(dict.fromkeys(self._values, MASK))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def reveal(self) -> Mapping[str, str]:
        """Return the passwords; bind them to no name where an error may be raised."""
        return self._values

    def mask(self, text: str) -> str:
        """Return a text without them, as typed or percent-encoded."""
        for secret in sorted(self._values.values(), key=len, reverse=True):
            for spelled in (secret, quote(secret, safe="")):
                text = text.replace(spelled, MASK) if spelled else text
        return text

    def connect(
        self, driver: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> Any:
        """Connect with the secrets among the options; an error shows none, in message or frames.

        Raises:
            ConnectionError: the driver raised something else than an error of its own.
        """
        try:
            return driver(*arguments, **options, **self._values)
        except BaseException as error:  # noqa: BLE001  a Ctrl-C has the same frames
            failure = self._without(error)
        raise failure

    def _without(self, error: BaseException) -> BaseException:
        # The driver's frames hold the secrets, and so do those of what led to its error.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        text = str(error)
        if self.mask(text) != text:
            error.args = (self.mask(text),)
        if isinstance(error, UnicodeError) or self.mask(str(error)) != str(error):
            return ConnectionError(self.mask(error_line(error)))
        return error


def mask_urls(text: str) -> str:
    """Return a text in which no URL shows a password, or options such as ``password=``.

    >>> mask_urls("no run of postgresql://me:hunter2@host/runs")
    'no run of postgresql://me:***@host/runs'
    """
    text = re.sub(r"(?<=://)([^\s/@:]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&][a-z_]*(?:pass|secret|token|scram)[a-z_]*=)[^\s&'\"]+", r"\1***", text)
