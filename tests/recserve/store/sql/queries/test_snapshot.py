"""A snapshot is what the store holds, in order, however it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve import Event, Item
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
