"""Daily counts of outcomes, what answers had to do without, and indexes by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table, a column that no exposure of before has anything in, and the indexes."""
    op.add_column("exposures", sa.Column("degraded", sa.Text))
    op.create_index("ix_exposures_timestamp", "exposures", ["timestamp"])
    op.create_index("ix_events_timestamp", "events", ["timestamp"])
    op.create_table(
        "daily_outcomes",
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("settings", sa.String(64), nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.execute("UPDATE meta SET value = '6' WHERE name = 'schema_version'")
