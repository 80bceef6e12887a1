"""A preview counts what an import would bring, and which events it could not place."""

from __future__ import annotations

import pyarrow as pa

from recserve.data.dataset import Tables
from recserve.store.ingest import EVENT_SCHEMA, ITEM_SCHEMA, empty_tables
from recserve.store.ingest.preview import Preview

NOON = 1_700_000_000_000


def data() -> Tables:
    rows = [
        ("", "u1", "a", "view", None, NOON, None, None),
        ("", "u1", "b", "view", None, NOON + 1, None, None),
        ("", "u2", "c", "rating", 4.0, NOON + 86_400_000, None, None),
        ("", "u2", "d", "buy", None, NOON, None, None),
    ]
    columns = list(zip(*rows, strict=True))
    return Tables(
        items=pa.table([["a"], ["{}"]], schema=ITEM_SCHEMA),
        events=pa.table(
            [pa.array(c, t.type) for c, t in zip(columns, EVENT_SCHEMA, strict=True)], schema=EVENT_SCHEMA
        ),
    )


def test_events_count_by_type_and_by_whether_their_item_is_known() -> None:
    asked: list[str] = []

    def stored(ids: list[str]) -> set[str]:
        asked.extend(ids)
        return {"c"}

    found = Preview.of(data(), stored)
    assert (found.users, found.items) == (2, 1)
    assert list(found.events.items()) == [("view", 2), ("buy", 1), ("rating", 1)]
    assert found.outside == 2
    assert "a" not in asked, "items that the import brings are not looked up"
    assert found.lines() == [
        "2 users, 1 items, 4 events",
        "events by type: view 2, buy 1, rating 1",
        "events whose item is not in the catalogue: 2 (50.0%)",
        "dates: 2023-11-14 to 2023-11-15",
    ]


def test_a_data_set_without_events_has_no_dates() -> None:
    found = Preview.of(empty_tables())
    assert found.lines() == ["0 users, 0 items, 0 events"]
    assert (found.first, found.last) == (None, None)
