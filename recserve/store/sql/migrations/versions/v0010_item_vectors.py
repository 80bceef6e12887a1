"""Vectors of items in named spaces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add a table, in which no item of before has anything."""
    op.create_table(
        "item_vectors",
        sa.Column("item_key", sa.LargeBinary(16), nullable=False),
        sa.Column("space", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("item_key", "space", name="pk_item_vectors"),
    )
    op.create_index("ix_item_vectors_changed", "item_vectors", ["changed"])
    op.execute("UPDATE meta SET value = '10' WHERE name = 'schema_version'")
