"""Background writes: exposures with the impressions that they add up to, and trials of new items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, select

from recserve.errors import StoreError
from recserve.store.records import Exposure, Trials
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer
from recserve.store.sql.parts.base import Part, log
from recserve.store.sql.parts.exposures.impressions import count_impressions
from recserve.store.sql.queries.counters import share_people
from recserve.store.sql.queries.forgetting import last_deletions
from recserve.store.sql.queries.rows import Row, check_id, exposure_of, exposure_row
from recserve.store.sql.queries.statements import add_up, chunks, insert_new
from recserve.store.sql.schema import exposures, trials

_MAX_WAITING = 20_000
"""Rows of one kind that may wait for the database."""


class BackgroundPart(Part):
    """:class:`recserve.store.protocol.ExposureStore` over one database, and trials."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database, writer)
        self._exposure_queue = _Queue(writer, "exposures", _insert_exposures)
        self._trial_queue = _Queue(writer, "trials", _count_trials)

    def add_exposures(self, exposures: Sequence[Exposure], counted: int = 0) -> None:
        """See :meth:`recserve.store.protocol.ExposureStore.add_exposures`."""
        self._exposure_queue.add(
            [
                {
                    **exposure_row(exposure),
                    "shown": [item.item_id for item in exposure.items],
                    # What nobody in particular, or nobody at all, was shown is nobody's impression.
                    "counted": 0 if exposure.user_id is None or exposure.shadow else counted,
                }
                for exposure in exposures
            ]
        )

    def exposures(self, recommendation_id: str) -> Exposure | None:
        """See :meth:`recserve.store.protocol.ExposureStore.exposures`."""
        check_id(recommendation_id, "recommendation_id")
        query = select(exposures).where(exposures.c.recommendation_id == recommendation_id)
        row = self._database.read(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else exposure_of(row)

    def flush(self) -> None:
        """See :meth:`recserve.store.protocol.ExposureStore.flush`."""
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
        self._trial_queue.add(list(rows.values()))

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
    """Rows of one kind that wait for the database, written together; what is beyond a bound is dropped.

    Args:
        writer: Writes them.
        what: What a warning calls them.
        work: Writes rows in a transaction.
    """

    def __init__(self, writer: Writer, what: str, work: Callable[[Connection, list[Row]], None]) -> None:
        self._writer = writer
        self._what = what
        self._work = work
        self._waiting = 0
        self._open: list[Row] | None = None
        self._lock = threading.Lock()

    def add(self, rows: list[Row]) -> None:
        """Write rows soon, with all that come before the writing begins."""
        with self._lock:
            room = _MAX_WAITING - self._waiting
            kept = rows[:room]
            self._waiting += len(kept)
            begun = None
            if self._open is not None:
                self._open.extend(kept)
            elif kept:
                begun = self._open = kept
        if len(kept) < len(rows):
            log.warning("%d %s dropped: the store is not keeping up", len(rows) - len(kept), self._what)
        if begun is not None:
            self._hand_over(begun)

    def _hand_over(self, rows: list[Row]) -> None:
        try:
            written = self._writer.defer(lambda connection: self._write(connection, rows), len(rows))
        except StoreError:
            self._close(rows)
            raise
        written.add_done_callback(lambda result: self._done(rows, result))

    def _write(self, connection: Connection, rows: list[Row]) -> None:
        self._close(rows)
        self._work(connection, rows)

    def _close(self, rows: list[Row]) -> None:
        """From now on others are written apart: this may run again, and must then have the same effect."""
        with self._lock:
            if self._open is rows:
                self._open = None

    def _done(self, rows: list[Row], result: Future[Any]) -> None:
        self._close(rows)  # if the database was not even reached
        with self._lock:
            self._waiting -= len(rows)
        if (error := result.exception()) is not None:
            log.warning("%d %s were not stored: %s", len(rows), self._what, error)


def _insert_exposures(connection: Connection, rows: list[Row]) -> None:
    share_people(connection)
    keys = {row["user_id"]: schema.key_of(row["user_id"]) for row in rows if row["user_id"] is not None}
    deleted = last_deletions(connection, sorted(set(keys.values())))
    numbers = {user_id: deleted[key]["number"] for user_id, key in keys.items() if key in deleted}
    kept = [row for row in rows if row["since"] >= numbers.get(row["user_id"], 0)]
    if len(kept) < len(rows):
        log.info("%d exposures of people who were deleted meanwhile were dropped", len(rows) - len(kept))
    new = _new(connection, kept) if any(row["counted"] for row in kept) else kept
    if new:
        insert_new(connection, schema.exposures, new)
    counted = [row for row in new if row["counted"] and row["shown"]]
    if counted:
        count_impressions(connection, counted)


def _new(connection: Connection, rows: list[Row]) -> list[Row]:
    """Rows of exposures that are not stored yet, each once: what is counted must not be counted again."""
    distinct = {row["recommendation_id"]: row for row in reversed(rows)}
    names = [row["recommendation_id"] for row in rows if row["counted"]]
    key = exposures.c.recommendation_id
    for some in chunks(names):
        for name in connection.execute(select(key).where(key.in_(some))).scalars():
            distinct.pop(name, None)
    return list(reversed(distinct.values()))


def _count_trials(connection: Connection, rows: list[Row]) -> None:
    # A fixed order: two processes that write the same rows cannot block each other for good.
    ordered = sorted(rows, key=lambda row: bytes(row["item_key"]))
    add_up(connection, schema.trials, ordered, ("shown", "clicked"))
