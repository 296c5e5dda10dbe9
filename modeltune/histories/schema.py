"""The tables of a history, and how they hold any text and any number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import sqlalchemy as sa

VERSION_TABLE = "modeltune_schema"
"""Not Alembic's default name: on PostgreSQL the database may hold another program's migrations."""


class Words(sa.types.TypeDecorator[str]):
    """Any Python text; what a database cannot hold (NUL, lone surrogates) is kept as JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or _is_storable(value):
            return value
        return json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return json.loads(value) if value is not None and value.startswith('"') else value


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

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[float | str | None], float | None]:
        return lambda value: None if value is None else float(value)


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
    sa.Column("git_dirty", sa.Boolean),
    sa.Column("error", Words),
    sa.Column("cached", sa.Boolean, nullable=False),
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
    sa.Column("strict", sa.Boolean, nullable=False),
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
