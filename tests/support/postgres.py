"""A PostgreSQL server for tests: Debian's, in a folder of its own, which they may stop and kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

USER = "modeltune"
STRANGER = "stranger"
"""A role that has to give its password, and owns nothing."""

PASSWORD = "hunter2"


@dataclass(frozen=True)
class Server:
    """A cluster reached by a socket in its folder; nothing of it listens on a network."""

    folder: Path
    bindir: Path

    def url(self, database: str, user: str = USER) -> str:
        """Return the URL of a database, as a user of modeltune writes it."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start the server, and return when it answers."""
        options = f"-F -k {self.folder} -c listen_addresses= -c max_connections=60"
        self._control("-o", options, "-l", f"{self.folder}/log", "start")

    def stop(self) -> None:
        """Stop the server as a crash would: all connections are lost."""
        self._control("-m", "immediate", "stop")

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Return the rows of a statement, as the owner of everything: none of modeltune's code."""
        with psycopg.connect(
            f"host={self.folder} user={USER} dbname={database}", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """Lend an empty database, by its name."""
        name = f"test_{uuid.uuid4().hex}"
        self.ask(f"CREATE DATABASE {name} {options}")
        try:
            yield name
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)")

    def _control(self, *arguments: str) -> None:
        _run(self.bindir / "pg_ctl", "-D", self.folder / "data", "-w", "-s", *arguments)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Make a cluster and serve it; stop and remove it at the end."""
    bindir = _bindir()
    # Not in pytest's folders: the server runs as another user than root, who may not go there,
    # and the path of a socket may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="mtpg-"))
    server = Server(folder, bindir)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, **_OWNER)
        _run(
            *(bindir / "initdb", "-D", folder / "data", "--no-sync", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "-U", USER),
        )
        access = folder / "data" / "pg_hba.conf"
        access.write_text(f"local all {STRANGER} scram-sha-256\n{access.read_text()}")
        server.start()
        try:
            server.ask(f"CREATE ROLE {STRANGER} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


_OWNER = {"user": "postgres", "group": "postgres"}
"""Who runs the server where we are root, which it refuses; Debian's package makes this user."""


def _bindir() -> Path:
    pg_ctl = shutil.which("pg_ctl")
    candidates = (
        [Path(pg_ctl)] if pg_ctl else sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    )
    if not candidates:
        pytest.fail(
            "these tests start a PostgreSQL server of their own, and none is installed "
            "(Debian, Ubuntu: apt install postgresql)",
            pytrace=False,
        )
    return candidates[-1].parent


def _run(*command: str | Path) -> None:
    # Not captured by pipes: the server that pg_ctl leaves behind would hold them open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            cwd="/",
            extra_groups=[] if os.geteuid() == 0 else None,
            **(_OWNER if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        )
        output.seek(0)
        assert done.returncode == 0, output.read()
