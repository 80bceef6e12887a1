"""Events: appending and reading them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from sqlalchemy import Connection, func, select

from recserve.data.entities import Event
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import exclude_people, share_people
from recserve.store.sql.queries.history import read_events
from recserve.store.sql.queries.rows import Row, event_rows
from recserve.store.sql.queries.statements import insert_new
from recserve.store.sql.schema import events
from recserve.store.sql.tables.base import Part

# Newest events looked at for each user wanted; people do several things in a row.
_EVENTS_A_USER = 100


class EventPart(Part):
    """:class:`recserve.store.protocol.EventStore` over one database, but for histories."""

    def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`EventStore.add_events`."""
        if not events:
            return 0
        rows = event_rows(events)
        return self._writer.insert(insert_events, rows)

    def recent_users(self, limit: int) -> list[str]:
        """See :meth:`EventStore.recent_users`."""
        query = select(events.c.user_id).order_by(events.c.seq.desc()).limit(limit * _EVENTS_A_USER)
        newest = self._database.read(lambda connection: connection.execute(query).scalars().all())
        return list(dict.fromkeys(newest))[:limit]

    def events_after(self, seq: int, limit: int) -> tuple[pa.Table, int]:
        """See :meth:`EventStore.events_after`."""
        until = settled_event(self._database, seq)
        found = self._database.read(lambda connection: read_events(connection, seq, until, limit))
        return found, found["seq"][-1].as_py() if len(found) else seq


def settled_event(database: Database, after: int = 0) -> int:
    """The highest number of an event, once every lower one is visible or was never used.

    Nobody is waited for while there is none above ``after``.

    PostgreSQL hands numbers out before transactions commit, so one of a slower transaction may be
    missing below it. Every transaction that holds such a number holds the shared lock as well: having
    had the lock alone for a moment means that they have all ended.
    """
    newest = select(func.coalesce(func.max(events.c.seq), 0))
    highest = int(database.read(lambda connection: connection.execute(newest).scalar_one()))
    if highest > after:
        database.read(exclude_people)
    return highest


def insert_events(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert rows of events; returns how many were not there."""
    share_people(connection)
    return insert_new(connection, schema.events, rows)
