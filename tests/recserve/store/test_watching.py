"""Following what happens to people: a reader that asks only when something was committed misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from recserve import Catalogue, Event, Item
from recserve.data.entities import User
from recserve.serving.state.history_reader import StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import ExposedItem, Exposure, ItemPatch, Position, Store, UserPatch
from recserve.store.sql.database import Database

USERS = ("u", "v", "w")
LIMIT = 5


def event(user: str, item: str, moment: int = 0) -> Event:
    return Event(user, item, "view", moment, timed=False)


def on_sqlite(store: Store) -> Store:
    if store.version() is None:
        pytest.skip("PostgreSQL has neither a version nor changes")
    return store


def test_every_commit_of_any_process_changes_the_version(open_again: Callable[[], Store]) -> None:
    store, other = on_sqlite(open_again()), open_again()
    seen = store.version()
    assert store.version() == seen
    for write in (
        lambda one: one.add_events([event("u", "a")]),
        lambda one: one.upsert_users([User("u", {"a": 1})]),
        lambda one: one.add_trials({"a": 1}, {}) or one.flush(),
    ):
        for one in (store, other):
            before = store.version()
            write(one)
            assert store.version() != before
    store.close()
    assert store.version() is None


def test_the_pulse_is_read_only_after_a_commit(
    open_again: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = on_sqlite(open_again()), open_again()
    reads: list[int] = []
    read = Database.read

    def counted(database: Database, work: Callable[[Connection], Any]) -> Any:
        reads.append(1)
        return read(database, work)

    monkeypatch.setattr(Database, "read", counted)
    first = store.pulse()
    assert [store.pulse() for _ in range(3)] == [first] * 3
    assert len(reads) == 1
    for writer in (store, other):
        before = store.pulse().catalogue
        writer.upsert_items([Item(f"of {before}")])
        assert store.pulse().catalogue == before + 1
    reads.clear()
    store.pulse()
    assert not reads


def test_postgres_has_neither_version_nor_changes(store: Store, store_url: str) -> None:
    if store_url.startswith("sqlite"):
        pytest.skip("SQLite has both")
    assert store.version() is None
    assert store.changes() is None
    assert store.changes(Position(3, 4)) is None


def test_changes_name_those_who_have_new_events(store: Store) -> None:
    first = on_sqlite(store).changes()
    assert first is not None
    assert first.users is None, "nothing is known of what was before"
    store.add_events([event("u", "a"), event("v", "b"), event("u", "c")])
    second = store.changes(first.position)
    assert second is not None
    assert second.users == {"u", "v"}
    assert second.position > first.position
    third = store.changes(second.position)
    assert third is not None
    assert (third.position, third.users) == (second.position, frozenset())


def test_anything_else_about_people_may_be_about_anyone(store: Store) -> None:
    on_sqlite(store).add_events([event("session", "a")])
    for change in (
        lambda: store.upsert_users([User("u", {"a": 1})]),
        lambda: store.patch_users([UserPatch("u", {"a": 2})]),
        lambda: store.merge_user("session", "u"),
        lambda: store.delete_user("u"),
    ):
        before = store.changes()
        assert before is not None
        change()
        after = store.changes(before.position)
        assert after is not None
        assert after.users is None
        assert after.position > before.position


def test_many_new_events_may_be_anyones(store: Store) -> None:
    first = on_sqlite(store).changes()
    assert first is not None
    store.add_events([event(f"u{n}", "a") for n in range(1000)])
    changed = store.changes(first.position)
    assert changed is not None
    assert changed.users is not None
    assert len(changed.users) == 1000
    store.add_events([event("one more", "a")])
    changed = store.changes(first.position)
    assert changed is not None
    assert changed.users is None


Step = tuple[str, int, str, Sequence[str]]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "profile", "patch", "delete", "merge", "show", "read", "read", "read"]),
        st.integers(0, 1),
        st.sampled_from(USERS),
        st.lists(st.sampled_from(USERS), min_size=1, unique=True),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_what_a_reader_says_is_what_there_is(open_again: Callable[[], Store], steps: Sequence[Step]) -> None:
    stores = [open_again(), open_again()]  # as two processes would
    catalogue = Catalogue()
    readers = [StoreReader(one, CatalogueFollower(catalogue, one, -1, None), LIMIT, 10.0) for one in stores]
    for number, (what, which, user, users) in enumerate([*steps, ("read", 0, "u", USERS)]):
        store = stores[which]
        if what == "add":
            store.add_events([event(user, f"i{number}", number % 7)])
        elif what == "profile":
            store.upsert_users([User(user, {"number": number})])
        elif what == "patch":
            store.patch_users([UserPatch(user, {"patched": number})])
        elif what == "delete":
            store.delete_user(user)
        elif what == "merge":
            store.merge_user(user, "u")
        elif what == "show":
            shown = (ExposedItem(f"i{number % 3}", 1.0),)
            store.add_exposures([Exposure(f"r{number}", user, "b", "home", number, shown, number)], 2)
            store.flush()
        else:
            reading = asyncio.run(readers[which].read(users))
            assert not reading.store_unavailable
            found = {one: reading.state(one) for one in users}
            assert {one: list(person.history.events) for one, person in found.items()} == store.histories(
                users, LIMIT
            )
            shown_to = {one: person.impressions for one, person in found.items() if person.impressions}
            assert shown_to == store.people(users, LIMIT).impressions
            profiles = {one: person.user for one, person in found.items() if person.user is not None}
            assert profiles == store.users(users)


def test_nothing_is_read_while_nothing_is_committed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    on_sqlite(store).add_events([event("u", "a"), event("v", "b")])
    reader = StoreReader(store, CatalogueFollower(Catalogue(), store, -1, None), LIMIT, 10.0)
    read = [asyncio.run(reader.read(["u", "nobody"])) for _ in range(2)][-1]

    def refuse(*_: object) -> None:
        raise AssertionError("the store was read")

    monkeypatch.setattr(store, "people", refuse)
    monkeypatch.setattr(store, "changes", refuse)
    again = asyncio.run(reader.read(["u", "nobody"]))
    assert again.state("u") is read.state("u")
    monkeypatch.undo()

    store.add_events([event("v", "c")])
    monkeypatch.setattr(store, "people", refuse)
    assert asyncio.run(reader.read(["u"])).state("u") is read.state("u"), "only v has something new"


def test_a_reading_for_nobody_follows_the_catalogue_too(store: Store) -> None:
    reader = StoreReader(store, CatalogueFollower(Catalogue(), store, -1, None), LIMIT, 10.0)
    store.upsert_items([Item("i")])
    asyncio.run(reader.read([]))
    assert reader.live.view.catalogue.ids.row("i") == 0
    for hidden in (True, False, True):
        store.patch_items([ItemPatch("i", hidden=hidden)])
        asyncio.run(reader.read([]))
        assert reader.live.view.bars.barred.tolist() == [hidden]
