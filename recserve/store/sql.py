"""The store on SQLAlchemy Core, for SQLite and PostgreSQL."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy import inspect as sqlalchemy_inspect

from recserve.domain import Event, Item
from recserve.errors import NotFoundError, StoreError
from recserve.stages import Tables
from recserve.store import schema
from recserve.store.base import BundleRecord, Counts, Exposure
from recserve.store.database import Database
from recserve.store.queries import histories_query, read_tables
from recserve.store.rows import (
    check_id,
    dump_json,
    event_rows,
    exposure_of,
    exposure_row,
    item_row,
    now_ms,
)
from recserve.store.schema import activations, bundles, events, exposures, items, meta
from recserve.store.statements import insert_new, upsert
from recserve.store.writer import Writer

_log = logging.getLogger("recserve.store")

# Newest events looked at for each user wanted; people do several things in a row.
_EVENTS_A_USER = 100
_CHUNK = 5_000
"""Ids of one IN list and items of one statement: well below every engine's limit of parameters."""

_MAX_WAITING_EXPOSURES = 20_000


class SqlStore:
    """:class:`recserve.store.Store` over one database.

    Args:
        database: An open database; tables are created if it has none.

    Raises:
        StoreError: It cannot be reached, or was made by a newer recserve.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._histories = histories_query(database.is_postgres)
        _prepare_schema(database)
        self._writer = Writer(database)
        self._waiting_exposures = 0
        self._lock = threading.Lock()

    # -- events and items -----------------------------------------------------------------------

    def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`Store.add_events`."""
        if not events:
            return 0
        rows = event_rows(events)
        return self._writer.run(partial(insert_new, table=schema.events, rows=rows), len(rows))

    def histories(self, user_ids: Sequence[str], limit: int) -> dict[str, list[Event]]:
        """See :meth:`Store.histories`."""
        found: dict[str, list[Event]] = {user: [] for user in user_ids}
        for user in found:
            check_id(user, "user_id")
        if not found or limit < 1:
            return found
        hashes: Any = list({schema.hash_of(user) for user in found})
        if not self._database.is_postgres:
            hashes = json.dumps(hashes)
        parameters = {"hashes": hashes, "limit": limit}
        rows = self._database.read(lambda c: c.execute(self._histories, parameters).all())
        for user_id, item_id, event, timestamp, value, event_id in rows:
            own = found.get(user_id)
            if own is not None:  # else: another user whose hash is the same
                own.append(Event(user_id, item_id, event, timestamp, value, event_id))
        return found

    def upsert_items(self, items: Iterable[Item]) -> int:
        """See :meth:`Store.upsert_items`."""
        rows = {item.item_id: item_row(item) for item in items}
        # A fixed order: two processes that write the same items cannot block each other for good.
        ordered = sorted(rows.values(), key=lambda row: bytes(row["item_key"]))
        if ordered:
            self._writer.run(partial(upsert, table=schema.items, rows=ordered), len(ordered))
        return len(ordered)

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """See :meth:`Store.items`."""
        for item_id in item_ids:
            check_id(item_id, "item_id")
        keys = [schema.key_of(item_id) for item_id in dict.fromkeys(item_ids)]

        def look_up(connection: Connection) -> dict[str, Item]:
            found = {}
            for start in range(0, len(keys), _CHUNK):
                query = select(items.c.item_id, items.c.attributes).where(
                    items.c.item_key.in_(keys[start : start + _CHUNK])
                )
                for item_id, attributes in connection.execute(query):
                    found[item_id] = Item(item_id, json.loads(attributes))
            return found

        return self._database.read(look_up) if keys else {}

    def counts(self) -> Counts:
        """See :meth:`Store.counts`."""
        users = select(events.c.user_hash).distinct().subquery()
        query: Select[Any] = select(
            select(func.count()).select_from(users).scalar_subquery(),
            select(func.count()).select_from(items).scalar_subquery(),
            select(func.count()).select_from(events).scalar_subquery(),
        )
        return Counts(*self._database.read(lambda connection: connection.execute(query).one()))

    def recent_users(self, limit: int) -> list[str]:
        """See :meth:`Store.recent_users`."""
        query = select(events.c.user_id).order_by(events.c.seq.desc()).limit(limit * _EVENTS_A_USER)
        newest = self._database.read(lambda connection: connection.execute(query).scalars().all())
        return list(dict.fromkeys(newest))[:limit]

    def snapshot(self) -> Tables:
        """See :meth:`Store.snapshot`."""
        return self._database.read(read_tables)

    # -- bundles --------------------------------------------------------------------------------

    def record_bundle(self, bundle_id: str, created_ms: int, summary: Mapping[str, Any]) -> None:
        """See :meth:`Store.record_bundle`."""
        check_id(bundle_id, "bundle_id", longest=200)
        row = {
            "bundle_id": bundle_id,
            "created": created_ms,
            "summary": dump_json(summary, "summary of a bundle"),
        }
        self._writer.run(partial(upsert, table=bundles, rows=[row]))

    def bundles(self) -> list[BundleRecord]:
        """See :meth:`Store.bundles`."""
        query = select(bundles.c.bundle_id, bundles.c.created, bundles.c.summary).order_by(
            bundles.c.created.desc(), bundles.c.bundle_id
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [BundleRecord(name, created, json.loads(summary)) for name, created, summary in rows]

    def set_current(self, bundle_id: str) -> None:
        """See :meth:`Store.set_current`."""

        def activate(connection: Connection) -> bool:
            known = select(bundles.c.bundle_id).where(bundles.c.bundle_id == bundle_id)
            if connection.execute(known).first() is None:
                return False
            if connection.execute(_current()).scalar() != bundle_id:
                row = {"bundle_id": bundle_id, "activated": now_ms()}
                connection.execute(insert(activations), row)
            return True

        check_id(bundle_id, "bundle_id")
        if not self._writer.run(activate):
            raise NotFoundError(
                f"no bundle {bundle_id[:80]!r} is recorded; list them with: recserve bundles",
                field="bundle_id",
            )

    def current_bundle(self) -> str | None:
        """See :meth:`Store.current_bundle`."""
        return self._database.read(lambda connection: connection.execute(_current()).scalar())

    def bundle_history(self) -> list[str]:
        """See :meth:`Store.bundle_history`."""
        query = (
            select(activations.c.bundle_id)
            .group_by(activations.c.bundle_id)
            .order_by(func.max(activations.c.seq).desc())
        )
        return list(self._database.read(lambda connection: connection.execute(query).scalars().all()))

    # -- exposures ------------------------------------------------------------------------------

    def add_exposures(self, exposures: Sequence[Exposure]) -> None:
        """See :meth:`Store.add_exposures`."""
        rows = [exposure_row(one) for one in exposures]
        with self._lock:
            room = _MAX_WAITING_EXPOSURES - self._waiting_exposures
            self._waiting_exposures += min(len(rows), room)
        if len(rows) > room:
            _log.warning("%d exposures dropped: the store is not keeping up", len(rows) - room)
            rows = rows[:room]
        if rows:
            work = partial(insert_new, table=schema.exposures, rows=rows)
            self._writer.defer(work, len(rows)).add_done_callback(self._exposures_done(len(rows)))

    def _exposures_done(self, count: int) -> Any:
        def done(result: Future[Any]) -> None:
            with self._lock:
                self._waiting_exposures -= count
            if (error := result.exception()) is not None:
                _log.warning("%d exposures were not logged: %s", count, error)

        return done

    def exposures(self, recommendation_id: str) -> Exposure | None:
        """See :meth:`Store.exposures`."""
        check_id(recommendation_id, "recommendation_id")
        query = select(exposures).where(exposures.c.recommendation_id == recommendation_id)
        row = self._database.read(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else exposure_of(dict(row))

    def flush(self) -> None:
        """See :meth:`Store.flush`."""
        self._writer.flush()

    # -- life -----------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :meth:`Store.ping`."""
        self._database.read(lambda connection: connection.execute(select(1)).scalar())

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _current() -> Select[Any]:
    return select(activations.c.bundle_id).order_by(activations.c.seq.desc()).limit(1)


def _prepare_schema(database: Database) -> None:
    """Create the tables unless they are there; refuse those of a newer version."""
    version = database.read(_schema_version)
    if version is None:
        database.create_schema(_create_schema)
        version = database.read(_schema_version)
    if version != schema.SCHEMA_VERSION:
        raise StoreError(
            f"the store ({database.label}) has schema version {version}, this recserve knows "
            f"version {schema.SCHEMA_VERSION}; upgrade recserve or choose another store"
        )


def _schema_version(connection: Connection) -> int | None:
    if not sqlalchemy_inspect(connection).has_table(meta.name):
        return None
    query = select(meta.c.value).where(meta.c.name == "schema_version")
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def _create_schema(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    upsert(connection, meta, [{"name": "schema_version", "value": str(schema.SCHEMA_VERSION)}])
