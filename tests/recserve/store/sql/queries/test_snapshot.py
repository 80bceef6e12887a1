"""A snapshot is what the store holds, in order, however it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve import Event, Item
from recserve.data.events.text import ENCODED_CHARACTERS
from recserve.store import Store
from recserve.store.sql.queries import snapshot

STRANGE = [
    "plain",
    'quo"ted',
    "com,ma",
    "new\nline",
    "car\r\nriage",
    " blank ",
    "\\.",
    "\\N",
    "🎬é",
    "''",
    "\t",
]


@pytest.mark.parametrize("size", [1, 7, 50_000])
def test_events_are_those_of_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(snapshot, "_RANGE", size)
    store.upsert_items([Item("b"), Item("a", {"title": "A"})])
    values = [None, 0.1 + 0.2, -0.0, 1e300, 5e-324, 3.0]
    events = [
        Event(user, item, "odd, kind" if n % 2 else "view", n * 10**15 - 7, values[n % 6], f"{user}{item}")
        for n, (user, item) in enumerate((user, item) for user in STRANGE for item in STRANGE)
    ]
    store.add_events(events)
    for event in events[20:60:3]:  # numbers with gaps
        store.remove_event(str(event.event_id))
    stored, _ = store.events_after(0, 1000)
    tables = store.snapshot()
    names = ["user_id", "item_id", "event", "value", "timestamp"]
    assert tables.events.to_pylist() == stored.select(names).to_pylist()
    assert [repr(value) for value in tables.events["value"].to_pylist()] == [
        repr(value) for value in stored["value"].to_pylist()
    ]
    assert tables.items["item_id"].to_pylist() == ["a", "b"]
    assert tables.version == store.pulse().catalogue
    alone = store.snapshot(events=False)
    assert (alone.items, alone.events.num_rows) == (tables.items, 0)
    assert not list(tmp_path.glob(".snapshot-*"))


def test_texts_are_those_of_events_that_have_one_as_far_as_they_are_read(store: Store) -> None:
    store.upsert_items([Item("a")])
    store.add_events(
        [
            Event("u", "", "search", 2, event_id="s", text="x" * 2 * ENCODED_CHARACTERS),
            Event("u", "a", "view", 1, event_id="v"),
            Event("v", "a", "rating", 3, 4.0, event_id="r", text="é 🎬"),
        ]
    )
    texts = store.snapshot().texts
    assert texts is not None
    assert texts.to_pylist() == [
        {"user_id": "u", "event": "search", "value": None, "timestamp": 2, "text": "x" * ENCODED_CHARACTERS},
        {"user_id": "v", "event": "rating", "value": 4.0, "timestamp": 3, "text": "é 🎬"},
    ]
    store.remove_event("s")
    left = store.snapshot().texts
    assert left is not None
    assert left["user_id"].to_pylist() == ["v"]
    assert store.snapshot(events=False).texts is None
