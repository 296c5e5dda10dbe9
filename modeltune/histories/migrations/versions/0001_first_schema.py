"""The first schema: runs, and their trials, scores, verdicts and artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables. Frozen once released: a later schema is a later migration."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "runs",
        sa.Column("seq", number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("best_trial", sa.BigInteger()),
        sa.Column("best_score", sa.Double()),
        sa.Column("best_values", sa.JSON()),
        sa.Column("data_seconds", sa.Double(), nullable=False),
        sa.Column("search_seconds", sa.Double(), nullable=False),
        sa.Column("validation_seconds", sa.Double(), nullable=False),
        sa.Column("git_revision", sa.Text()),
        sa.Column("git_dirty", sa.Boolean()),
        sa.Column("error", sa.Text()),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("search", sa.JSON(), nullable=False),
        sa.Column("fit", sa.JSON(), nullable=False),
        sa.Column("validation", sa.JSON(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("fingerprints", sa.JSON(), nullable=False),
        sa.Column("task_report", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("baseline", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_by_spec", "runs", ["spec", "seq"])
    op.create_table(
        "trials",
        sa.Column("run", sa.Text(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("epochs", sa.BigInteger(), nullable=False),
        sa.Column("initial_epoch", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger()),
        sa.Column("best_epoch", sa.BigInteger()),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("trained_by", sa.Text(), nullable=False),
        sa.Column("curve", sa.JSON(), nullable=False),
    )
    op.create_table(
        "scores",
        sa.Column("run", sa.Text(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("metric", sa.Text(), primary_key=True),
        sa.Column("refit", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.Double(), nullable=False),
    )
    op.create_table(
        "verdicts",
        sa.Column("run", sa.Text(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("measured", sa.Double()),
        sa.Column("bound", sa.Double()),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "artifacts",
        sa.Column("run", sa.Text(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("refit", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
