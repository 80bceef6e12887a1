"""The store on SQLAlchemy Core, for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa
from sqlalchemy import func, select

from recserve.data.dataset import Tables
from recserve.data.system.files import make_private_folder
from recserve.errors import StoreError
from recserve.store.browsing.part import BrowsingPart
from recserve.store.outcomes.part import OutcomePart
from recserve.store.records import Counts, Pulse
from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer
from recserve.store.sql.migrations.schema_version import prepare
from recserve.store.sql.parts.api_keys import AccessPart
from recserve.store.sql.parts.bundles import BundlePart
from recserve.store.sql.parts.events import EventPart
from recserve.store.sql.parts.experiments import ExperimentPart
from recserve.store.sql.parts.exposures.impressions import expire_impressions
from recserve.store.sql.parts.exposures.part import BackgroundPart
from recserve.store.sql.parts.histories import PeoplePart
from recserve.store.sql.parts.items.part import ItemPart
from recserve.store.sql.parts.items.spaces import read_given
from recserve.store.sql.parts.users import UserPart
from recserve.store.sql.queries.counters import read_pulse
from recserve.store.sql.queries.expiry import (
    expire_events,
    expire_exposures,
    read_exposures,
    remove_exposures,
)
from recserve.store.sql.queries.snapshot import read_tables
from recserve.store.sql.schema import events, items
from recserve.store.streams.part import StreamPart


class SqlStore(
    EventPart,
    PeoplePart,
    ItemPart,
    UserPart,
    BundlePart,
    BackgroundPart,
    ExperimentPart,
    AccessPart,
    BrowsingPart,
    OutcomePart,
    StreamPart,
):
    """:class:`recserve.store.Store` over one database.

    Args:
        database: An open database; tables are created if it has none.
        folder: Where snapshots have their files.

    Raises:
        StoreError: It cannot be reached, or its tables are of another version.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        prepare(database)
        self._folder = folder
        self._last_pulse: tuple[int, Pulse] | None = None
        super().__init__(database, Writer(database))

    def pulse(self) -> Pulse:
        """See :meth:`Store.pulse`; read only if something was committed, as idle servers ask all the time."""
        version, last = self._database.version(), self._last_pulse
        if version is not None and last is not None and last[0] == version:
            return last[1]
        pulse = self._database.read(read_pulse)
        # The version is from before the read, so whatever is committed from now on changes it.
        self._last_pulse = None if version is None else (version, pulse)
        return pulse

    def counts(self) -> Counts:
        """See :meth:`Store.counts`."""
        users = select(events.c.user_hash).distinct().subquery()
        query = select(
            select(func.count()).select_from(users).scalar_subquery(),
            select(func.count()).select_from(items).where(~items.c.deleted).scalar_subquery(),
            select(func.count()).select_from(events).scalar_subquery(),
        )
        return Counts(*self._database.read(lambda connection: connection.execute(query).one()))

    def snapshot(self, *, events: bool = True) -> Tables:
        """See :meth:`Store.snapshot`."""
        try:
            make_private_folder(self._folder)
            return read_tables(self._database, self._folder, read_given, events=events)
        except OSError as error:
            raise StoreError(f"cannot write a snapshot of the store to {self._folder}: {error}") from None

    def expire_events(self, before: int, through: int | None = None) -> int:
        """See :meth:`Store.expire_events`."""
        return expire_events(self._database, before, through)

    def expire_exposures(self, before: int) -> int:
        """See :meth:`Store.expire_exposures`."""
        return expire_exposures(self._database, before)

    def expire_impressions(self, before: int) -> int:
        """See :meth:`Store.expire_impressions`."""
        return expire_impressions(self._database, before)

    def old_exposures(self, before: int, limit: int) -> pa.Table:
        """See :meth:`Store.old_exposures`."""
        return self._database.read(lambda connection: read_exposures(connection, before, limit))

    def remove_exposures(self, recommendation_ids: Sequence[str]) -> int:
        """See :meth:`Store.remove_exposures`."""
        return remove_exposures(self._database, recommendation_ids)

    def ping(self) -> None:
        """See :meth:`Store.ping`."""
        self._database.read(lambda connection: connection.execute(select(1)).scalar())

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
