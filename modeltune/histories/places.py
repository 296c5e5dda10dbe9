"""Where a history is, by its URL, and what went wrong there, in words for the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from modeltune.ground import (
    MASK,
    HistoryError,
    Secrets,
    StoreUrl,
    first_line,
    free_space,
    is_disk_full,
    named_store,
)


@dataclass(frozen=True)
class Place:
    """Where a history is: a SQLite file, or a server (``path`` is None). Its text shows no secret.

    Args:
        url: without secrets; ``secrets`` has them.
        path: the file, absolute.
        folder: where files of runs are kept.
    """

    url: sa.URL
    path: Path | None
    folder: Path
    secrets: Secrets = field(default=Secrets(), compare=False)

    def __str__(self) -> str:
        return str(self.path) if self.path else self.address

    @property
    def address(self) -> str:
        """The URL with ``***`` for its secrets."""
        if self.path:
            return self.identity
        query = {name: MASK for name in self.secrets if name != "password"}
        address = self.url.update_query_dict(query)
        if "password" in self.secrets:
            address = address.set(password=MASK)
        return address.render_as_string(hide_password=True).replace("=%2A%2A%2A", f"={MASK}")

    @property
    def identity(self) -> str:
        """The URL without its password: the same whether or not the URL had one."""
        return f"sqlite:///{self.path}" if self.path else self.url.render_as_string()

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn errors of the database or the file system into a HistoryError of one line."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self.plain_error(error) from error
        except OSError as error:
            cause = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            if is_disk_full(error):
                raise self._no_space(cause) from error
            raise HistoryError(f"{self} cannot be opened ({cause}); {_WRITABLE}") from error

    def plain_error(self, error: SQLAlchemyError) -> HistoryError:
        """Return what the database raised as one line with advice, without secrets."""
        cause = self.secrets.mask(first_line(getattr(error, "orig", None) or error))
        if is_disk_full(error):
            return self._no_space(cause)
        advice = next((text for sign, text in _ADVICE.items() if sign in cause), _UNCHANGED)
        return HistoryError(f"{self}: {cause}; {advice}")

    def _no_space(self, cause: str) -> HistoryError:
        # A server's disk is not ours to look at.
        free = free_space(self.folder) if self.path else ""
        return HistoryError(f"{self}: {cause}{free}; {_SPACE}")


DAMAGED = "restore a copy, or move the file away to begin a new history"

_DAMAGED_ON_SERVER = "restore a copy, or use another database to begin a new history"

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
    "column": _DAMAGED_ON_SERVER,
    "relation": _DAMAGED_ON_SERVER,
    "does not exist": "create the database first, or check its name in the URL",
    "too many": "wait for others to finish, or allow the server more connections",
    "connection slots": "wait for others to finish, or allow the server more connections",
    "resolve": _UNREACHABLE,
    "connect": _UNREACHABLE,
    "server": _UNREACHABLE,
}
"""What the user can do, by a word in the message of SQLite or PostgreSQL."""


def place_of(url: str | StoreUrl) -> Place:
    """Return where the URL places a history, whether or not it exists.

    Raises:
        HistoryError: it is no URL of a history.
    """
    url = named_store(url)
    if path := url.path:
        # Not by SQLAlchemy's parser: a path is no URL, and may hold what means something in one.
        return Place(sa.URL.create("sqlite", database=str(path)), path, path.parent)
    parsed = _parsed(url)
    if isinstance(parsed, str):
        raise HistoryError(parsed)
    without, secrets = parsed
    return Place(without, None, url.project / ".modeltune", secrets)


def _parsed(url: StoreUrl) -> tuple[sa.URL, Secrets] | str:
    """Return the URL of a server without its secrets, and these; or what is wrong with it.

    This raises nothing: its frame holds the password.
    """
    text = url.reveal()
    if text.startswith(("sqlite:", "sqlite+pysqlite:")):
        return (
            f"{url.url} names no file to keep a history in; "
            "write sqlite:///relative/path.db or sqlite:////absolute/path.db"
        )
    try:
        parsed = sa.make_url(text)
    except Exception:  # noqa: BLE001  whatever it is, its frames hold the password
        # Neither the text nor SQLAlchemy's message is shown: it may carry a password.
        path = f"; for a file write sqlite:///{text}" if text and ":" not in text else ""
        return (
            "the store is no URL like sqlite:///.modeltune/history.db or "
            f"postgresql://user@host/database{path}"
        )
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        return (
            f"a history is kept in sqlite or postgresql, not in {parsed.drivername}; "
            "write sqlite:///path.db or postgresql://user@host/database"
        )
    if not text.isprintable():
        return "the store's URL has a character that is none, or not printable; write it as %XX"
    if text.count("@") > 1:
        # Else part of the password would be taken for the host, and be shown.
        return (
            "the store's URL has more than one @; in user, password and options write @ as %40, "
            "/ as %2F, : as %3A and ? as %3F"
        )
    if parsed.port is not None and not 0 < parsed.port < 1 << 16:
        return "the store's URL has a port that there is not; write one from 1 to 65535"
    options = {name for name in parsed.query if _SECRET.search(name)}
    secrets = {name: _last(parsed.query[name]) for name in options}
    if parsed.password is not None:
        secrets.setdefault("password", str(parsed.password))
    bare = parsed.difference_update_query(options).set(drivername="postgresql+psycopg")
    return bare._replace(password=None), Secrets(secrets)


_SECRET = re.compile("pass(?!file)|secret|token|scram", re.IGNORECASE)
"""In the names of libpq's options that are secrets."""


def _last(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else value[-1]
