"""Streams read everything by number, whoever commits late, and positions never go back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from recserve import Event, Item
from recserve.store import ExposedItem, Exposure, Store
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import share_people
from recserve.store.sql.queries.rows import exposure_row
from recserve.store.sql.queries.statements import insert_new
from recserve.store.sql.schema import exposures


def exposure(name: str, user: str | None = "u", since: int = 0) -> Exposure:
    return Exposure(name, user, "b", "home", 5, (ExposedItem("i", 0.5, ("mf",)),), since)


def names(found: list[tuple[int, Exposure]]) -> list[str]:
    return [one.recommendation_id for _, one in found]


def test_exposures_come_in_the_order_in_which_they_were_stored(store: Store) -> None:
    assert store.exposures_after(0, 9) == ([], 0)
    for name in "cab":
        store.add_exposures([exposure(name)])
        store.flush()
    store.add_exposures([exposure("a")])  # is there already
    store.flush()
    found, reached = store.exposures_after(0, 2)
    assert (names(found), found[0][1]) == (["c", "a"], exposure("c"))
    rest, reached = store.exposures_after(reached, 2)
    assert names(rest) == ["b"]
    assert store.exposures_after(reached, 2) == ([], reached)


def test_exposures_that_went_with_their_user_are_left_out_and_passed_over(store: Store) -> None:
    store.add_exposures([exposure("a", "gone"), exposure("b", "gone"), exposure("c")])
    store.flush()
    store.delete_user("gone")
    found, reached = store.exposures_after(0, 9)
    assert names(found) == ["c"]
    store.add_exposures([exposure("d", "gone", since=1)])
    store.flush()
    later, _ = store.exposures_after(reached, 9)
    assert names(later) == ["d"], "numbers of removed rows are not given out again"


def test_no_number_is_used_again_when_the_newest_rows_go(store: Store) -> None:
    store.add_exposures([exposure("a"), exposure("b", "gone")])
    store.flush()
    _, reached = store.exposures_after(0, 9)
    store.delete_user("gone")
    store.add_exposures([exposure("c")])
    store.flush()
    assert names(store.exposures_after(reached, 9)[0]) == ["c"]


def test_a_slow_transaction_is_waited_for(store: Store, database: Database) -> None:
    if not database.is_postgres:
        pytest.skip("SQLite has one writer at a time")
    inserted, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        share_people(connection)
        insert_new(connection, exposures, [exposure_row(exposure("slow"))])
        inserted.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(database.write, slow)
        assert inserted.wait(30)
        store.add_exposures([exposure("quick")])
        store.flush()
        reading = pool.submit(store.exposures_after, 0, 9)
        assert not reading.done()
        go_on.set()
        writing.result(30)
        found, _ = reading.result(30)
    assert names(found) == ["slow", "quick"]


def test_deleted_items_come_by_version_and_whole_transactions(store: Store) -> None:
    store.upsert_items([Item(name) for name in "abcdef"])
    assert store.deleted_items(0, 9) == ([], 1)
    store.delete_items(["b", "a"])
    store.delete_items(["d", "c", "e"])
    store.delete_items(["f"])
    assert store.deleted_items(0, 1) == ([(2, "a"), (2, "b")], 2)
    assert store.deleted_items(2, 2) == ([(3, "c"), (3, "d"), (3, "e")], 3)
    assert store.deleted_items(0, 5) == ([(2, "a"), (2, "b"), (3, "c"), (3, "d"), (3, "e")], 3)
    store.upsert_items([Item("c")])
    assert store.deleted_items(2, 9) == ([(3, "d"), (3, "e"), (4, "f")], 5)
    assert store.deleted_items(5, 9) == ([], 5)


def test_deletions_come_a_few_at_a_time(store: Store) -> None:
    for name in "abc":
        store.delete_user(name)
    assert [one.number for one in store.deletions(0, 2)] == [1, 2]
    assert [one.number for one in store.deletions(2, 2)] == [3]


def test_positions_are_kept_by_name_and_never_go_back(store: Store, open_again: Callable[[], Store]) -> None:
    assert store.stream_position("a") == {}
    store.move_stream("a", {"exposures": 5})
    store.move_stream("a", {"users": 2, "exposures": 4})
    assert open_again().stream_position("a") == {"exposures": 5, "users": 2}
    assert store.stream_position("b") == {}


def test_the_newest_numbers_are_where_nothing_is_left(store: Store) -> None:
    store.add_events([Event("u", "i", "view", 1)])
    store.add_exposures([exposure("a")])
    store.flush()
    store.upsert_items([Item("i")])
    store.delete_items(["i"])
    store.delete_user("u")
    newest = store.newest_numbers()
    assert newest == {"exposures": 1, "events": 1, "items": 2, "users": 1}
    assert store.exposures_after(newest["exposures"], 9)[0] == []
    assert store.deleted_items(newest["items"], 9)[0] == []
