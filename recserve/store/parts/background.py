"""What is written without anybody waiting for it: exposures, and trials of new items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, select

from recserve.store import schema
from recserve.store.counters import share_people
from recserve.store.database import Database
from recserve.store.parts.part import Part, by_key, chunks, log
from recserve.store.parts.users import deleted_at
from recserve.store.records import Exposure, Trials
from recserve.store.rows import Row, check_id, exposure_of, exposure_row
from recserve.store.schema import exposures, trials
from recserve.store.statements import add_up, insert_new
from recserve.store.writer import Writer

_MAX_WAITING = 20_000
"""Rows of one kind that may wait for the database."""


class BackgroundPart(Part):
    """:class:`recserve.store.base.ExposureStore` over one database, and trials."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database, writer)
        self._exposure_queue = _Queue(writer, "exposures")
        self._trial_queue = _Queue(writer, "trials")

    def add_exposures(self, exposures: Sequence[Exposure]) -> None:
        """See :meth:`ExposureStore.add_exposures`."""
        self._exposure_queue.add([exposure_row(one) for one in exposures], _insert_exposures)

    def exposures(self, recommendation_id: str) -> Exposure | None:
        """See :meth:`ExposureStore.exposures`."""
        check_id(recommendation_id, "recommendation_id")
        query = select(exposures).where(exposures.c.recommendation_id == recommendation_id)
        row = self._database.read(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else exposure_of(row)

    def flush(self) -> None:
        """See :meth:`ExposureStore.flush`."""
        self._writer.flush()

    def add_trials(self, shown: Mapping[str, int], clicked: Mapping[str, int]) -> None:
        """See :meth:`ItemStore.add_trials`."""
        rows = {}
        for item_id in {**shown, **clicked}:
            check_id(item_id, "item_id")
            rows[item_id] = {
                "item_key": schema.key_of(item_id),
                "item_id": item_id,
                "shown": int(shown.get(item_id, 0)),
                "clicked": int(clicked.get(item_id, 0)),
            }
        self._trial_queue.add(by_key(rows, "item_key"), _count_trials)

    def trials(self, item_ids: Sequence[str]) -> dict[str, Trials]:
        """See :meth:`ItemStore.trials`."""
        for item_id in item_ids:
            check_id(item_id, "item_id")
        keys = [schema.key_of(item_id) for item_id in dict.fromkeys(item_ids)]

        def look_up(connection: Connection) -> dict[str, Trials]:
            found = {}
            for some in chunks(keys):
                query = select(*trials.c["item_id", "shown", "clicked"]).where(trials.c.item_key.in_(some))
                for item_id, shown, clicked in connection.execute(query):
                    found[item_id] = Trials(shown, clicked)
            return found

        return self._database.read(look_up) if keys else {}


class _Queue:
    """Bounds the rows of one kind that wait for the database; what is beyond is dropped."""

    def __init__(self, writer: Writer, what: str) -> None:
        self._writer = writer
        self._what = what
        self._waiting = 0
        self._lock = threading.Lock()

    def add(self, rows: list[Row], work: Callable[[Connection, list[Row]], None]) -> None:
        """Write rows soon."""
        with self._lock:
            room = _MAX_WAITING - self._waiting
            self._waiting += min(len(rows), room)
        if len(rows) > room:
            log.warning("%d %s dropped: the store is not keeping up", len(rows) - room, self._what)
            rows = rows[:room]
        if rows:
            future = self._writer.defer(lambda connection: work(connection, rows), len(rows))
            future.add_done_callback(lambda result: self._done(len(rows), result))

    def _done(self, count: int, result: Future[Any]) -> None:
        with self._lock:
            self._waiting -= count
        if (error := result.exception()) is not None:
            log.warning("%d %s were not stored: %s", count, self._what, error)


def _insert_exposures(connection: Connection, rows: list[Row]) -> None:
    share_people(connection)
    keys = {row["user_id"]: schema.key_of(row["user_id"]) for row in rows if row["user_id"] is not None}
    forgotten = deleted_at(connection, sorted(set(keys.values())))
    if forgotten:
        rows = [
            row
            for row in rows
            if row["user_id"] is None or row["timestamp"] > forgotten.get(keys[row["user_id"]], _NEVER)
        ]
    if rows:
        insert_new(connection, schema.exposures, rows)


def _count_trials(connection: Connection, rows: list[Row]) -> None:
    add_up(connection, schema.trials, rows, ("shown", "clicked"))


_NEVER = -(2**63) - 1
