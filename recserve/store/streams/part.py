"""Streams of an SQL store."""

from __future__ import annotations

import json
from typing import cast

from sqlalchemy import Connection, and_, select

from recserve.store.records import Exposure
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.counters import read_pulse
from recserve.store.sql.queries.numbering import last_number, settled_number
from recserve.store.sql.queries.rows import exposure_of
from recserve.store.sql.queries.statements import insert_new, upsert
from recserve.store.sql.schema import events, exposures, items, meta
from recserve.store.streams.protocol import StreamKind, StreamPosition

_STREAM = "stream:"
"""Beginning of the rows of ``meta`` that say how far a stream has come."""


class StreamPart(Part):
    """:class:`recserve.store.streams.StreamStore` over one database."""

    def exposures_after(self, seq: int, limit: int) -> tuple[list[tuple[int, Exposure]], int]:
        """See :meth:`StreamStore.exposures_after`."""
        until = settled_number(self._database, exposures, seq)
        query = select(exposures).where(exposures.c.seq.between(seq + 1, until))
        query = query.order_by(exposures.c.seq).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        found = [(int(row["seq"]), exposure_of(row)) for row in rows]
        # Of a shorter page nothing is left below the highest number, whatever has been removed.
        return found, found[-1][0] if len(found) == limit else max(seq, until)

    def deleted_items(self, version: int, limit: int) -> tuple[list[tuple[int, str]], int]:
        """See :meth:`StreamStore.deleted_items`."""
        gone = and_(items.c.deleted, items.c.changed > version)
        versions = select(items.c.changed).where(gone).order_by(items.c.changed)

        def look_up(connection: Connection) -> tuple[list[tuple[int, str]], int]:
            beyond = connection.execute(versions.offset(limit).limit(1)).scalar()
            until = read_pulse(connection).catalogue
            if beyond is not None:
                until = max(int(beyond) - 1, int(connection.execute(versions.limit(1)).scalar_one()))
            query = select(items.c.changed, items.c.item_id).where(gone, items.c.changed <= until)
            # Sorted here: by code point on every engine, whatever its collation.
            return sorted((int(changed), name) for changed, name in connection.execute(query)), until

        found, until = self._database.read(look_up)
        return found, max(version, until)

    def newest_numbers(self) -> dict[StreamKind, int]:
        """See :meth:`StreamStore.newest_numbers`."""

        def look_up(connection: Connection) -> dict[StreamKind, int]:
            pulse = read_pulse(connection)
            return {
                "exposures": last_number(connection, exposures),
                "events": last_number(connection, events),
                "items": pulse.catalogue,
                "users": pulse.deletions,
            }

        return self._database.read(look_up)

    def stream_position(self, name: str) -> dict[StreamKind, int]:
        """See :meth:`StreamStore.stream_position`."""
        query = select(meta.c.value).where(meta.c.name == _STREAM + name)
        found = self._database.read(lambda connection: connection.execute(query).scalar())
        return _position(found)

    def move_stream(self, name: str, position: StreamPosition) -> None:
        """See :meth:`StreamStore.move_stream`."""
        row = _STREAM + name
        taken = select(meta.c.value).where(meta.c.name == row).with_for_update()

        def work(connection: Connection) -> None:
            insert_new(connection, meta, [{"name": row, "value": "{}"}])
            reached = _position(connection.execute(taken).scalar_one())
            for kind, number in position.items():
                reached[kind] = max(number, reached.get(kind, 0))
            upsert(connection, meta, [{"name": row, "value": json.dumps(reached)}])

        self._writer.run(work)


def _position(value: str | None) -> dict[StreamKind, int]:
    return cast(dict[StreamKind, int], json.loads(value or "{}"))
