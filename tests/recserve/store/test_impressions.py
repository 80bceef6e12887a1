"""Impressions of users: counted with the exposures, bounded, followed, merged, forgotten and expired."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve.config import COUNTED_IMPRESSIONS
from recserve.store import ExposedItem, Exposure, ImpressionTimes, Store
from recserve.store.sql.database import Database
from recserve.store.sql.parts.exposures.impressions import with_shown
from recserve.store.transfer.export import export_everything
from recserve.store.transfer.restore import restore


def page(name: str, user: str | None, items: str, timestamp: int = 5, since: int = 0) -> Exposure:
    shown = tuple(ExposedItem(item, 0.5) for item in items)
    return Exposure(name, user, "bundle", "home", timestamp, shown, since)


def shown(store: Store, user: str = "u") -> ImpressionTimes:
    return store.people([user], 10).impressions.get(user, {})


def show(store: Store, *pages: Exposure, counted: int = 100) -> None:
    store.add_exposures(pages, counted)
    store.flush()


def test_what_was_shown_is_counted_once(store: Store) -> None:
    show(store, page("r1", "u", "ab"), page("r2", "u", "bc", 7), page("r3", "v", "a"), page("r4", None, "z"))
    assert shown(store) == {"a": [5], "b": [5, 7], "c": [7]}
    assert shown(store, "v") == {"a": [5]}
    show(store, page("r2", "u", "bc", 7), page("r2", "u", "bc", 7))
    show(store, page("r5", "u", "a"), counted=0)
    show(store, replace(page("r6", "u", "a"), shadow=True))
    assert shown(store) == {"a": [5], "b": [5, 7], "c": [7]}
    assert shown(store, "nobody") == {}


def test_the_newest_impressions_of_the_items_shown_last_are_kept(store: Store) -> None:
    show(store, *(page(f"r{n}", "u", "a", n) for n in range(COUNTED_IMPRESSIONS + 5)))
    assert shown(store) == {"a": list(range(5, COUNTED_IMPRESSIONS + 5))}
    show(store, page("b", "u", "b", 50), page("c", "u", "c", 60), counted=2)
    assert shown(store) == {"b": [50], "c": [60]}
    show(store, page("late", "u", "a", 40), counted=2)
    assert shown(store) == {"b": [50], "c": [60]}, "it was not shown last"


NUMBERS = count()
PAGES = st.lists(
    st.tuples(st.sampled_from("uv"), st.text("abcd", min_size=1, max_size=3), st.integers(0, 9)), max_size=12
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=PAGES, seed=st.integers(0, 99))
def test_the_sum_does_not_depend_on_batches(
    open_again: Callable[[], Store], pages: list[tuple[str, str, int]], seed: int
) -> None:
    stores = [open_again(), open_again()]  # as two processes would
    rng = random.Random(seed)
    prefix = f"{next(NUMBERS)} "  # the database stays the same from example to example
    exposures = [page(f"{prefix}{n}", prefix + user, items, at) for n, (user, items, at) in enumerate(pages)]
    rng.shuffle(exposures)
    while exposures:
        batch = [exposures.pop() for _ in range(min(rng.randint(1, 4), len(exposures)))]
        writer = rng.choice(stores)
        writer.add_exposures(batch, 100)
        if rng.random() < 0.5:
            writer.flush()
    for store in stores:
        store.flush()
    for user in "uv":
        expected: dict[str, list[int]] = {}
        for owner, items, at in pages:
            for item in items if owner == user else "":
                expected.setdefault(item, []).append(at)
        assert shown(stores[0], prefix + user) == {item: sorted(times) for item, times in expected.items()}


def test_the_order_of_items_is_that_of_their_last_impressions() -> None:
    times = with_shown({"a": [9]}, [(3, ["b"]), (1, ["a", "c"])], 10)
    assert times == {"c": [1], "b": [3], "a": [1, 9]}
    assert list(times) == ["c", "b", "a"]


def test_who_was_shown_something_has_changed(store: Store) -> None:
    if store.version() is None:
        pytest.skip("PostgreSQL has no changes")
    before = store.changes()
    assert before is not None
    show(store, page("r1", "u", "a"), page("r2", "v", "a"))
    after = store.changes(before.position)
    assert after is not None
    assert after.users == {"u", "v"}
    show(store, page("r3", "v", "b"))
    last = store.changes(after.position)
    assert last is not None
    assert last.users == {"v"}


def test_impressions_of_a_session_become_the_persons(store: Store) -> None:
    show(store, page("r1", "session", "ab", 5), page("r2", "me", "bc", 3))
    store.merge_user("session", "me")
    assert shown(store, "me") == {"a": [5], "b": [3, 5], "c": [3]}
    assert shown(store, "session") == {}
    store.merge_user("me", "nobody yet")
    assert shown(store, "nobody yet") == {"a": [5], "b": [3, 5], "c": [3]}


def test_impressions_go_with_the_person(store: Store) -> None:
    show(store, page("r1", "u", "ab"), page("r2", "session", "c"), page("r3", "v", "a"))
    store.merge_user("session", "u")
    show(store, page("r4", "session", "d"))
    receipt = store.delete_user("u")
    assert receipt.impressions == 4
    assert (shown(store), shown(store, "session"), shown(store, "v")) == ({}, {}, {"a": [5]})
    deletion = store.deletion(receipt.receipt_id)
    assert deletion is not None
    show(store, page("late", "u", "a", since=0), page("new", "u", "e", since=deletion.number + 1))
    assert shown(store) == {"e": [5]}
    assert store.traces(deletion)["user_impressions"] == 0
    assert store.delete_user("v").impressions == 1


def test_traces_of_impressions_are_found(store: Store, database: Database) -> None:
    receipt = store.delete_user("u")
    show(store, page("r", "u", "a", since=1))
    deletion = store.deletion(receipt.receipt_id)
    assert deletion is not None
    assert store.traces(deletion)["user_impressions"] == 0
    database.write(lambda c: c.exec_driver_sql("UPDATE user_impressions SET since = 0"))
    assert store.traces(deletion)["user_impressions"] == 1


def test_a_session_of_before_a_deletion_brings_no_impressions_back(store: Store) -> None:
    show(store, page("r1", "session", "a"))
    store.delete_user("u")
    show(store, page("r2", "other", "b", since=1))
    store.merge_user("session", "u")
    store.merge_user("other", "u")
    assert shown(store) == {"b": [5]}


def test_old_impressions_expire(store: Store) -> None:
    show(store, page("r1", "u", "ab", 5), page("r2", "u", "b", 9), page("r3", "v", "c", 5))
    assert store.expire_impressions(5) == 0
    assert store.expire_impressions(6) == 3
    assert (shown(store), shown(store, "v")) == ({"b": [9]}, {})
    assert store.expire_impressions(6) == 0
    show(store, page("r4", "v", "c", 20))
    assert shown(store, "v") == {"c": [20]}


def test_a_backup_holds_impressions_and_readers_follow_it(
    store: Store,
    database: Database,
    new_url: Callable[[str], str],
    open_at: Callable[[str], tuple[Store, Database]],
    tmp_path: Path,
) -> None:
    show(store, page("r1", "u", "ab"), page("r2", "gone", "a"))
    export_everything(database, tmp_path / "export")
    other, its_database = open_at(new_url("postgres" if database.is_postgres else "sqlite"))
    other.delete_user("gone")
    restore(its_database, tmp_path / "export")
    assert (shown(other), shown(other, "gone")) == ({"a": [5], "b": [5]}, {})
    before = other.changes()
    if before is not None:
        show(other, page("r3", "v", "a", since=1))
        after = other.changes(before.position)
        assert after is not None
        assert after.users == {"v"}
