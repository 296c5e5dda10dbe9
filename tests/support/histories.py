"""Histories for tests: runs to record, files that were damaged, and what older releases have recorded."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modeltune.histories.contract import EXAMPLE as DIGITS
from modeltune.histories.contract import any_run as runs
from modeltune.histories.store import HEAD
from modeltune.records import Artifact

__all__ = [
    "DAMAGES",
    "DATA",
    "DIGITS",
    "DIGITS_0001",
    "DIGITS_0002",
    "DIGITS_0003",
    "NEXT_HEAD",
    "digest",
    "runs",
]

DATA = Path(__file__).parents[1] / "histories" / "data"
"""What earlier versions have written; its README says which."""

NEXT_HEAD = f"{int(HEAD) + 1:04}"
"""The schema that the fixture ``next_release`` migrates to."""

DIGITS_0003 = replace(
    DIGITS,
    trials=tuple(replace(trial, traceback=None, phases=()) for trial in DIGITS.trials),
    # The sample run's details of that time were none that a check has.
    checks=(replace(DIGITS.checks[0], details=None), DIGITS.checks[1]),
    # Nor were its files named as those of a run are.
    artifact=Artifact("artifacts/20261120.weights.h5", "e3b0" * 16, 123, 0),
    files={"samples": Artifact("artifacts/20261120.samples.json", "c442" * 16, 45, 0)},
)
DIGITS_0002 = replace(DIGITS_0003, model={})
DIGITS_0001 = replace(DIGITS_0002, verdicts=DIGITS.verdicts[:3], files={}, checks=(), advice=())
"""The sample run with what a run could have then."""


def digest(path: Path) -> str:
    """Return what changes when any byte does."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")


def _newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE modeltune_schema SET version_num = '9999'")


def _zeroed(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\0" * (len(content) - 4096))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a text file": (
        lambda path: path.write_text("runs: 3\n"),
        "PATH is not a SQLite file; name another, or restore a copy",
    ),
    "cut to nothing": (
        lambda path: path.write_bytes(b""),
        "PATH is empty (0 bytes), which no history ever is; "
        "restore a copy, or move the file away to begin a new history",
    ),
    "cut in the middle of the first page": (
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        "PATH: database disk image is malformed; "
        "restore a copy, or move the file away to begin a new history",
    ),
    "cut in half": (
        lambda path: path.write_bytes(path.read_bytes()[: 4096 * 3]),
        "PATH: database disk image is malformed; "
        "restore a copy, or move the file away to begin a new history",
    ),
    "pages overwritten": (
        _zeroed,
        "PATH: database disk image is malformed; "
        "restore a copy, or move the file away to begin a new history",
    ),
    "another program's": (
        _foreign,
        "PATH is another program's database (application id 0x0, a history has 0x6d74756e); "
        "name another file",
    ),
    "of a newer modeltune": (
        _newer,
        f"PATH was written by a newer modeltune (schema 9999; this one knows up to {HEAD}); "
        "upgrade modeltune, or name another --modeltune-store",
    ),
}
