"""Tables of the SQL store, the same on every engine.

External ids are text of any length, but a B-tree entry of PostgreSQL holds about 2,700 bytes. So ids
are never indexed themselves: what must be unique is indexed by a 128-bit digest of the id (``*_key``)
and what is only looked up by a 64-bit one (``user_hash``, an integer, so that a whole batch of users
fits into one JSON or array parameter).
"""

from __future__ import annotations

import hashlib

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 1
"""Raised with every change of the tables; a store of a newer version is refused."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared INTEGER.
_sequence = BigInteger().with_variant(Integer(), "sqlite")

events = Table(
    "events",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("event_key", LargeBinary(16), nullable=False, unique=True),
    Column("event_id", Text, nullable=False),
    Column("user_hash", BigInteger, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("value", Double),
    Column("timestamp", BigInteger, nullable=False),
    # Numbers of deleted rows must not be given out again: readers follow the table by ``seq``.
    sqlite_autoincrement=True,
)
Index(None, events.c.user_hash, events.c.timestamp, events.c.seq)

items = Table(
    "items",
    metadata,
    Column("item_key", LargeBinary(16), primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
)

exposures = Table(
    "exposures",
    metadata,
    Column("recommendation_id", String(200), primary_key=True),
    Column("user_hash", BigInteger, index=True),
    Column("user_id", Text),
    Column("bundle", Text, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("items", Text, nullable=False),
)

bundles = Table(
    "bundles",
    metadata,
    Column("bundle_id", String(200), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("summary", Text, nullable=False),
)

activations = Table(
    "activations",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("bundle_id", String(200), ForeignKey("bundles.bundle_id"), nullable=False),
    Column("activated", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)


def key_of(external: str) -> bytes:
    """128-bit digest of an id, for unique columns."""
    return hashlib.blake2b(external.encode(), digest_size=16).digest()


def hash_of(external: str) -> int:
    """Signed 64-bit digest of an id, for lookup columns; readers compare the id itself as well."""
    digest = hashlib.blake2b(external.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
