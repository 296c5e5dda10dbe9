"""In which phases a trial was trained, where a fit of the author's has several."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; trials recorded before have none."""
    op.add_column("trials", sa.Column("phases", sa.JSON()))
