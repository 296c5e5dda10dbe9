"""What reports show of a run: how its model is built, and whether it was judged strictly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; runs recorded before have nothing in them."""
    op.add_column("runs", sa.Column("model", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column(
        "runs", sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.false())
    )
