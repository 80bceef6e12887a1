"""Catalogue versions, profiles, deletions, keys, audit, trials; recommendations of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add tables and columns; every item of before is of catalogue version 1."""
    op.add_column("events", sa.Column("recommendation_id", sa.Text))
    _extend_items()
    _add_people()
    _add_access()
    op.create_table(
        "trials",
        sa.Column("item_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("shown", sa.BigInteger, nullable=False),
        sa.Column("clicked", sa.BigInteger, nullable=False),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    first = [("catalogue", 1), ("deletions", 0), ("keys", 0)]
    op.bulk_insert(counters, [{"name": name, "value": value} for name, value in first])
    op.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")


def _extend_items() -> None:
    with op.batch_alter_table("items") as items:
        items.add_column(sa.Column("created", sa.BigInteger))
        items.add_column(sa.Column("changed", sa.BigInteger))
        items.add_column(sa.Column("hidden", sa.Boolean))
        items.add_column(sa.Column("deleted", sa.Boolean))
        items.add_column(sa.Column("expires", sa.BigInteger))
        items.add_column(sa.Column("vector", sa.LargeBinary))
        items.add_column(sa.Column("fingerprint", sa.Text))
    table = sa.table(
        "items",
        sa.column("created", sa.BigInteger),
        sa.column("changed", sa.BigInteger),
        sa.column("hidden", sa.Boolean),
        sa.column("deleted", sa.Boolean),
        sa.column("fingerprint", sa.Text),
    )
    filled = table.update().values(created=1, changed=1, hidden=False, deleted=False, fingerprint="")
    op.get_bind().execute(filled)
    with op.batch_alter_table("items") as items:
        for name, kind in (
            ("created", sa.BigInteger()),
            ("changed", sa.BigInteger()),
            ("hidden", sa.Boolean()),
            ("deleted", sa.Boolean()),
            ("fingerprint", sa.Text()),
        ):
            items.alter_column(name, existing_type=kind, nullable=False)
    op.create_index("ix_items_changed", "items", ["changed"])


def _add_people() -> None:
    op.create_table(
        "users",
        sa.Column("user_key", sa.LargeBinary(16), primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "deletions",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("receipt_id", sa.String(32), nullable=False, unique=True),
        sa.Column("user_key", sa.LargeBinary(16), nullable=False),
        sa.Column("user_hash", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("exposures", sa.BigInteger, nullable=False),
        sa.Column("profiles", sa.Integer, nullable=False),
    )
    op.create_index("ix_deletions_user_key", "deletions", ["user_key"])


def _add_access() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(200), primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("rate_limit", sa.Double),
    )
    op.create_table(
        "audit",
        sa.Column("seq", _sequence, primary_key=True, autoincrement=True),
        sa.Column("entry_key", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
