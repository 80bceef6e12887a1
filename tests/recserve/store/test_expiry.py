"""What is too old goes from the database, and nothing else does."""

from __future__ import annotations

import pytest

from recserve import Event
from recserve.store import Exposure, Store
from recserve.store.sql.queries import expiry


def fill(store: Store) -> None:
    store.add_events([Event("u", f"i{n}", "view", n, event_id=f"e{n}", timed=False) for n in range(20)])
    store.add_exposures([Exposure(f"r{n}", "u", "b", "home", n, (), 0) for n in range(20)])
    store.flush()


def ids(store: Store) -> list[str]:
    table, _ = store.events_after(0, 100)
    return [str(found) for found in table["event_id"].to_pylist()]


@pytest.mark.parametrize("batch", [3, 5_000])
def test_what_is_old_goes(store: Store, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(expiry, "_BATCH", batch)
    fill(store)
    assert (store.expire_events(0), store.expire_exposures(0)) == (0, 0)
    assert (store.expire_events(12), store.expire_exposures(12)) == (12, 12)
    assert ids(store) == [f"e{n}" for n in range(12, 20)]
    assert store.exposures("r11") is None
    assert store.exposures("r12") is not None
    assert (store.expire_events(12), store.expire_exposures(12)) == (0, 0)


def test_only_what_is_in_a_lake_goes(store: Store) -> None:
    fill(store)
    assert store.expire_events(12, through=5) == 5
    assert ids(store) == [f"e{n}" for n in range(5, 20)]


def test_histories_that_are_known_lose_what_expired(store: Store) -> None:
    fill(store)
    known = store.people(["u"], 30).histories
    before = store.changes()
    store.expire_events(18)
    assert [event.item_id for event in store.people(["u"], 30, known).histories["u"].events] == ["i18", "i19"]
    assert before is None or store.changes(before.position) != before


def test_an_event_that_expired_was_not_taken_back(store: Store) -> None:
    fill(store)
    store.expire_events(12)
    assert store.withdrawn().removals == 0
    assert store.add_events([Event("u", "i0", "view", 0, event_id="e0", timed=False)]) == 1
