"""Events: appending and reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, func, select, update

from recserve.data.arrays import FloatArray
from recserve.data.entities import Event
from recserve.errors import ConflictError
from recserve.store.records import AddedEvents, Withdrawn
from recserve.store.sql import schema
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.adding import insert_events, new_event_rows
from recserve.store.sql.queries.counters import count_change, share_people
from recserve.store.sql.queries.forgetting import own, read_withdrawn, take_back_events
from recserve.store.sql.queries.history import HISTORY, read_events
from recserve.store.sql.queries.numbering import settled_number
from recserve.store.sql.queries.rows import Row, check_id, vector_bytes, vector_of
from recserve.store.sql.queries.statements import chunks
from recserve.store.sql.schema import events

# Newest events looked at for each user wanted; people do several things in a row.
_EVENTS_A_USER = 100


class EventPart(Part):
    """:class:`recserve.store.protocol.EventStore` over one database, but for histories."""

    def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`EventStore.add_events`."""
        rows = new_event_rows(events)
        return self._writer.insert(_insert_all, rows) if rows else 0

    def import_events(self, events: Sequence[Event]) -> AddedEvents:
        """See :meth:`EventStore.import_events`."""
        rows = new_event_rows(events)
        if not rows:
            return AddedEvents(0)
        return self._writer.run(lambda connection: insert_events(connection, rows), len(rows))

    def remove_event(self, event_id: str) -> int:
        """See :meth:`EventStore.remove_event`."""
        check_id(event_id, "event_id")
        return self._remove(events.c.event_key == schema.key_of(event_id))

    def remove_events(self, user_id: str, item_id: str) -> int:
        """See :meth:`EventStore.remove_events`."""
        check_id(user_id, "user_id")
        check_id(item_id, "item_id")
        return self._remove(own(events, user_id) & (events.c.item_id == item_id))

    def text_vectors(self, event_ids: Sequence[str], fingerprint: str) -> dict[str, FloatArray]:
        """See :meth:`EventStore.text_vectors`."""
        keys = [schema.key_of(event_id) for event_id in event_ids]

        def look_up(connection: Connection) -> dict[str, FloatArray]:
            found = {}
            for some in chunks(keys):
                query = select(events.c.event_id, events.c.vector).where(
                    events.c.event_key.in_(some),
                    events.c.fingerprint == fingerprint,
                    events.c.vector.is_not(None),
                )
                found.update({row.event_id: vector_of(row.vector) for row in connection.execute(query)})
            return found

        return self._database.read(look_up) if keys else {}

    def set_text_vectors(self, vectors: Mapping[str, FloatArray], fingerprint: str) -> int:
        """See :meth:`EventStore.set_text_vectors`."""
        # A fixed order: two processes that write the same rows cannot block each other for good.
        rows = sorted(
            (schema.key_of(event_id), vector_bytes(vector, f"event {event_id[:80]!r}"))
            for event_id, vector in vectors.items()
        )

        def fill_in(connection: Connection) -> int:
            share_people(connection)
            changed = update(events).where(events.c.text.is_not(None))
            return sum(
                connection.execute(
                    changed.where(events.c.event_key == key).values(vector=vector, fingerprint=fingerprint)
                ).rowcount
                for key, vector in rows
            )

        return self._writer.run(fill_in, len(rows)) if rows else 0

    def _remove(self, which: ColumnElement[bool]) -> int:
        def work(connection: Connection) -> int:
            share_people(connection)
            removed = take_back_events(connection, which)
            if removed:
                count_change(connection)
            return removed

        return self._writer.run(work)

    def events_with(self, user_id: str, item_ids: Sequence[str]) -> list[Event]:
        """See :meth:`EventStore.events_with`."""
        check_id(user_id, "user_id")

        def look_up(connection: Connection) -> list[tuple[tuple[int, int], Event]]:
            found = []
            for some in chunks(list(dict.fromkeys(item_ids))):
                query = select(events.c.seq, *events.c[HISTORY]).where(
                    own(events, user_id), events.c.item_id.in_(some)
                )
                for number, *fields in connection.execute(query):
                    event = Event(*fields)
                    found.append(((event.timestamp, number), event))
            return found

        return [event for _, event in sorted(self._database.read(look_up), key=lambda pair: pair[0])]

    def recent_users(self, limit: int) -> list[str]:
        """See :meth:`EventStore.recent_users`."""
        query = select(events.c.user_id).order_by(events.c.seq.desc()).limit(limit * _EVENTS_A_USER)
        newest = self._database.read(lambda connection: connection.execute(query).scalars().all())
        return list(dict.fromkeys(newest))[:limit]

    def events_after(self, seq: int, limit: int) -> tuple[pa.Table, int]:
        """See :meth:`EventStore.events_after`."""
        until = settled_number(self._database, events, seq)
        found = self._database.read(lambda connection: read_events(connection, seq, until, limit))
        return found, found["seq"][-1].as_py() if len(found) else seq

    def new_events(self, seq: int) -> int:
        """See :meth:`EventStore.new_events`."""
        later = select(func.count()).select_from(events).where(events.c.seq > seq)
        return self._database.read(lambda connection: int(connection.execute(later).scalar_one()))

    def withdrawn(self, known_removals: int = 0) -> Withdrawn:
        """See :meth:`EventStore.withdrawn`."""
        return self._database.read(lambda connection: read_withdrawn(connection, known_removals))


def _insert_all(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert events, or none of them where one is refused; returns how many were new.

    Raises:
        ConflictError: The first refusal.
    """
    added = insert_events(connection, rows)
    if added.refused:
        raise _first(added.refused)
    return added.stored


def _first(refused: Sequence[ConflictError]) -> ConflictError:
    """The first refusal, which says how many there are."""
    first, more = refused[0], len(refused) - 1
    return type(first)(f"{first.message} (and {more} more)" if more else first.message, field=first.field)
