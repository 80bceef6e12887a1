"""Readers that follow the events by number while others write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from recserve import Event
from recserve.store import Store
from recserve.store.sql.database import Database
from recserve.store.sql.queries.adding import insert_events, new_event_rows


def follow(store: Store, seq: int, limit: int) -> tuple[list[str], int]:
    seen: list[str] = []
    while True:
        found, seq = store.events_after(seq, limit)
        if not len(found):
            return seen, seq
        assert len(found) <= limit
        assert found["seq"][-1].as_py() == seq
        assert found["seq"].to_pylist() == sorted(found["seq"].to_pylist())
        seen.extend(found["event_id"].to_pylist())


def test_new_events_in_order(store: Store) -> None:
    assert follow(store, 0, 10) == ([], 0)
    store.add_events([Event("u", "i", "rating", 9 - n, n / 2, str(n), "r") for n in range(7)])
    store.add_events([Event("u", "i", "rating", 6, 1.5, "3", "r")])  # is there already
    seen, seq = follow(store, 0, 3)
    assert seen == [str(n) for n in range(7)]
    assert follow(store, seq, 3) == ([], seq)
    store.add_events([Event("u", "i", "view", 1, event_id="late")])
    found, _ = store.events_after(seq, 99)
    assert found.select(["event_id", "event", "value", "timestamp", "recommendation_id"]).to_pylist() == [
        {"event_id": "late", "event": "view", "value": None, "timestamp": 1, "recommendation_id": None}
    ]


def test_numbers_of_deleted_events_are_not_given_out_again(store: Store) -> None:
    store.add_events([Event("a", "i", "view", 1)] * 3)
    _, seq = follow(store, 0, 10)
    store.delete_user("a")
    store.add_events([Event("b", "i", "view", 1, event_id="new")])
    assert follow(store, seq, 10)[0] == ["new"]


def test_nothing_is_skipped_while_others_write(open_again: Callable[[], Store]) -> None:
    writers, reader = [open_again() for _ in range(3)], open_again()

    def write(n: int) -> None:
        for m in range(0, 120, 4):
            batch = [Event("u", "i", "view", m, event_id=f"{n}/{k}") for k in range(m, m + 4)]
            writers[n % 3].add_events(batch)

    seen: list[str] = []
    seq = 0
    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(write, n) for n in range(6)]
        while not all(one.done() for one in writing):
            more, seq = follow(reader, seq, 25)
            seen.extend(more)
        for one in writing:
            one.result()
    more, _ = follow(reader, seq, 25)
    seen.extend(more)
    assert len(seen) == len(set(seen)) == 6 * 120


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_an_event_that_commits_late_is_waited_for(store: Store, database: Database) -> None:
    inside, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert_events(connection, new_event_rows([Event("u", "i", "view", 1, event_id="slow")]))
        inside.set()
        gate.wait(30)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(database.write, slow)
        assert inside.wait(30)
        store.add_events([Event("u", "i", "view", 2, event_id="quick")])  # a higher number, earlier
        reading = pool.submit(store.events_after, 0, 10)
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while not database.read(lambda c: c.execute(waiting).scalar()):
            assert not reading.done()
            threading.Event().wait(0.01)
        gate.set()
        writing.result(30)
        found, _ = reading.result(30)
    assert found["event_id"].to_pylist() == ["slow", "quick"]
