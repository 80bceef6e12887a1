"""Tables of the first version: events, items, exposures, bundles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "events",
        sa.Column("seq", _sequence, primary_key=True, autoincrement=True),
        sa.Column("event_key", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("user_hash", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_user_hash_timestamp_seq", "events", ["user_hash", "timestamp", "seq"])
    op.create_table(
        "items",
        sa.Column("item_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "exposures",
        sa.Column("recommendation_id", sa.String(200), primary_key=True),
        sa.Column("user_hash", sa.BigInteger),
        sa.Column("user_id", sa.Text),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("scenario", sa.Text, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("items", sa.Text, nullable=False),
    )
    op.create_index("ix_exposures_user_hash", "exposures", ["user_hash"])
    op.create_table(
        "bundles",
        sa.Column("bundle_id", sa.String(200), primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_table(
        "activations",
        sa.Column("seq", _sequence, primary_key=True, autoincrement=True),
        sa.Column("bundle_id", sa.String(200), sa.ForeignKey("bundles.bundle_id"), nullable=False),
        sa.Column("activated", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    meta = op.create_table(
        "meta",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(meta, [{"name": "schema_version", "value": "1"}])
