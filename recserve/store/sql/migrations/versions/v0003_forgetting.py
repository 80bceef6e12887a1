"""What forgetting needs: merged ids, ids of removed events, exposures in the order of deletions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Until now an exposure counted as newer than a deletion by the clock of the host that made it.
_FILL = """
UPDATE exposures SET since = (
  SELECT coalesce(max(deletions.number), 0) FROM deletions WHERE deletions.deleted_at < exposures.timestamp
)
"""


def upgrade() -> None:
    """Add tables and columns."""
    with op.batch_alter_table("exposures") as exposures:
        exposures.add_column(sa.Column("since", sa.BigInteger))
    op.execute(_FILL)
    with op.batch_alter_table("exposures") as exposures:
        exposures.alter_column("since", existing_type=sa.BigInteger(), nullable=False)
    op.add_column("deletions", sa.Column("part_of", sa.BigInteger))
    op.create_table(
        "merges",
        sa.Column("source_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("target_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("source_hash", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_merges_target_key", "merges", ["target_key"])
    op.create_table("removed_events", sa.Column("event_key", sa.LargeBinary(16), primary_key=True))
    op.execute("UPDATE meta SET value = '3' WHERE name = 'schema_version'")
