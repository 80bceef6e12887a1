"""Schema of the SQL store: the columns of every table, the same on every engine.

External ids are text of any length, but a B-tree entry of PostgreSQL holds about 2,700 bytes. So ids
are never indexed themselves: what must be unique is indexed by a 128-bit digest of the id (``*_key``)
and what is only looked up by a 64-bit one (``user_hash``, an integer, so that a whole batch of users
fits into one JSON or array parameter).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from sqlalchemy import (
    BigInteger,
    Boolean,
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

from recserve.data.arrays import Int64Array

SCHEMA_VERSION = 9
"""Raised with every change of the tables, each of which has a migration."""

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
    # Empty for what was done in words alone.
    Column("item_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("value", Double),
    Column("timestamp", BigInteger, nullable=False),
    Column("recommendation_id", Text),
    Column("text", Text),
    # Of the text: float32, little endian, with the fingerprint of its encoder. They are written later, and go
    # with the event.
    Column("vector", LargeBinary),
    Column("fingerprint", Text),
    # JSON: a flat object, what was the case; NULL for nothing.
    Column("context", Text),
    # Numbers of deleted rows must not be given out again: readers follow the table by ``seq``.
    sqlite_autoincrement=True,
)
Index(None, events.c.user_hash, events.c.timestamp, events.c.seq)
Index(None, events.c.timestamp)
# Of rows with a context alone: whether there are any is known without reading the table, as for exposures.
_said = events.c.context.is_not(None)
Index("ix_events_context", events.c.seq, sqlite_where=_said, postgresql_where=_said)

# Ids of events that were taken back or went with a person: a late retry must not bring them back.
removed_events = Table(
    "removed_events",
    metadata,
    Column("event_key", LargeBinary(16), primary_key=True),
)

items = Table(
    "items",
    metadata,
    Column("item_key", LargeBinary(16), primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # Catalogue versions, see recserve.store.Pulse.
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False, index=True),
    Column("hidden", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("expires", BigInteger),
    # float32, little endian.
    Column("vector", LargeBinary),
    Column("fingerprint", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("user_key", LargeBinary(16), primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # Deletions there had been when the profile was begun: tells a new beginning from a left-over.
    Column("since", BigInteger, nullable=False),
)

# Whose events and exposures became whose. Late ones of a session go when the person goes.
merges = Table(
    "merges",
    metadata,
    Column("source_key", LargeBinary(16), primary_key=True),
    Column("target_key", LargeBinary(16), primary_key=True, index=True),
    Column("source_hash", BigInteger, nullable=False),
    # Deletions there had been; see users.
    Column("since", BigInteger, nullable=False),
)

exposures = Table(
    "exposures",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("recommendation_id", String(200), nullable=False, unique=True),
    Column("user_hash", BigInteger, index=True),
    Column("user_id", Text),
    Column("bundle", Text, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False, index=True),
    Column("items", Text, nullable=False),
    # Deletions there had been when it was made; see users.
    Column("since", BigInteger, nullable=False),
    Column("experiment", Text),
    Column("arm", Text),
    # Computed for comparison, and shown to nobody.
    Column("shadow", Boolean, nullable=False),
    # JSON: what the answer had to do without; NULL for nothing.
    Column("degraded", Text),
    # JSON: what the request said was the case, as far as it is flat; NULL for nothing.
    Column("context", Text),
    # As for events: streams follow the table by ``seq``.
    sqlite_autoincrement=True,
)
_told = exposures.c.context.is_not(None)
Index("ix_exposures_context", exposures.c.seq, sqlite_where=_told, postgresql_where=_told)

# Counts of a day, a Parquet table each; nothing in them names a person.
daily_outcomes = Table(
    "daily_outcomes",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200), primary_key=True),
    Column("settings", String(64), nullable=False),
    # Exposures of the day have been removed: it cannot be counted anew.
    Column("final", Boolean, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

# What each user was shown lately, which serving reads with the history.
user_impressions = Table(
    "user_impressions",
    metadata,
    Column("user_key", LargeBinary(16), primary_key=True),
    Column("user_id", Text, nullable=False),
    # JSON: item id -> moments of its newest impressions, ascending. Items shown last come last.
    Column("items", Text, nullable=False),
    Column("oldest", BigInteger, nullable=False),
    # Number of the last change; readers of SQLite follow the table by it.
    Column("changed", BigInteger, nullable=False, index=True),
    # Fewest deletions there had been when one of them was made; see users.
    Column("since", BigInteger, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("item_key", LargeBinary(16), primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("shown", BigInteger, nullable=False),
    Column("clicked", BigInteger, nullable=False),
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
    # Who made it current and why; NULL of before these were kept.
    Column("actor", Text),
    Column("action", Text),
    Column("reason", Text),
    # JSON: the figures that it was decided by.
    Column("evidence", Text),
    sqlite_autoincrement=True,
)

experiments = Table(
    "experiments",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("created", BigInteger, nullable=False),
    # JSON: what was asked for, and what has become of it.
    Column("definition", Text, nullable=False),
    Column("status", Text, nullable=False),
)

deletions = Table(
    "deletions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("receipt_id", String(32), nullable=False, unique=True),
    Column("user_key", LargeBinary(16), nullable=False, index=True),
    Column("user_hash", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=False),
    # Number of the last event that was stored before the deletion, whoever's it was.
    Column("last_event", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("exposures", BigInteger, nullable=False),
    Column("profiles", Integer, nullable=False),
    # Items whose impressions were counted.
    Column("impressions", BigInteger, nullable=False),
    # Number of the deletion of the person whom this id had been merged into; NULL for the person's own.
    Column("part_of", BigInteger),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(200), primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("rate_limit", Double),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    # Makes writing an entry again harmless.
    Column("entry_key", LargeBinary(16), nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", BigInteger, nullable=False),
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


def hashes_of(externals: Iterable[str]) -> Int64Array:
    """The same of many ids: int64, shape (N,)."""
    digest = hashlib.blake2b
    every = b"".join([digest(external.encode(), digest_size=8).digest() for external in externals])
    return np.frombuffer(every, "<i8").astype(np.int64)
