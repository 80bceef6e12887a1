"""Removal of old events and exposures in bounded batches: no lock is held for longer than one takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Table, delete, select

from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import count_change, share_people
from recserve.store.sql.queries.history import read_table
from recserve.store.sql.queries.statements import chunks
from recserve.store.sql.schema import events, exposures

EXPOSURE_SCHEMA = pa.schema(
    {
        "recommendation_id": pa.string(),
        "user_id": pa.string(),
        "bundle": pa.string(),
        "scenario": pa.string(),
        "timestamp": pa.int64(),
        "items": pa.string(),
        "since": pa.int64(),
        "experiment": pa.string(),
        "arm": pa.string(),
        "shadow": pa.bool_(),
        "degraded": pa.string(),
        "context": pa.string(),
    }
)
"""Columns of exposures in a lake, those of the table."""

_BATCH = 5_000
_KEY = exposures.c.recommendation_id


def expire_events(database: Database, before: int, through: int | None) -> int:
    """Delete events that happened before a moment; returns how many.

    Their ids are not kept: an event that is sent again after so long a time is a new one.

    Args:
        database: The database.
        before: Milliseconds since the epoch.
        through: Only events up to this number; None for all.
    """
    old = select(events.c.seq).where(events.c.timestamp < before).order_by(events.c.seq).limit(_BATCH)
    if through is not None:
        old = old.where(events.c.seq <= through)
    total, after = 0, 0
    # By their numbers: the table is walked through once.
    while found := _read(database, old.where(events.c.seq > after)):
        total += _remove(database, events, events.c.seq, found)
        after = found[-1]
    return total


def expire_exposures(database: Database, before: int) -> int:
    """Delete exposures of recommendations that were made before a moment; returns how many."""
    old = select(_KEY).where(exposures.c.timestamp < before).order_by(_KEY).limit(_BATCH)
    total, after = 0, ""
    while found := _read(database, old.where(after < _KEY)):
        total += _remove(database, exposures, _KEY, found)
        after = found[-1]
    return total


def read_exposures(connection: Connection, before: int, limit: int) -> pa.Table:
    """Exposures of recommendations that were made before a moment, in the order of their ids."""
    query = select(*exposures.c[tuple(EXPOSURE_SCHEMA.names)]).where(exposures.c.timestamp < before)
    return read_table(connection, query.order_by(_KEY).limit(limit), EXPOSURE_SCHEMA)


def remove_exposures(database: Database, recommendation_ids: Sequence[str]) -> int:
    """Delete exposures by their ids; returns how many there were."""
    return sum(_remove(database, exposures, _KEY, some) for some in chunks(recommendation_ids))


def _read(database: Database, query: Any) -> list[Any]:
    return database.read(lambda connection: list(connection.execute(query).scalars()))


def _remove(database: Database, table: Table, key: Any, found: Sequence[Any]) -> int:
    """Delete rows, at most as many as fit into one list."""

    def work(connection: Connection) -> int:
        share_people(connection)
        removed = connection.execute(delete(table).where(key.in_(found))).rowcount
        if removed and table is events:
            count_change(connection)
        return int(removed)

    return database.write(work)
