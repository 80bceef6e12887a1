"""Stores of earlier versions: refused with the cure, upgraded with their data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, inspect, text

from recserve import Event, Item
from recserve.errors import StoreError, UserDeletedError
from recserve.store import BundleRecord, Exposure, ItemState, Pulse, hash_of, key_of, open_store, parse_url
from recserve.store.sql import migrations
from recserve.store.sql.database import Database
from recserve.store.sql.migrations.schema_version import stored_version, upgrade
from recserve.store.sql.queries.rows import event_rows, exposure_row, item_row
from recserve.store.sql.schema import SCHEMA_VERSION, activations, bundles, events, exposures, metadata

HERE = Path(__file__).parents[2]

EVENTS = [Event("u", f"i{n}", "rating", n, n / 2, event_id=str(n)) for n in range(5)]
SHOWN = Exposure("r", "u", "one", "home", 7, ())


def make_v1(url: str, folder: Path) -> Database:
    """A store as the first version of recserve made it, with something in every table."""
    database = Database(parse_url(url, folder))
    engine = "postgresql" if database.is_postgres else "sqlite"
    statements = (HERE / f"schema_v1_{engine}.sql").read_text().split(";\n")

    def make(connection: Connection) -> None:
        for statement in filter(str.strip, statements):
            connection.execute(text(statement))
        for row in event_rows(EVENTS):
            for later in ("recommendation_id", "text", "context"):
                del row[later]
            connection.execute(insert(events).values(row))
        connection.execute(text("DELETE FROM events WHERE event_id = '4'"))  # its number stays used
        for item in (Item("a", {"title": "é"}), Item("b")):
            columns = ("item_key", "item_id", "attributes")
            row = {name: item_row(item)[name] for name in columns}
            connection.execute(text("INSERT INTO items VALUES (:item_key, :item_id, :attributes, 5)"), row)
        shown = exposure_row(SHOWN)
        for later in ("since", "experiment", "arm", "shadow", "degraded", "context"):
            del shown[later]
        connection.execute(insert(exposures).values(shown).inline())
        connection.execute(insert(bundles).values(bundle_id="one", created=3, summary="{}"))
        connection.execute(insert(activations).values(bundle_id="one", activated=4))

    database.write(make)
    return database


def test_an_old_store_is_refused_with_the_command_that_helps(store_url: str, tmp_path: Path) -> None:
    make_v1(store_url, tmp_path).close()
    with pytest.raises(StoreError, match="recserve store upgrade") as refusal:
        open_store(store_url, tmp_path)
    assert "schema version 1" in refusal.value.message
    assert "\n" not in refusal.value.message


def test_an_old_store_is_upgraded_with_its_data(store_url: str, tmp_path: Path) -> None:
    database = make_v1(store_url, tmp_path)
    assert upgrade(database) == (1, SCHEMA_VERSION)
    assert upgrade(database) == (SCHEMA_VERSION, SCHEMA_VERSION)
    database.close()
    with open_store(store_url, tmp_path) as store:
        assert store.histories(["u"], 99)["u"] == EVENTS[:4]
        assert store.item_changes(-1) == [
            ItemState(Item("a", {"title": "é"}), 1, 1),
            ItemState(Item("b"), 1, 1),
        ]
        assert store.pulse() == Pulse(catalogue=1)
        assert store.snapshot().version == 1
        assert store.exposures("r") == SHOWN
        assert store.bundles() == [BundleRecord("one", 3, {})]
        assert store.current_bundle() == "one"
        # And goes on as any other does.
        store.upsert_items([Item("a", {"title": "é"}), Item("c")])
        assert [(one.item.item_id, one.created) for one in store.item_changes(1)] == [("c", 2)]
        store.add_events([Event("v", "i", "view", 1)])
        assert store.events_after(4, 9)[1] == 6
        assert store.delete_user("u").events == 4


def test_deletions_and_exposures_of_the_second_version_keep_their_order(
    store_url: str, tmp_path: Path
) -> None:
    database = make_v1(store_url, tmp_path)

    def fill(connection: Connection) -> None:
        revise(connection, "0002")
        for number, name, at in ((1, "gone", 100), (2, "v", 200)):
            statement = "INSERT INTO deletions VALUES (:number, :receipt, :key, :hash, :at, 2, 1, 1, 1)"
            ids = {"receipt": str(number), "key": key_of(name), "hash": hash_of(name)}
            connection.execute(text(statement), {"number": number, "at": at, **ids})
        connection.execute(text("UPDATE counters SET value = 2 WHERE name = 'deletions'"))
        for name, at in (("early", 150), ("late", 250)):
            statement = "INSERT INTO exposures VALUES (:name, :hash, 'v', 'one', 'home', :at, '[]')"
            connection.execute(text(statement), {"name": name, "hash": hash_of("v"), "at": at})

    database.write(fill)
    assert upgrade(database) == (2, SCHEMA_VERSION)
    assert differences(database) == []
    database.close()
    with open_store(store_url, tmp_path) as store:
        found = {name: store.exposures(name) for name in ("r", "early", "late")}
        assert {name: one and one.since for name, one in found.items()} == {"r": 0, "early": 1, "late": 2}
        assert [(one.number, one.part_of) for one in store.deletions()] == [(1, None), (2, None)]
        # What outlived a deletion by its clock alone is a trace, as before.
        assert store.traces(store.deletions()[1]) == {
            "events": 0,
            "exposures": 1,
            "user_impressions": 0,
            "users": 0,
            "merges": 0,
        }
        assert store.histories(["u"], 99)["u"] == EVENTS[:4]
        store.add_exposures([Exposure("next", "v", "one", "home", 1, (), since=2)])
        store.flush()
        assert store.exposures("next") is not None
        assert store.delete_user("v").exposures == 3
        with pytest.raises(UserDeletedError):
            store.add_events([Event("gone", "i", "view", 100)])


def revise(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.stamp(config, "0001")
    command.upgrade(config, revision)


def test_an_upgraded_store_and_a_new_one_have_the_same_tables(
    store_url: str, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    old = make_v1(store_url, tmp_path)
    upgrade(old)
    fresh_url = new_url("postgres" if old.is_postgres else "sqlite")
    open_store(fresh_url, tmp_path).close()
    fresh = Database(parse_url(fresh_url, tmp_path))
    assert differences(old) == []
    assert differences(fresh) == []
    assert old.read(structure) == fresh.read(structure)
    mark = text("SELECT version_num FROM alembic_version")
    for one in (old, fresh):
        assert one.read(lambda c: c.execute(mark).scalars().all()) == [f"{SCHEMA_VERSION:04}"]
        one.close()


def differences(database: Database) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    return database.read(compare)


def structure(connection: Connection) -> dict[str, Any]:
    """Names and types of everything, defaults included, whatever the order of columns."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                one["name"]: (str(one["type"]), one["nullable"], one["default"])
                for one in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table),
            "indexes": sorted(
                (one["name"], one["column_names"], bool(one["unique"]))
                for one in inspector.get_indexes(table)
            ),
            "unique": sorted(
                (one["name"], one["column_names"]) for one in inspector.get_unique_constraints(table)
            ),
            "foreign": inspector.get_foreign_keys(table),
        }
        for table in inspector.get_table_names()
    }


def test_an_upgrade_that_fails_changes_nothing(store_url: str, tmp_path: Path) -> None:
    database = make_v1(store_url, tmp_path)
    before = database.read(structure)
    # A table that is in the way of the last step.
    database.write(lambda c: c.execute(text("CREATE TABLE counters (x INTEGER)")))
    with pytest.raises(StoreError, match="counters"):
        upgrade(database)
    database.write(lambda c: c.execute(text("DROP TABLE counters")))
    assert database.read(structure) == before
    assert stored_version(database) == 1
    upgrade(database)
    database.close()


WORKER = """
import sys
from pathlib import Path
from recserve.store import parse_url
from recserve.store.sql.database import Database
from recserve.store.sql.migrations.schema_version import upgrade

database = Database(parse_url(sys.argv[1], Path(".")))
print("up", flush=True)
sys.stdin.readline()
print(upgrade(database)[1])
database.close()
"""


def test_two_processes_may_upgrade_at_once(store_url: str, tmp_path: Path) -> None:
    make_v1(store_url, tmp_path).close()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, store_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        output, errors = worker.communicate(timeout=120)
        assert (worker.returncode, output) == (0, f"{SCHEMA_VERSION}\n"), errors
    with open_store(store_url, tmp_path) as store:
        assert store.counts().events == 4


def test_an_empty_database_is_upgraded_to_a_new_store(store_url: str, tmp_path: Path) -> None:
    database = Database(parse_url(store_url, tmp_path))
    assert upgrade(database) == (None, SCHEMA_VERSION)
    assert set(metadata.tables) <= set(database.read(structure))
    database.close()


def test_opening_does_not_need_the_migrations(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from recserve.store import open_store\n"
        "open_store(None, Path(sys.argv[1])).close()\n"
        "open_store(None, Path(sys.argv[1])).close()\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
