"""Contexts of events and exposures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add columns, which no row of before has anything in, and indexes of the rows that have."""
    said = sa.text("context IS NOT NULL")
    for table in ("events", "exposures"):
        op.add_column(table, sa.Column("context", sa.Text))
        op.create_index(f"ix_{table}_context", table, ["seq"], sqlite_where=said, postgresql_where=said)
    op.execute("UPDATE meta SET value = '9' WHERE name = 'schema_version'")
