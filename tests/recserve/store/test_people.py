"""Profiles, merging of sessions, deletion of people."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from recserve import Event, InvalidRequestError
from recserve.data.entities import User, now_ms
from recserve.errors import EventIdConflictError
from recserve.store import Deletion, ExposedItem, Exposure, Store, UserPatch, key_of, open_store, parse_url
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import share_people
from recserve.store.sql.queries.rows import event_rows, exposure_row
from recserve.store.sql.schema import events, exposures, merges

NOTHING = dict.fromkeys(("events", "exposures", "user_impressions", "users", "merges"), 0)
"""Rows that are left of somebody who was deleted."""

SHOWN = (ExposedItem("i", 0.5, ("mf",)),)


def exposure(name: str, user: str | None, timestamp: int = 5, since: int = 0) -> Exposure:
    return Exposure(name, user, "bundle", "home", timestamp, SHOWN, since)


def history(store: Store, user: str) -> list[str]:
    return [event.item_id for event in store.histories([user], 1000)[user]]


def last_deletion(store: Store) -> Deletion:
    return store.deletions()[-1]


def test_profiles_are_replaced_patched_and_read(store: Store) -> None:
    assert store.upsert_users([User("a", {"x": 1}), User("b"), User("a", {"x": 2, "y": "é 🎬"})]) == 2
    assert store.users(["a", "b", "c"]) == {"a": User("a", {"x": 2, "y": "é 🎬"}), "b": User("b")}
    patches = [UserPatch("a", {"x": None, "z": [1]}), UserPatch("c", {"x": 1}), UserPatch("a", {"w": 0})]
    assert store.patch_users(patches) == ["c"]
    assert store.users(["a"])["a"].attributes == {"y": "é 🎬", "z": [1], "w": 0}
    store.upsert_users([User("a", {"only": True})])
    assert store.users(["a"])["a"].attributes == {"only": True}
    assert (store.upsert_users([]), store.users([]), store.patch_users([])) == (0, {}, [])
    assert store.counts().users == 0  # those with events


@pytest.mark.parametrize("bad", [User(""), User("a\x00"), User("a", {"n": float("inf")}), User("\ud83d")])
def test_users_that_cannot_be_stored_are_refused(store: Store, bad: User) -> None:
    with pytest.raises(InvalidRequestError):
        store.upsert_users([User("good"), bad])
    assert store.list_users(None, 9) == []


def test_listing_users_shows_each_once(store: Store) -> None:
    names = {f"user {n}" for n in range(50)}
    store.upsert_users([User(name) for name in names])
    seen: list[str] = []
    while page := store.list_users(seen[-1] if seen else None, 7):
        seen.extend(user.user_id for user in page)
        store.upsert_users([User(name, {"n": len(seen)}) for name in list(names)[:20]])
    assert sorted(seen) == sorted(names)


def test_patches_of_one_user_at_once_are_all_kept(open_again: Callable[[], Store]) -> None:
    stores = [open_again(), open_again()]
    stores[0].upsert_users([User("u")])

    def patch(n: int) -> None:
        stores[n % 2].patch_users([UserPatch("u", {f"field {n}": n})])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(patch, range(40)))
    assert stores[0].users(["u"])["u"].attributes == {f"field {n}": n for n in range(40)}


def test_a_session_becomes_part_of_a_person(store: Store) -> None:
    store.add_events(
        [
            Event("me", "old", "view", 1, event_id="1"),
            Event("session", "x", "view", 5, event_id="2", recommendation_id="r"),
            Event("session", "y", "rating", 5, 4.5, event_id="3"),
            Event("me", "new", "view", 9, event_id="4"),
            Event("other", "z", "view", 9, event_id="5"),
        ]
    )
    store.upsert_users([User("session", {"language": "is", "name": "?"}), User("me", {"name": "Me"})])
    store.add_exposures([exposure("r", "session"), exposure("q", "me"), exposure("p", "other")])
    store.flush()
    assert store.merge_user("session", "me") == 2
    assert store.histories(["me", "session"], 9) == {
        "me": [
            Event("me", "old", "view", 1, event_id="1"),
            Event("me", "x", "view", 5, event_id="2", recommendation_id="r"),
            Event("me", "y", "rating", 5, 4.5, event_id="3"),
            Event("me", "new", "view", 9, event_id="4"),
        ],
        "session": [],
    }
    assert store.users(["me", "session"]) == {"me": User("me", {"name": "Me", "language": "is"})}
    assert store.exposures("r") == exposure("r", "me")
    assert store.exposures("p") == exposure("p", "other")
    for _ in range(2):
        assert store.merge_user("session", "me") == 0
        assert store.merge_user("me", "me") == 0
    assert history(store, "me") == ["old", "x", "y", "new"]
    # A retry of the event is still known, whoever it belongs to now.
    retried = Event("session", "x", "view", 5, event_id="2", recommendation_id="r")
    assert store.add_events([retried]) == 0
    with pytest.raises(EventIdConflictError):
        store.add_events([replace(retried, user_id="other")])


def test_who_follows_the_events_learns_of_a_merge(store: Store) -> None:
    store.add_events([Event("session", "x", "view", 1, event_id="1"), Event("me", "y", "view", 2)])
    _, seq = store.events_after(0, 100)
    store.merge_user("session", "me")
    found, _ = store.events_after(seq, 100)
    assert found.select(["event_id", "user_id"]).to_pylist() == [{"event_id": "1", "user_id": "me"}]


def test_a_profile_without_a_target_moves_whole(store: Store) -> None:
    store.upsert_users([User("session", {"language": "is"})])
    assert store.merge_user("session", "new") == 0
    assert store.users(["session", "new"]) == {"new": User("new", {"language": "is"})}


def fill(store: Store, *users: str) -> None:
    for user in users:
        store.add_events([Event(user, f"i{n}", "view", n) for n in range(3)])
        store.add_exposures([exposure(f"of {user} {n}", user) for n in range(2)])
    store.upsert_users([User(user, {"about": user}) for user in users])
    store.flush()


def test_deleting_a_person_leaves_the_others(store: Store) -> None:
    fill(store, "a", "b")
    receipt = store.delete_user("a")
    assert (receipt.events, receipt.exposures, receipt.profiles) == (3, 2, 1)
    assert len(receipt.receipt_id) == 32
    assert history(store, "a") == []
    assert store.users(["a", "b"]).keys() == {"b"}
    assert store.exposures("of a 0") is None
    assert store.exposures("of b 0") is not None
    assert store.snapshot().events["user_id"].to_pylist() == ["b"] * 3
    assert store.pulse().deletions == 1
    assert store.deletions() == [Deletion(1, key_of("a"), receipt, last_event=6)]
    assert store.deletion(receipt.receipt_id) == Deletion(1, key_of("a"), receipt, last_event=6)
    assert store.deletion("unknown") is None
    assert store.traces(last_deletion(store)) == NOTHING
    again = store.delete_user("a")
    assert (again.events, again.exposures, again.profiles) == (0, 0, 0)
    assert [one.receipt for one in store.deletions()] == [receipt, again]
    assert [one.receipt for one in store.deletions(after=1)] == [again]


def test_what_a_person_does_afterwards_is_a_new_beginning(store: Store) -> None:
    fill(store, "a")
    receipt = store.delete_user("a")
    store.add_events([Event("a", "later", "view", 0, timed=False)])  # whatever the server's clock says
    store.add_events([Event("a", "later still", "view", receipt.deleted_at + 1)])
    store.upsert_users([User("a", {"new": True})])
    store.add_exposures([exposure("later", "a", since=1)])
    store.flush()
    assert history(store, "a") == ["later", "later still"]
    assert store.exposures("later") is not None
    assert store.traces(last_deletion(store)) == NOTHING
    # A session of before the deletion that logs in afterwards does not count as a trace either.
    store.merge_user("session", "a")
    assert store.traces(last_deletion(store)) == NOTHING


def test_an_old_session_merged_after_a_deletion_is_no_trace(store: Store) -> None:
    fill(store, "a", "session")
    store.delete_user("a")
    store.add_events([Event("session", "later", "view", 1)])
    store.add_exposures([exposure("later", "session", since=1)])
    store.flush()
    # What the session did and was shown before the deletion would bring back what was forgotten.
    assert store.merge_user("session", "a") == 1
    assert history(store, "a") == ["later"]
    assert store.exposures("of session 0") is None
    assert store.exposures("later") == exposure("later", "a", since=1)
    assert store.traces(last_deletion(store)) == NOTHING


def test_traces_are_found_where_there_are_any(store: Store, database: Database) -> None:
    fill(store, "a", "b")
    store.delete_user("a")
    back = event_rows([Event("a", "i", "view", 1)])[0]
    database.write(lambda c: c.execute(insert(events), {"seq": 1, **back}))
    database.write(lambda c: c.execute(insert(exposures), exposure_row(exposure("r", "a", 1))))
    values = {"key": key_of("a"), "since": 0}
    database.write(lambda c: c.execute(text("INSERT INTO users VALUES (:key, 'a', '{}', 1, :since)"), values))
    merged = {"source_key": key_of("s"), "source_hash": 1, "target_key": key_of("a"), "since": 0}
    database.write(lambda c: c.execute(insert(merges), merged))
    assert store.traces(last_deletion(store)) == {
        "events": 1,
        "exposures": 1,
        "user_impressions": 0,
        "users": 1,
        "merges": 1,
    }


def test_people_whose_hashes_collide_are_not_forgotten_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("queries.rows", "schema"):
        monkeypatch.setattr(f"recserve.store.sql.{module}.hash_of", lambda external: 7)
    fill(store, "a", "b")
    store.delete_user("a")
    assert (history(store, "a"), history(store, "b")) == ([], ["i0", "i1", "i2"])
    assert store.exposures("of b 0") is not None
    assert store.traces(last_deletion(store)) == NOTHING
    assert store.merge_user("b", "c") == 3
    assert history(store, "c") == ["i0", "i1", "i2"]


def test_late_exposures_of_a_deleted_person_are_dropped(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    store.delete_user("x")
    at = store.delete_user("a").deleted_at
    hour = 3_600_000
    # Whatever the clocks of their hosts say.
    other.add_exposures(
        [
            exposure("before", "a", at - hour, since=1),
            exposure("before, by a clock that runs ahead", "a", at + hour, since=1),
            exposure("after, by a clock that is slow", "a", at - hour, since=2),
            exposure("others", "b", at - hour),
            exposure("nobody's", None, at - hour),
        ]
    )
    other.flush()
    names = (
        "before",
        "before, by a clock that runs ahead",
        "after, by a clock that is slow",
        "others",
        "nobody's",
    )
    assert [name for name in names if store.exposures(name)] == [*names[2:]]
    assert store.traces(last_deletion(store))["exposures"] == 0


def test_exposures_that_wait_in_this_process_are_dropped(store: Store) -> None:
    store.add_exposures([exposure("waiting", "a", now_ms() + 3_600_000)])
    store.delete_user("a")
    store.flush()
    assert store.exposures("waiting") is None


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_a_deletion_waits_for_what_is_being_written(store: Store, database: Database) -> None:
    inside, gate = threading.Event(), threading.Event()

    def write_slowly() -> None:
        def work(connection: object) -> None:
            share_people(connection)  # type: ignore[arg-type]
            connection.execute(insert(events), event_rows([Event("a", "i", "view", 1)]))  # type: ignore[attr-defined]
            inside.set()
            gate.wait(30)

        database.write(work)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write_slowly)
        assert inside.wait(30)
        deleting = pool.submit(store.delete_user, "a")
        wait_for_a_waiting_lock(database)
        gate.set()
        writing.result(30)
        assert deleting.result(30).events == 1
    assert history(store, "a") == []


def wait_for_a_waiting_lock(database: Database) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    for _ in range(3000):
        if database.read(lambda c: c.execute(waiting).scalar()):
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody waits")


def bytes_on_disk(folder: Path) -> bytes:
    # Another process reads: closing the file in this one would drop the locks that SQLite holds on it.
    return subprocess.run(["cat", *folder.glob("recserve.db*")], capture_output=True, check=True).stdout


def test_nothing_of_a_deleted_person_stays_in_the_files(tmp_path: Path) -> None:
    # Rows of many people on the same pages, deleted one by one: pages are merged, and rows move.
    shuffle = random.Random(1)
    people = [f"person-{n:04}-é" for n in range(40)]
    with open_store(None, tmp_path) as store:
        for _ in range(6):
            shuffle.shuffle(people)
            store.upsert_users([User(one, {"about": one + "z" * shuffle.randrange(1500)}) for one in people])
            store.add_events([Event(one, f"i{n}", "view", n) for n in range(8) for one in people])
            store.add_exposures(
                [
                    Exposure(f"{shuffle.random()}", one, "b", "home", 5, SHOWN * shuffle.randrange(40))
                    for one in people
                    for _ in range(3)
                ]
            )
            store.flush()
        assert all(one.encode() in bytes_on_disk(tmp_path) for one in people)
        for done, person in enumerate(people, 1):
            receipt = store.delete_user(person)
            assert (receipt.events, receipt.exposures, receipt.profiles) == (48, 18, 1)
            data = bytes_on_disk(tmp_path)
            assert [one for one in people[:done] if one.encode() in data] == []
        log = tmp_path / "recserve.db-wal"
        assert not log.exists() or not log.stat().st_size


def test_a_reader_delays_the_cleaning_but_not_the_deletion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recserve.store.sql.erasure._TURNS", 1)
    with open_store(None, tmp_path) as store:
        fill(store, "somebody to be forgotten")
        reader = Database(parse_url(None, tmp_path))

        def read(connection: object) -> None:
            connection.execute(text("SELECT count(*) FROM events"))  # type: ignore[attr-defined]
            store.delete_user("somebody to be forgotten")

        reader.read(read)
        reader.close()
        assert "write-ahead log" in caplog.text
        assert "somebody" not in caplog.text
        store.delete_user("another one")
        assert b"somebody to be forgotten" not in bytes_on_disk(tmp_path)


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_dead_rows_are_vacuumed(store: Store, database: Database) -> None:
    fill(store, "a", "b")
    query = text("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'events'")
    store.delete_user("a")
    for _ in range(1000):  # statistics arrive a little later
        if database.read(lambda c: c.execute(query).scalar()):
            return
        threading.Event().wait(0.01)
    raise AssertionError("no VACUUM was run")
