"""What several tests of histories need of their surroundings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modeltune.histories import store
from tests.support.histories import NEXT_HEAD

NEXT = f"""
from alembic import op
import sqlalchemy as sa
revision = "{NEXT_HEAD}"
down_revision = "{store.HEAD}"
def upgrade():
    op.add_column("runs", sa.Column("colour", sa.Text()))
    op.execute("UPDATE runs SET colour = 'red'")
    op.create_table("colours", sa.Column("name", sa.Text(), primary_key=True))
"""


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a modeltune with one more migration."""
    migrations = tmp_path / "100%_migrations"
    shutil.copytree(store.MIGRATIONS, migrations)
    (migrations / "versions" / f"{NEXT_HEAD}_colour.py").write_text(NEXT)
    monkeypatch.setattr(store, "MIGRATIONS", migrations)
    monkeypatch.setattr(store, "HEAD", NEXT_HEAD)
