"""The tables of a history, and how they hold any text and any number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from modeltune.ground import first_line, parse_json

VERSION_TABLE = "modeltune_schema"
"""Not Alembic's default name: on PostgreSQL the database may hold another program's migrations."""


@dataclass(frozen=True)
class Unreadable:
    """What stands for a cell that holds something no history writes there; ``why`` in words."""

    why: str


class Words(sa.types.TypeDecorator[str]):
    """Any Python text; what a database cannot hold (NUL, lone surrogates) is kept as JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or _is_storable(value):
            return value
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            return Unreadable(f"is {type(value).__name__}, no text")
        if value.startswith('"'):
            try:
                text = json.loads(value)
            except (ValueError, RecursionError) as error:
                return Unreadable(f"is no text as a history keeps it ({error})")
            # Else two cells would be the same text.
            is_kept_so = isinstance(text, str) and not _is_storable(text)
            return text if is_kept_so else Unreadable("is no text as a history keeps it")
        if not value.isascii() and not _is_storable(value):
            return Unreadable("is no UTF-8")
        return value


class Number(sa.types.UserDefinedType[float]):
    """Any Python float; NaN, which SQLite turns into NULL, is there the text ``nan``.

    It sorts after every number, as PostgreSQL sorts its own NaN.
    """

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "DOUBLE PRECISION"

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[float | None], float | str | None]:
        def bound(value: float | None) -> float | str | None:
            if value is not None and math.isnan(value) and dialect.name == "sqlite":
                return "nan"
            return value if value is None else float(value)

        return bound

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any]:
        def number(value: Any) -> Any:
            if type(value) is float or value is None:
                return value
            if value == "nan":
                return math.nan
            if isinstance(value, int) and not isinstance(value, bool):
                return float(value)
            return Unreadable(f"is {type(value).__name__}, no number")

        return number


class Flag(sa.types.TypeDecorator[bool]):
    """True or false; SQLite holds 1 or 0, and anything else is none."""

    impl = sa.Boolean
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any]:
        def flag(value: Any) -> Any:
            if value is None or isinstance(value, bool):
                return value
            if isinstance(value, int) and value in (0, 1):
                return bool(value)
            return Unreadable("is neither true nor false")

        return flag


def document_of(text: object) -> Any:
    """Return what the JSON of a cell holds; ``Unreadable`` when it is not what a history writes."""
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if not isinstance(content, bytes):
        return Unreadable(f"is {type(text).__name__}, no JSON")
    try:
        return parse_json(content)
    except ValueError as error:
        return Unreadable(f"is no JSON as a history keeps it ({first_line(error)})")


metadata = sa.MetaData()

_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("seq", _serial, primary_key=True),
    sa.Column("id", Words, nullable=False, unique=True),
    sa.Column("created", Words, nullable=False),
    sa.Column("spec", Words, nullable=False),
    sa.Column("file", Words, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("objective", Words, nullable=False),
    sa.Column("best_trial", sa.BigInteger),
    sa.Column("best_score", Number),
    sa.Column("best_values", sa.JSON(none_as_null=True)),
    sa.Column("data_seconds", Number, nullable=False),
    sa.Column("search_seconds", Number, nullable=False),
    sa.Column("validation_seconds", Number, nullable=False),
    sa.Column("git_revision", Words),
    sa.Column("git_dirty", Flag),
    sa.Column("error", Words),
    sa.Column("cached", Flag, nullable=False),
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("search", sa.JSON, nullable=False),
    sa.Column("fit", sa.JSON, nullable=False),
    sa.Column("validation", sa.JSON, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("fingerprints", sa.JSON, nullable=False),
    sa.Column("task_report", sa.JSON, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    # The metrics' names in their order, which rows of ``scores`` alone would lose.
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("baseline", Words),
    sa.Column("files", sa.JSON, nullable=False),
    sa.Column("checks", sa.JSON, nullable=False),
    sa.Column("advice", sa.JSON, nullable=False),
    sa.Column("model", sa.JSON, nullable=False),
    sa.Column("strict", Flag, nullable=False),
    sa.Index("runs_by_spec", "spec", "seq"),
    sqlite_autoincrement=True,
)

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("run", Words, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("score", Number),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("reason", Words),
    sa.Column("epochs", sa.BigInteger, nullable=False),
    sa.Column("initial_epoch", sa.BigInteger, nullable=False),
    sa.Column("parent", sa.BigInteger),
    sa.Column("best_epoch", sa.BigInteger),
    sa.Column("seconds", Number, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("trained_by", Words, nullable=False),
    sa.Column("curve", sa.JSON, nullable=False),
    sa.Column("traceback", Words),
    # NULL of a trial that was trained in one phase.
    sa.Column("phases", sa.JSON(none_as_null=True)),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("run", Words, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("metric", Words, primary_key=True),
    sa.Column("refit", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", Number, nullable=False),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("run", Words, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("gate", Words, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("measured", Number),
    sa.Column("bound", Number),
    sa.Column("reason", Words, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    # What the gate demands; NULL of a run that was recorded before schema 2 of the report.
    sa.Column("facts", sa.JSON),
)

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("run", Words, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("refit", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("path", Words, nullable=False),
    sa.Column("sha256", Words, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not text.startswith('"') and "\0" not in text
