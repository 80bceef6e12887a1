"""Texts of events, and their vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add columns, which no event of before has anything in."""
    for name, kind in (("text", sa.Text), ("vector", sa.LargeBinary), ("fingerprint", sa.Text)):
        op.add_column("events", sa.Column(name, kind))
    op.execute("UPDATE meta SET value = '4' WHERE name = 'schema_version'")
