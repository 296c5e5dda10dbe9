"""Where a failed trial raised: its traceback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; trials recorded before have no traceback."""
    op.add_column("trials", sa.Column("traceback", sa.Text()))
