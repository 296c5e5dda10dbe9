"""Empty histories at less cost: the migrations make the first one, and others get its schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from alembic import command

_SCHEMA: dict[str, list[str]] = {}
"""By revision what makes a database as the migrations do, in tests of this process."""


@contextmanager
def copied() -> Iterator[None]:
    """Have empty SQLite databases brought to a revision without its migrations meanwhile."""
    migrate = command.upgrade

    def upgrade(config: Any, revision: str) -> None:
        connection = config.attributes["connection"]
        if connection.dialect.name != "sqlite" or _statements(connection.exec_driver_sql):
            migrate(config, revision)
        elif revision in _SCHEMA:
            for statement in _SCHEMA[revision]:
                connection.exec_driver_sql(statement)
        else:
            migrate(config, revision)
            made = _statements(connection.exec_driver_sql)
            table = config.attributes["version_table"]
            _SCHEMA[revision] = [*made, f"INSERT INTO {table} VALUES ('{revision}')"]
            with closing(sqlite3.connect(":memory:")) as copy:
                copy.executescript(";\n".join(_SCHEMA[revision]))
                assert _statements(copy.execute) == made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(command, "upgrade", upgrade)
        yield


def _statements(execute: Any) -> list[str]:
    named = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY rowid"
    return [sql for (sql,) in execute(named).fetchall()]
