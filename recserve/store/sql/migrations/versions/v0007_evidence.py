"""Impressions of each user; who made a bundle current and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a table and columns; what was shown before is not counted."""
    op.create_table(
        "user_impressions",
        sa.Column("user_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("items", sa.Text, nullable=False),
        sa.Column("oldest", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_user_impressions_changed", "user_impressions", ["changed"])
    with op.batch_alter_table("deletions") as deletions:
        deletions.add_column(sa.Column("impressions", sa.BigInteger))
    op.execute("UPDATE deletions SET impressions = 0")
    with op.batch_alter_table("deletions") as deletions:
        deletions.alter_column("impressions", existing_type=sa.BigInteger(), nullable=False)
    for name in ("actor", "action", "reason", "evidence"):
        op.add_column("activations", sa.Column(name, sa.Text))
    op.execute("INSERT INTO counters (name, value) VALUES ('impressions', 0)")
    op.execute("UPDATE meta SET value = '7' WHERE name = 'schema_version'")
