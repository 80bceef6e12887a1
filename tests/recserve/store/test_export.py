"""Export and restore, on each engine and from one to the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from recserve import Event, Item
from recserve.data.entities import User
from recserve.errors import DataError, StoreError
from recserve.store import (
    ApiKey,
    AuditEntry,
    ExposedItem,
    Exposure,
    ItemPatch,
    ItemVectors,
    Store,
    open_store,
    parse_url,
)
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import COUNTERS
from recserve.store.sql.queries.numbering import go_on_from, last_number
from recserve.store.sql.schema import activations, audit, counters, events, exposures, meta, metadata
from recserve.store.transfer.export import export_events, export_everything
from recserve.store.transfer.restore import restore

NOTHING = dict.fromkeys(("events", "exposures", "user_impressions", "users", "merges"), 0)
"""Rows that are left of somebody who was deleted."""

ENGINES = ("sqlite", "postgres")


class Side:
    """A store and its database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store: Store = open_store(url, folder)
        self.database = Database(parse_url(url, folder))

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table, and the numbers that come next."""

        def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
            found = {
                table.name: [
                    dict(row)
                    for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
                ]
                for table in metadata.sorted_tables
            }
            # What followers of a store go by is its own.
            found["counters"] = [row for row in found["counters"] if row["name"] in COUNTERS]
            found["meta"] = [row for row in found["meta"] if row["name"] == "schema_version"]
            found["numbers"] = [{"events": last_number(connection, events)}]
            return found

        return self.database.read(read)

    def wipe(self) -> None:
        """Make it as good as new; much faster than a new database."""

        def clear(connection: Connection) -> None:
            for table in reversed(metadata.sorted_tables):
                if table is not meta:
                    connection.execute(table.delete())
            connection.execute(counters.insert(), [{"name": name, "value": 0} for name in COUNTERS])
            for table in (events, exposures, activations, audit):
                if self.database.is_postgres:
                    connection.execute(text(f"ALTER SEQUENCE {table.name}_seq_seq RESTART"))
                else:
                    connection.execute(text("DELETE FROM sqlite_sequence"))

        self.database.write(clear)

    def close(self) -> None:
        self.store.close()
        self.database.close()


@pytest.fixture(params=[(one, other) for one in ENGINES for other in ENGINES], ids=" to ".join)
def sides(
    request: pytest.FixtureRequest, new_url: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[Side, Side]]:
    """Two empty stores of each pair of engines."""
    source, target = (Side(new_url(engine), tmp_path) for engine in request.param)
    yield source, target
    source.close()
    target.close()


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=4,
)
_attributes = st.dictionaries(_text, _json, max_size=2)
_person = st.sampled_from(["a", "b", "é 🎬", "x" * 300])
_thing = st.sampled_from(["i", "j", "🎬"])
_moment = st.integers(-(2**63), 2**63 - 1)
_float = st.floats(allow_nan=False, allow_infinity=False)

_actions: dict[str, st.SearchStrategy[Any]] = {
    "upsert_items": st.tuples(
        st.lists(st.builds(Item, _thing, _attributes, st.booleans(), st.none() | _moment), max_size=3)
    ),
    "vectors": st.tuples(_thing, st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3)),
    "patch_items": st.tuples(st.lists(st.builds(ItemPatch, _thing, _attributes), max_size=2)),
    "delete_items": st.tuples(st.lists(_thing, max_size=2)),
    "import_events": st.tuples(
        st.lists(
            st.builds(
                Event,
                _person,
                _thing,
                _text,
                _moment,
                st.none() | _float,
                _text,
                st.none() | _text,
                text=st.none() | _text,
            ),
            max_size=4,
        )
    ),
    "set_text_vectors": st.tuples(
        st.dictionaries(_text, st.just(np.array([1, 0], dtype=np.float32)), max_size=2), st.just("f")
    ),
    "upsert_users": st.tuples(st.lists(st.builds(User, _person, _attributes), max_size=2)),
    "remove_event": st.tuples(_text),
    "remove_events": st.tuples(_person, _thing),
    "merge_user": st.tuples(_person, _person),
    "delete_user": st.tuples(_person),
    "add_exposures": st.tuples(
        st.lists(
            st.builds(
                Exposure,
                _text,
                st.none() | _person,
                _text,
                _text,
                _moment,
                st.lists(st.builds(ExposedItem, _thing, _float), max_size=2).map(tuple),
                st.integers(0, 3),
            ),
            max_size=3,
        ),
        st.integers(0, 3),
    ),
    "add_trials": st.tuples(
        st.dictionaries(_thing, st.integers(0, 9)), st.dictionaries(_thing, st.integers(0, 9))
    ),
    "bundle": st.tuples(_text),
    "key": st.tuples(_text),
    "add_audit": st.tuples(st.builds(AuditEntry, st.integers(0, 9), _text, _text, _text, _attributes)),
}


def perform(store: Store, action: str, arguments: tuple[Any, ...]) -> None:
    if action == "vectors":
        item_id, values = arguments
        if np.isfinite(values).all():
            vector = np.array(values, dtype=np.float32)
            store.upsert_items([Item(item_id)], ItemVectors("f", {item_id: vector}))
    elif action == "bundle":
        store.record_bundle(arguments[0], 1, {})
        store.set_current(arguments[0])
    elif action == "key":
        known = store.keys()
        if arguments[0] not in {key.key_id for key in known}:
            store.add_key(ApiKey(arguments[0], "0", "name", frozenset({"read"}), 1))
    else:
        getattr(store, action)(*arguments)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    done=st.lists(
        st.one_of([st.tuples(st.just(name), arguments) for name, arguments in _actions.items()]), max_size=14
    )
)
def test_what_is_restored_is_what_was_exported(
    sides: tuple[Side, Side],
    tmp_path_factory: pytest.TempPathFactory,
    done: list[tuple[str, tuple[Any, ...]]],
) -> None:
    source, target = sides
    source.wipe()
    target.wipe()
    for action, arguments in done:
        perform(source.store, action, arguments)
    source.store.flush()
    folder = tmp_path_factory.mktemp("export") / "export"
    manifest = export_everything(source.database, folder)
    restored = restore(target.database, folder)
    assert target.contents() == source.contents()
    assert restored.forgotten == 0
    assert manifest.tables["events"].rows == source.store.counts().events
    # The copy goes on with the same numbers as the original would.
    for side in sides:
        side.store.add_events([Event("new", "i", "view", 1, event_id="the next one")])
        side.store.upsert_items([Item("the next one")])
        side.store.record_bundle("the next one", 1, {})
        side.store.set_current("the next one")
        side.store.add_audit(AuditEntry(1, "a", "b", "c"))
    assert [side.store.pulse() for side in sides] == [source.store.pulse()] * 2
    found = [side.store.events_after(manifest.last_event, 9) for side in sides]
    assert found[0] == found[1]
    assert len(found[0][0]) == 1


@pytest.fixture
def here(store: Store, database: Database) -> Database:
    """The database of a store with something in it."""
    store.upsert_items([Item("i", {"n": 1})])
    store.upsert_users([User("a", {"about": "a"}), User("b")])
    store.add_events([Event(user, "i", "view", n, event_id=f"{user}{n}") for user in "ab" for n in range(3)])
    store.add_exposures([Exposure(f"of {user}", user, "bundle", "home", 5, ()) for user in "ab"])
    store.flush()
    return database


@pytest.fixture
def other(here: Database, new_url: Callable[[str], str], tmp_path: Path) -> Iterator[Side]:
    """Another, empty store of the same engine."""
    side = Side(new_url("postgres" if here.is_postgres else "sqlite"), tmp_path)
    yield side
    side.close()


def test_a_store_that_is_not_empty_is_left_alone(here: Database, tmp_path: Path) -> None:
    export_everything(here, tmp_path / "export")
    with pytest.raises(DataError, match="not empty"):
        restore(here, tmp_path / "export")


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "manifest", "no manifest", "other columns"])
def test_damage_is_named_and_nothing_is_restored(
    here: Database, other: Side, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "export"
    export_everything(here, folder)
    path = folder / "events.parquet"
    data = path.read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "changed":
        path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif damage == "missing":
        path.unlink()
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "events.parquet").write_bytes((folder / "users.parquet").read_bytes())
        manifest["tables"]["events"] = manifest["tables"]["users"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    empty = other.contents()
    with pytest.raises(DataError) as refusal:
        restore(other.database, folder)
    assert "\n" not in refusal.value.message
    named = "manifest.json" if "manifest" in damage else "events.parquet"
    assert named in refusal.value.message
    assert other.contents() == empty


def test_an_export_of_another_version_is_refused(here: Database, other: Side, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export_everything(here, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 1}))
    with pytest.raises(DataError, match="schema version 1"):
        restore(other.database, folder)


def test_people_deleted_in_the_new_store_do_not_come_back(
    here: Database, other: Side, tmp_path: Path
) -> None:
    export_everything(here, tmp_path / "export")
    receipt = other.store.delete_user("a")  # forgotten since the backup
    restored = restore(other.database, tmp_path / "export")
    assert restored.forgotten == 5
    assert other.store.histories(["a"], 9) == {"a": []}
    assert other.store.users(["a", "b"]).keys() == {"b"}
    assert other.store.exposures("of a") is None
    assert len(other.store.histories(["b"], 9)["b"]) == 3
    deletion = other.store.deletion(receipt.receipt_id)
    assert deletion is not None
    assert other.store.traces(deletion) == NOTHING
    assert other.store.pulse().deletions == 1


def test_merged_ids_deleted_in_the_new_store_do_not_come_back(
    here: Database, store: Store, other: Side, tmp_path: Path
) -> None:
    other.store.delete_user("somebody")  # for the numbers
    other.store.merge_user("a", "b")
    receipt = other.store.delete_user("b")
    store.delete_user("nobody")
    export_everything(here, tmp_path / "export")
    assert restore(other.database, tmp_path / "export").forgotten == 10
    assert other.store.histories(["a", "b"], 9) == {"a": [], "b": []}
    nobody, _, own, merged = other.store.deletions()
    assert nobody.number == 1
    assert (own.receipt, merged.part_of) == (receipt, own.number)
    assert other.store.traces(own) == NOTHING


def test_events_taken_back_in_the_new_store_do_not_come_back(
    here: Database, other: Side, tmp_path: Path
) -> None:
    export_everything(here, tmp_path / "export")
    other.store.add_events([Event("x", "i", "view", 1, event_id="a1")])
    other.store.remove_event("a1")
    assert restore(other.database, tmp_path / "export").forgotten == 1
    assert [event.event_id for event in other.store.histories(["a"], 9)["a"]] == ["a0", "a2"]


def test_deletions_of_both_stores_are_kept_and_numbered(
    here: Database, store: Store, other: Side, tmp_path: Path
) -> None:
    exported = [store.delete_user("x"), store.delete_user("a")]
    store.add_events([Event("a", "i", "view", 9, event_id="new beginning", timed=False)])
    export_everything(here, tmp_path / "export")
    own = other.store.delete_user("b")
    restore(other.database, tmp_path / "export")
    assert [one.receipt for one in other.store.deletions()] == [*exported, own]
    assert [one.number for one in other.store.deletions()] == [1, 2, 3]
    assert other.store.pulse().deletions == 3
    assert [event.event_id for event in other.store.histories(["a"], 9)["a"]] == ["new beginning"]
    for deletion in other.store.deletions():
        assert other.store.traces(deletion) == NOTHING
    assert other.store.delete_user("c").receipt_id == other.store.deletions(after=3)[0].receipt.receipt_id


def test_rows_of_people_deleted_in_the_export_are_left_out(
    here: Database, store: Store, other: Side, tmp_path: Path
) -> None:
    # What a deletion should have taken along, put back behind the store's back.
    store.delete_user("a")
    for table, which in (("events", "event_id = 'b1'"), ("exposures", "user_id = 'b'")):
        change = text(
            f"UPDATE {table} SET user_id = 'a', user_hash = (SELECT user_hash FROM deletions) WHERE {which}"
        )
        here.write(lambda c, change=change: c.execute(change))  # type: ignore[misc]
    export_everything(here, tmp_path / "export")
    assert restore(other.database, tmp_path / "export").forgotten == 2
    assert other.store.traces(other.store.deletions()[0]) == NOTHING


def test_an_export_shows_one_moment(store: Store, database: Database, tmp_path: Path) -> None:
    stop = threading.Event()

    def write_pairs() -> None:
        n = 0
        while not stop.is_set():
            store.add_events([Event("a", "i", "view", n), Event("b", "i", "view", n)])
            n += 1

    thread = threading.Thread(target=write_pairs)
    thread.start()
    try:
        for n in range(5):
            manifest = export_everything(database, tmp_path / str(n))
            users = pq.read_table(tmp_path / str(n) / "events.parquet")["user_id"].to_pylist()
            assert users.count("a") == users.count("b")
            assert manifest.tables["events"].rows == len(users)
    finally:
        stop.set()
        thread.join()


def test_increments_make_up_the_whole(store: Store, tmp_path: Path) -> None:
    seq, seen = 0, []
    for n in range(3):
        store.add_events([Event("u", "i", "view", m, event_id=f"{n}/{m}") for m in range(5 * n)])
        folder = tmp_path / f"part{n}"
        manifest = export_events(store, seq, folder)
        assert (manifest.events_after, manifest.kind) == (seq, "events")
        table = pq.read_table(folder / "events.parquet")
        assert len(table) == manifest.tables["events"].rows == 5 * n
        seen.extend(table["event_id"].to_pylist())
        seq = manifest.next_event
    assert seen == [f"{n}/{m}" for n in range(3) for m in range(5 * n)]
    with pytest.raises(DataError, match="not an export of everything"):
        restore_into_nothing(tmp_path)


def restore_into_nothing(folder: Path) -> None:
    side = Side(f"sqlite:///{folder}/nothing.db", folder)
    try:
        restore(side.database, folder / "part2")
    finally:
        side.close()


def test_a_folder_in_use_is_left_alone(here: Database, store: Store, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="used"):
        export_everything(here, tmp_path / "used")
    with pytest.raises(DataError, match="used"):
        export_events(store, 0, tmp_path / "used")
    assert (tmp_path / "used" / "file").read_text() == "mine"
    export_everything(here, tmp_path / "empty")
    assert not list(tmp_path.glob(".exporting-*"))


def test_a_failed_export_leaves_nothing(here: Database, tmp_path: Path) -> None:
    here.close()
    with pytest.raises(StoreError):
        export_everything(here, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_numbers_only_go_up(store: Store, database: Database) -> None:
    database.write(lambda c: go_on_from(c, events, 41))
    database.write(lambda c: go_on_from(c, events, 7))
    store.add_events([Event("u", "i", "view", 1)])
    assert store.events_after(0, 9)[1] == 42
