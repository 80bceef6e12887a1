"""The store: events, catalogue, users, exposures, keys and bundle records.

``open_store`` is the door; what it returns is described by :class:`Store`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from recserve.config import from_environment
from recserve.errors import ConfigError
from recserve.store.browsing import (
    Having,
    ItemPage,
    ItemSearch,
    ListedUser,
    StateName,
    UserPlace,
    browse_users,
    find_user,
)
from recserve.store.protocol import BundleStore, EventStore, ExperimentStore, ItemStore, Store, UserStore
from recserve.store.records import (
    KEEP,
    AddedEvents,
    ApiKey,
    AuditEntry,
    BundleRecord,
    Changes,
    Counts,
    Deletion,
    DeletionReceipt,
    ExperimentChange,
    ExperimentRecord,
    ExposedItem,
    Exposure,
    Grounds,
    History,
    ImpressionTimes,
    ItemPatch,
    ItemState,
    ItemVectors,
    Moment,
    People,
    Position,
    Promotion,
    Pulse,
    Scope,
    Shown,
    SpaceVector,
    Trials,
    UserPatch,
    Withdrawn,
)
from recserve.store.sql.database import Database
from recserve.store.sql.schema import hash_of, key_of
from recserve.store.sql.store import SqlStore

DEFAULT_FILE = "recserve.db"


def open_store(url: str | None, home: Path, patience: float | None = None) -> Store:
    """Open a store, creating its tables on the first use.

    Args:
        url: SQLAlchemy URL of an SQLite file or a PostgreSQL database, such as
            ``postgresql://user:password@host/database``; None means ``<home>/recserve.db``.
        home: The home folder, created if needed when the store lives in it; snapshots have their files there.
        patience: Seconds after which a call that the database has not begun with is given up, and a
            statement that it has begun with is stopped; None, for work that nobody waits for, waits a minute
            for a lock and for statements as long as they take.

    Raises:
        ConfigError: The URL cannot be understood, or its driver is not installed.
        StoreError: The database cannot be reached or was made by a newer recserve.
    """
    database = Database(parse_url(url, home), patience)
    try:
        return SqlStore(database, home)
    except BaseException:
        database.close()
        raise


def parse_url(url: str | None, home: Path) -> URL:
    """The checked URL of a store, with the driver that recserve uses.

    Raises:
        ConfigError: Not a URL, an engine that is not supported, or a database without a name.
    """
    if url is None:
        return URL.create("sqlite", database=str((home / DEFAULT_FILE).absolute()))
    try:
        parsed = make_url(from_environment(url, "store.url"))
        engine = parsed.drivername.partition("+")[0]
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise ConfigError(
            "store.url is not a URL such as sqlite:///file.db or postgresql://user@host/database",
            field="store.url",
        ) from None
    if engine in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if engine != "sqlite":
        raise ConfigError(
            f"store.url: {engine!r} is not supported; use sqlite or postgresql", field="store.url"
        )
    if parsed.database in (None, "", ":memory:") or "mode" in parsed.query:
        raise ConfigError(
            "store.url must name a file, such as sqlite:///recserve.db: a store in memory would not "
            "be shared with other processes",
            field="store.url",
        )
    return parsed.set(drivername="sqlite")


__all__ = [
    "KEEP",
    "AddedEvents",
    "ApiKey",
    "AuditEntry",
    "BundleRecord",
    "BundleStore",
    "Changes",
    "Counts",
    "Deletion",
    "DeletionReceipt",
    "EventStore",
    "ExperimentChange",
    "ExperimentRecord",
    "ExperimentStore",
    "ExposedItem",
    "Exposure",
    "Grounds",
    "Having",
    "History",
    "ImpressionTimes",
    "ItemPage",
    "ItemPatch",
    "ItemSearch",
    "ItemState",
    "ItemStore",
    "ItemVectors",
    "ListedUser",
    "Moment",
    "People",
    "Position",
    "Promotion",
    "Pulse",
    "Scope",
    "Shown",
    "SpaceVector",
    "StateName",
    "Store",
    "Trials",
    "UserPatch",
    "UserPlace",
    "UserStore",
    "Withdrawn",
    "browse_users",
    "find_user",
    "hash_of",
    "key_of",
    "open_store",
    "parse_url",
]
