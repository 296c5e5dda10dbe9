"""What judgement keeps: details of verdicts, checks, advice, and files beside the weights."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; runs recorded before have nothing in them."""
    for name, empty in (("files", "{}"), ("checks", "[]"), ("advice", "[]")):
        op.add_column("runs", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
    op.add_column("verdicts", sa.Column("details", sa.JSON(), nullable=False, server_default="{}"))
