"""Texts of events and their vectors: stored as written, and gone with the event, on each engine."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from recserve import Event
from recserve.data.dataset import Tables
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.data.events.coverage import coverage
from recserve.errors import EventIdConflictError, InvalidRequestError
from recserve.store import Store, open_store
from recserve.store.sql.database import Database
from recserve.store.sql.schema import events

SEARCH = Event("u", "", "search", 5, event_id="s", text="space opera 机器人 🎬 <b>مرحبا</b>")
REVIEW = Event("u", "i", "rating", 7, 4.5, event_id="r", text="a fine film")


def vector(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def vectors(store: Store, fingerprint: str = "f") -> dict[str, list[float]]:
    return {name: found.tolist() for name, found in store.text_vectors(["s", "r", "?"], fingerprint).items()}


def test_texts_are_stored_as_they_are(store: Store) -> None:
    assert store.add_events([SEARCH, REVIEW]) == 2
    assert store.histories(["u"], 9)["u"] == [SEARCH, REVIEW]
    assert [event for _, event in store.history("u", 9)] == [REVIEW, SEARCH]
    assert store.people(["u"], 9).histories["u"].events == (SEARCH, REVIEW)
    assert store.events_after(0, 9)[0]["text"].to_pylist() == [SEARCH.text, REVIEW.text]
    longest = replace(SEARCH, event_id="l", text="字" * 10_000)
    store.add_events([longest])
    assert longest in store.histories(["u"], 9)["u"]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event("u", "", "search", 5), "item_id must be a non-empty string"),
        (Event("u", "", "search", 5, text=""), "text must be a non-empty string"),
        (replace(SEARCH, text="x" * 10_001), "text is longer than 10000 characters"),
        (replace(SEARCH, text="a\x00b"), "text must not hold a NUL character"),
        (replace(SEARCH, text="\ud83c"), "text holds half of a surrogate pair"),
    ],
)
def test_what_no_engine_can_hold_is_refused(store: Store, event: Event, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        store.add_events([event])
    assert store.counts().events == 0


def test_a_retry_is_the_same_event_and_another_text_another_one(store: Store) -> None:
    store.add_events([SEARCH])
    assert store.add_events([SEARCH]) == 0
    for other in (replace(SEARCH, text="space"), replace(SEARCH, text=None, item_id="i")):
        with pytest.raises(EventIdConflictError):
            store.add_events([other])


def test_vectors_are_kept_under_their_encoders_fingerprint(store: Store) -> None:
    store.add_events([SEARCH, REVIEW, Event("u", "j", "view", 1, event_id="?")])
    assert store.set_text_vectors({"s": vector(1, 0), "?": vector(0, 1), "gone": vector(0, 1)}, "f") == 1
    assert vectors(store) == {"s": [1, 0]}
    assert vectors(store, "other") == {}
    assert store.set_text_vectors({"s": vector(0, 1), "r": vector(1, 0)}, "other") == 2
    assert vectors(store) == {}
    assert vectors(store, "other") == {"s": [0, 1], "r": [1, 0]}
    with pytest.raises(InvalidRequestError, match="finite"):
        store.set_text_vectors({"s": vector(np.nan)}, "f")


def test_a_merged_sessions_texts_keep_their_vectors(store: Store) -> None:
    store.add_events([SEARCH, REVIEW])
    store.set_text_vectors({"s": vector(1, 0)}, "f")
    store.merge_user("u", "ada")
    moved = [replace(SEARCH, user_id="ada"), replace(REVIEW, user_id="ada")]
    assert store.histories(["ada"], 9)["ada"] == moved
    assert vectors(store) == {"s": [1, 0]}
    receipt = store.delete_user("ada")
    assert receipt.events == 2
    assert vectors(store) == {}


def test_what_goes_takes_its_text_and_vector_along(store: Store, database: Database) -> None:
    gone = [replace(SEARCH, event_id=name, user_id=name) for name in ("taken back", "deleted", "expired")]
    store.add_events([*gone[:2], replace(gone[2], timestamp=1), SEARCH])
    store.set_text_vectors({event.event_id: vector(1, 0) for event in [*gone, SEARCH]}, "f")
    store.remove_event("taken back")
    store.delete_user("deleted")
    store.expire_events(2)
    # A late vector of what is gone is not stored.
    assert store.set_text_vectors({event.event_id: vector(0, 1) for event in gone}, "f") == 0
    columns = select(events.c.user_id, events.c.text, events.c.vector.is_not(None))
    rows = database.read(lambda connection: connection.execute(columns).all())
    assert [tuple(row) for row in rows] == [("u", SEARCH.text, True)]
    (deletion,) = store.deletions()
    assert set(store.traces(deletion).values()) == {0}


def test_a_left_over_text_is_found_by_the_receipt(store: Store, database: Database) -> None:
    store.add_events([SEARCH])
    row = database.read(lambda connection: dict(connection.execute(select(events)).mappings().one()))
    store.delete_user("u")
    database.write(lambda connection: connection.execute(events.insert().values(row)))
    (deletion,) = store.deletions()
    assert store.traces(deletion)["events"] == 1


def test_nothing_of_a_deleted_persons_words_stays_in_the_file(tmp_path: Path) -> None:
    # Rows of many people on the same pages, some longer than a page, deleted one by one.
    shuffle = random.Random(1)
    people = [f"person-{n:02}" for n in range(20)]
    words = {
        name: [f"{name[::-1]} wrote {n} " * shuffle.randrange(1, 300) for n in range(6)] for name in people
    }
    numbers = {name: vector(*np.random.default_rng(n).normal(size=384)) for n, name in enumerate(people)}
    with open_store(None, tmp_path) as store:
        for n in range(6):
            shuffle.shuffle(people)
            store.add_events(
                [
                    Event(name, "", "search", n, event_id=f"{name}-{n}", text=words[name][n].strip()[:9000])
                    for name in people
                ]
            )
            store.set_text_vectors({f"{name}-{n}": numbers[name] for name in people}, "f")

        def on_disk() -> bytes:
            # Another process reads: closing the file in this one would drop the locks that SQLite holds.
            files = tmp_path.glob("recserve.db*")
            return subprocess.run(["cat", *files], capture_output=True, check=True).stdout

        def traces(name: str, data: bytes) -> bool:
            halves = numbers[name].tobytes()
            return name[::-1].encode() in data or halves[:64] in data or halves[-64:] in data

        assert all(traces(name, on_disk()) for name in people)
        for done, person in enumerate(people, 1):
            assert store.delete_user(person).events == 6
            data = on_disk()
            assert [name for name in people[:done] if traces(name, data)] == []


def test_words_are_in_a_snapshot_and_are_no_interactions(
    store: Store, open_again: Callable[[], Store]
) -> None:
    store.add_events([SEARCH, REVIEW, Event("u", "strange", "view", 1)])
    found = open_again().snapshot()
    assert found.events["item_id"].to_pylist() == ["", "i", "strange"]
    items = pa.table([["i"], ["{}"]], schema=pa.schema({"item_id": pa.string(), "attributes": pa.string()}))
    covered = coverage(Tables(items, found.events), DEFAULT_EVENT_TYPES)
    assert (covered.events, covered.learnt, covered.texts, covered.unknown.events) == (3, 1, 1, 1)
    assert covered.unknown.item_ids == ["strange"]
