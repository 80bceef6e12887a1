"""The store on SQLAlchemy Core, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Self

from sqlalchemy import func, select

from recserve.data.dataset import Tables
from recserve.store.records import Counts, Pulse
from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer
from recserve.store.sql.migrations.schema_version import prepare
from recserve.store.sql.parts.api_keys import AccessPart
from recserve.store.sql.parts.bundles import BundlePart
from recserve.store.sql.parts.events import EventPart
from recserve.store.sql.parts.exposures import BackgroundPart
from recserve.store.sql.parts.histories import PeoplePart
from recserve.store.sql.parts.items import ItemPart
from recserve.store.sql.parts.users import UserPart
from recserve.store.sql.queries.counters import read_pulse
from recserve.store.sql.queries.history import read_tables
from recserve.store.sql.schema import events, items


class SqlStore(EventPart, PeoplePart, ItemPart, UserPart, BundlePart, BackgroundPart, AccessPart):
    """:class:`recserve.store.Store` over one database.

    Args:
        database: An open database; tables are created if it has none.

    Raises:
        StoreError: It cannot be reached, or its tables are of another version.
    """

    def __init__(self, database: Database) -> None:
        prepare(database)
        super().__init__(database, Writer(database))

    def pulse(self) -> Pulse:
        """See :meth:`Store.pulse`."""
        return self._database.read(read_pulse)

    def counts(self) -> Counts:
        """See :meth:`Store.counts`."""
        users = select(events.c.user_hash).distinct().subquery()
        query = select(
            select(func.count()).select_from(users).scalar_subquery(),
            select(func.count()).select_from(items).where(~items.c.deleted).scalar_subquery(),
            select(func.count()).select_from(events).scalar_subquery(),
        )
        return Counts(*self._database.read(lambda connection: connection.execute(query).one()))

    def snapshot(self) -> Tables:
        """See :meth:`Store.snapshot`."""
        return self._database.read(read_tables)

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
