"""What reaches the store is counted: new, there already, or refused for a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from recserve import Event
from recserve.data.dataset import Tables
from recserve.store import Store, open_store
from recserve.store.ingest import (
    EVENT_SCHEMA,
    ITEM_SCHEMA,
    import_tables,
    import_users,
    not_in_catalogue,
    stored_items,
)
from recserve.store.ingest.load import with_bare_items

NOON = 1_700_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def data(items: dict[str, str], *events: tuple[str, str, str, int]) -> Tables:
    """Items with their attributes, and events as (event_id, user, item, time)."""
    rows = [(key, user, item, "view", None, time, None, None) for key, user, item, time in events]
    columns = list(zip(*rows, strict=True)) or [()] * len(EVENT_SCHEMA)
    return Tables(
        items=pa.table([list(items), list(items.values())], schema=ITEM_SCHEMA),
        events=pa.table(
            [pa.array(c, t.type) for c, t in zip(columns, EVENT_SCHEMA, strict=True)], schema=EVENT_SCHEMA
        ),
    )


def test_importing_twice_stores_once(store: Store) -> None:
    tables = data({"a": '{"title": "A"}'}, ("", "u", "a", NOON), ("", "u", "a", NOON + 1))
    steps: list[tuple[int, int]] = []
    first = import_tables(store, tables, lambda done, total: steps.append((done, total)))
    assert (first.items, first.new_events, first.known_events) == (1, 2, 0)
    assert steps == [(1, 3), (3, 3)]
    again = import_tables(store, tables)
    assert (again.new_events, again.known_events) == (0, 2)
    assert str(again) == "1 items and 0 events imported (2 were there already)"
    assert store.counts().events == 2
    assert store.items(["a"])["a"].attributes == {"title": "A"}


def test_refused_events_are_counted_by_reason_and_the_others_stored(store: Store) -> None:
    store.add_events(
        [Event("u", "a", "view", NOON, event_id="taken"), Event("u", "a", "view", NOON, event_id="back")]
    )
    store.remove_event("back")
    tables = data({}, ("taken", "u", "other", NOON), ("back", "u", "a", NOON), ("new", "u", "b", NOON))
    summary = import_tables(store, tables)
    assert summary.new_events == 1
    assert summary.refused == {"event_id_conflict": 1, "event_removed": 1}
    assert summary.known_events == 0
    assert all(reason.startswith("left out: ") for reason in summary.left_out)
    assert "1 left out: they were taken back" in str(summary)


def test_items_that_neither_the_store_nor_the_file_describes_can_be_made(store: Store) -> None:
    import_tables(store, data({"stored": "{}"}))
    tables = data(
        {"brought": "{}"},
        *((f"e{n}", "u", item, NOON + n) for n, item in enumerate(["stored", "brought", "bare", "bare"])),
    )
    unknown = not_in_catalogue(store, tables)
    assert (list(unknown.item_ids), unknown.events) == (["bare"], 2)
    summary = import_tables(store, with_bare_items(tables, unknown.item_ids))
    assert summary.items == 2
    assert stored_items(store, ["stored", "brought", "bare", "nowhere"]) == {"stored", "brought", "bare"}
    assert not_in_catalogue(store, tables).events == 0


def test_users_replace_their_attributes(store: Store) -> None:
    users = pa.table({"user_id": ["u", "v"], "attributes": ['{"interests": "tea"}', "{}"]})
    assert import_users(store, users) == 2
    import_users(store, pa.table({"user_id": ["u"], "attributes": ['{"city": "Rome"}']}))
    assert store.users(["u"])["u"].attributes == {"city": "Rome"}
