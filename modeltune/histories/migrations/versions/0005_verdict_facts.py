"""What the gate of a verdict demands, as values; of verdicts recorded before, its text tells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; verdicts recorded before have none, and are typed when they are read."""
    op.add_column("verdicts", sa.Column("facts", sa.JSON()))
