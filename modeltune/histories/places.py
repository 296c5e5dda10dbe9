"""Where a history is, by its URL, and what went wrong there, in words for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    SQLAlchemyError,
)

from modeltune.ground import HistoryError, first_line, project_root


@dataclass(frozen=True)
class Place:
    """Where a history is: a SQLite file, or a server (``path`` is None). Its text shows no secret."""

    url: sa.URL
    path: Path | None
    folder: Path

    def __str__(self) -> str:
        return str(self.path) if self.path else self.address

    @property
    def address(self) -> str:
        """The URL without its secrets."""
        if self.path:
            return f"sqlite:///{self.path}"
        hidden = {key: "***" for key in self.url.query if "pass" in key}
        address = self.url.update_query_dict(hidden).render_as_string(hide_password=True)
        return address.replace("=%2A%2A%2A", "=***")

    @property
    def identity(self) -> str:
        """The URL without its password: the same whether or not the URL had one."""
        if self.path:
            return self.address
        plain = self.url.difference_update_query([key for key in self.url.query if "pass" in key])
        return plain._replace(password=None).render_as_string()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords in the URL."""
        query = (value for key, value in self.url.query.items() if "pass" in key)
        return tuple(str(secret) for secret in (self.url.password, *query) if secret)

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn errors of the database or the file system into a HistoryError of one line."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self.plain_error(error) from error
        except OSError as error:
            cause = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            raise HistoryError(f"{self} cannot be opened ({cause}); {_WRITABLE}") from error

    def plain_error(self, error: SQLAlchemyError) -> HistoryError:
        """Return what the database raised as one line with advice, without secrets."""
        cause = first_line(getattr(error, "orig", None) or error)
        for secret in self.secrets:
            cause = cause.replace(secret, "***")
        advice = next((text for sign, text in _ADVICE.items() if sign in cause), _UNCHANGED)
        return HistoryError(f"{self}: {cause}; {advice}")


DAMAGED = "restore a copy, or move the file away to begin a new history"

_WRITABLE = "make the file and its folder readable and writable, or name another --modeltune-store"

_UNREACHABLE = "check the URL and that the server is up"

_HELD = "another process has held it for 30 seconds; wait for it, or end it"

_SPACE = "free some space, then run again"

_UNCHANGED = "the history is as it was before"

_ADVICE = {
    "malformed": DAMAGED,
    "not a database": DAMAGED,
    "no such": DAMAGED,
    "decode": DAMAGED,
    "locked": _HELD,
    "lock timeout": _HELD,
    "readonly": _WRITABLE,
    "unable to open": _WRITABLE,
    "permission denied": "ask for the right to create and write tables",
    "is full": _SPACE,
    "No space": _SPACE,
    "disk I/O": "check the disk's space and health, then run again",
    "already exists": "the database has tables of another program; use a database of its own",
    "read-only": "name a server that may be written to, not a standby",
    "authentication": "check the user and the password in the URL",
    "password": "check the user and the password in the URL",
    "role": "check the user in the URL",
    "does not exist": "create the database first, or check its name in the URL",
    "too many": "wait for others to finish, or allow the server more connections",
    "connection slots": "wait for others to finish, or allow the server more connections",
    "resolve": _UNREACHABLE,
    "connect": _UNREACHABLE,
    "server": _UNREACHABLE,
}
"""What the user can do, by a word in the message of SQLite or PostgreSQL."""


def place_of(url: str) -> Place:
    """Return where the URL places a history, whether or not it exists.

    Raises:
        HistoryError: it is no URL of a history.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor SQLAlchemy's message is shown: it may carry a password.
        path = f"; for a file write sqlite:///{url}" if url and ":" not in url else ""
        raise HistoryError(
            "the store is no URL like sqlite:///.modeltune/history.db or "
            f"postgresql://user@host/database{path}"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return Place(parsed, None, project_root(Path.cwd()) / ".modeltune")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise HistoryError(
            f"a history is kept in sqlite or postgresql, not in {parsed.drivername}; "
            "write sqlite:///path.db or postgresql://user@host/database"
        )
    path = parsed.database or ""
    if parsed.query or parsed.host or path in ("", ":memory:") or path.startswith("file:"):
        raise HistoryError(
            f"{parsed.render_as_string(hide_password=True)} names no file to keep a history in; "
            "write sqlite:///relative/path.db or sqlite:////absolute/path.db"
        )
    # Absolute, for it is opened again later, when the working directory may be another.
    absolute = Path(path).absolute()
    return Place(parsed.set(database=str(absolute)), absolute, absolute.parent)
