"""Run the migrations on the connection, and in the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    # SQLite rolls DDL back as well, since the store has begun the transaction; Alembic
    # takes it for a database that cannot, and would begin none of its own.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
