"""Schema versions: created with a new store, checked when one is opened, upgraded on demand.

The migrations are alembic's, in the folder beside this module. A new store is made from the current
tables at once and marked as if it had been migrated, so alembic is imported only to upgrade.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, func, select
from sqlalchemy import inspect as sqlalchemy_inspect

from recserve.errors import StoreError
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import COUNTERS
from recserve.store.sql.queries.statements import insert_new, upsert
from recserve.store.sql.schema import SCHEMA_VERSION, counters, meta, metadata

# alembic's own record of where a database is; made by hand for new stores.
_alembic = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_FIRST_REVISION = "0001"
_HEAD = f"{SCHEMA_VERSION:04}"


def prepare(database: Database) -> None:
    """Create the tables unless they are there; refuse those of another version.

    Raises:
        StoreError: The tables are older or newer than this recserve.
    """
    version = stored_version(database)
    if version is None:
        database.create_schema(_create)
        version = stored_version(database)
    if version is None or version > SCHEMA_VERSION:
        raise StoreError(
            f"the store ({database.label}) has schema version {version}, this recserve knows "
            f"version {SCHEMA_VERSION}; upgrade recserve or choose another store"
        )
    if version < SCHEMA_VERSION:
        raise StoreError(
            f"the store ({database.label}) has schema version {version}, this recserve needs "
            f"version {SCHEMA_VERSION}; stop what uses it, make a backup, then run: recserve store upgrade"
        )


def stored_version(database: Database) -> int | None:
    """Version of the tables of a database, None if it has none.

    Raises:
        StoreError: The database cannot be read.
    """
    return database.read(_version)


def upgrade(database: Database) -> tuple[int | None, int]:
    """Bring a database to the current version, in one transaction.

    Returns:
        The version before (None if there were no tables) and now.

    Raises:
        StoreError: It is newer than this recserve, or cannot be migrated; then nothing was changed.
    """
    before = stored_version(database)
    if before is not None and before < SCHEMA_VERSION:
        database.create_schema(_migrate)
    prepare(database)
    return before, SCHEMA_VERSION


def _version(connection: Connection) -> int | None:
    if not sqlalchemy_inspect(connection).has_table(meta.name):
        return None
    query = select(meta.c.value).where(meta.c.name == "schema_version")
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def _create(connection: Connection) -> None:
    if _version(connection) is not None:
        return  # another process was faster
    metadata.create_all(connection)
    _alembic.create(connection, checkfirst=True)
    insert_new(connection, counters, [{"name": name, "value": 0} for name in COUNTERS])
    insert_new(connection, _alembic, [{"version_num": _HEAD}])
    upsert(connection, meta, [{"name": "schema_version", "value": str(SCHEMA_VERSION)}])


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if not _is_marked(connection):
        # Stores of the first version were made before there were migrations.
        command.stamp(config, _FIRST_REVISION)
    command.upgrade(config, "head")


def _is_marked(connection: Connection) -> bool:
    if not sqlalchemy_inspect(connection).has_table(_alembic.name):
        return False
    return bool(connection.execute(select(func.count()).select_from(_alembic)).scalar())
