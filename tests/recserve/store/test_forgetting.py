"""Late data of people who were deleted, of merged sessions, and of events that were taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from recserve import Event
from recserve.data.entities import User, now_ms
from recserve.errors import ConflictError, EventIdConflictError, EventRemovedError, UserDeletedError
from recserve.store import ExposedItem, Exposure, Moment, Store

NOTHING = dict.fromkeys(("events", "exposures", "user_impressions", "users", "merges"), 0)
"""Rows that are left of somebody who was deleted."""

CLEAN = NOTHING


def history(store: Store, user: str) -> list[str]:
    return [event.item_id for event in store.histories([user], 1000)[user]]


def exposure(name: str, user: str, since: int = 0) -> Exposure:
    return Exposure(name, user, "bundle", "home", now_ms() + 3_600_000, (ExposedItem("i", 0.5),), since)


class TestDeletedPeople:
    def test_late_retries_are_refused_on_every_host(self, open_again: Callable[[], Store]) -> None:
        here, there = open_again(), open_again()
        sent = [Event("a", "i", "view", now_ms(), event_id="1"), Event("a", "j", "view", 5, event_id="2")]
        here.add_events(sent)
        here.delete_user("a")
        for store in (here, there):
            for event in sent:
                with pytest.raises(EventRemovedError) as refused:
                    store.add_events([event])
                assert refused.value.field == "events[0].event_id"
                # Nor does it help that the server reads a newer time off its clock.
                with pytest.raises(EventRemovedError):
                    store.add_events([replace(event, timestamp=now_ms() + 10_000, timed=False)])
            assert history(store, "a") == []
        assert here.traces(here.deletions()[0]) == CLEAN

    def test_an_older_event_that_comes_late_is_refused(self, open_again: Callable[[], Store]) -> None:
        here, there = open_again(), open_again()
        at = here.delete_user("a").deleted_at
        for event in (Event("a", "i", "view", at), Event("a", "i", "view", 5, event_id="never seen")):
            with pytest.raises(UserDeletedError) as refused:
                there.add_events([event])
            assert refused.value.field == "events[0].timestamp"
            assert "a" not in refused.value.message.split()
        assert there.add_events([Event("a", "new", "view", at + 1)]) == 1
        # A host whose clock is slow stores what happens after the deletion all the same.
        assert there.add_events([Event("a", "newer", "view", at - 60_000, timed=False)]) == 1
        assert sorted(history(here, "a")) == ["new", "newer"]

    def test_one_refused_event_refuses_the_batch(self, store: Store) -> None:
        store.delete_user("a")
        late = [Event("a", item, "view", 1) for item in "ij"]
        batch = [Event("b", "i", "view", 1, event_id="b1"), *late]
        with pytest.raises(UserDeletedError, match=r"^events\[1\].*and 1 more") as refused:
            store.add_events(batch)
        assert refused.value.field == "events[1].timestamp"
        assert store.counts().events == 0
        assert store.add_events(batch[:1]) == 1

    def test_an_import_leaves_them_out_and_counts_them(self, store: Store) -> None:
        store.add_events([Event("a", "i", "view", 1, event_id="1")])
        store.delete_user("a")
        added = store.import_events(
            [Event("a", "i", "view", 1, event_id="1"), Event("a", "j", "view", 2), Event("b", "i", "view", 1)]
        )
        assert added.stored == 1
        assert [one.code for one in added.refused] == ["event_removed", "user_deleted"]
        assert (history(store, "a"), history(store, "b")) == ([], ["i"])


class TestMergedSessions:
    def test_what_arrives_late_under_a_session_goes_with_the_person(
        self, open_again: Callable[[], Store]
    ) -> None:
        here, there = open_again(), open_again()
        here.add_events([Event("tablet", "i", "view", 1, event_id="1")])
        here.merge_user("tablet", "session")
        here.merge_user("session", "a")
        # Written by another host after the merge, with a clock that runs ahead.
        there.add_exposures([exposure("r1", "session"), exposure("r2", "tablet"), exposure("r3", "b")])
        there.add_events([Event("session", "late", "view", 2, event_id="2")])
        there.upsert_users([User("session", {"name": "A"})])
        there.flush()
        receipt = here.delete_user("a")
        assert (receipt.events, receipt.exposures, receipt.profiles) == (2, 2, 1)
        assert [here.exposures(name) is None for name in ("r1", "r2", "r3")] == [True, True, False]
        assert history(here, "session") == []
        assert here.users(["session"]) == {}
        # And what arrives even later.
        there.add_exposures([exposure("r4", "session"), exposure("r5", "session", since=3)])
        there.flush()
        assert here.exposures("r4") is None
        assert here.exposures("r5") is not None  # a new beginning
        with pytest.raises(ConflictError):
            there.add_events([Event("session", "later", "view", 3)])
        own, *merged = here.deletions()
        assert [one.part_of for one in merged] == [own.number] * 2
        assert here.traces(own) == CLEAN

    def test_what_is_left_under_a_merged_id_is_found(self, store: Store) -> None:
        store.merge_user("session", "a")
        store.delete_user("a")
        own, merged = store.deletions()
        # What a replica of before this version may still write.
        store.add_exposures([exposure("r", "session", since=merged.number)])
        store.flush()
        assert store.traces(own) == CLEAN
        store.delete_user("session")
        assert store.exposures("r") is None

    def test_others_who_were_merged_elsewhere_stay(self, store: Store) -> None:
        store.add_events([Event("one", "i", "view", 1), Event("other", "j", "view", 1)])
        store.merge_user("one", "a")
        store.merge_user("other", "b")
        store.delete_user("a")
        assert history(store, "b") == ["j"]
        assert len(store.deletions()) == 2


class TestReusedIds:
    FIRST = Event("u", "i", "rating", 7, 4.5, event_id="e", recommendation_id="r")

    @pytest.mark.parametrize(
        "other",
        [
            {"user_id": "v"},
            {"item_id": "j"},
            {"event": "view"},
            {"timestamp": 8},
            {"value": 4.0},
            {"value": None},
            {"recommendation_id": None},
        ],
        ids=str,
    )
    def test_other_content_is_refused_and_changes_nothing(
        self, store: Store, other: dict[str, object]
    ) -> None:
        store.add_events([self.FIRST])
        changed = replace(self.FIRST, **other)  # type: ignore[arg-type]  # fields of an event
        for batch in ([changed], [Event("u", "new", "view", 1), changed], [self.FIRST, changed]):
            with pytest.raises(EventIdConflictError) as refused:
                store.add_events(batch)
            assert refused.value.field == f"events[{len(batch) - 1}].event_id"
            assert refused.value.status == 409
        assert store.histories(["u", "v"], 9) == {"u": [self.FIRST], "v": []}
        assert store.add_events([self.FIRST]) == 0

    def test_a_time_that_the_server_read_is_no_content(self, store: Store) -> None:
        store.add_events([replace(self.FIRST, timed=False)])
        assert store.add_events([replace(self.FIRST, timestamp=99, timed=False)]) == 0
        with pytest.raises(EventIdConflictError):
            store.add_events([replace(self.FIRST, item_id="j", timestamp=99, timed=False)])

    def test_of_many_at_once_one_is_stored(self, open_again: Callable[[], Store]) -> None:
        stores = [open_again() for _ in range(3)]

        def post(n: int) -> str:
            try:
                return str(stores[n % 3].add_events([Event("u", f"i{n}", "view", 1, event_id="same")]))
            except EventIdConflictError as error:
                return error.code

        with ThreadPoolExecutor(12) as pool:
            answers = sorted(pool.map(post, range(24)))
        assert answers == ["1", *["event_id_conflict"] * 23]
        assert len(history(stores[0], "u")) == 1

    def test_a_refused_call_takes_nobody_along(self, store: Store) -> None:
        store.add_events([self.FIRST])

        def post(n: int) -> int:
            batch = [Event("w", f"i{n}", "view", n)]
            if n % 5 == 0:
                batch.append(replace(self.FIRST, value=1.0))
            try:
                return store.add_events(batch)
            except EventIdConflictError:
                return 0

        with ThreadPoolExecutor(16) as pool:
            kept = sum(pool.map(post, range(50)))
        assert kept == len(history(store, "w")) == 40
        assert not {f"i{n}" for n in range(0, 50, 5)} & set(history(store, "w"))


class TestTakingBack:
    def test_an_event(self, store: Store) -> None:
        store.add_events([Event("u", f"i{n}", "view", n, event_id=str(n)) for n in range(3)])
        known = store.people(["u"], 9).histories
        assert (store.remove_event("1"), store.remove_event("1"), store.remove_event("?")) == (1, 0, 0)
        assert history(store, "u") == ["i0", "i2"]
        assert [one.item_id for one in store.people(["u"], 9, known).histories["u"].events] == ["i0", "i2"]
        with pytest.raises(EventRemovedError):
            store.add_events([Event("u", "i1", "view", 1, event_id="1")])
        assert history(store, "u") == ["i0", "i2"]

    def test_all_that_a_user_did_with_an_item(self, store: Store) -> None:
        store.add_events([Event(user, item, "view", n) for user in "uv" for item in "ij" for n in range(2)])
        known = store.people(["u", "v"], 9).histories
        assert (store.remove_events("u", "i"), store.remove_events("u", "i")) == (2, 0)
        assert (history(store, "u"), history(store, "v")) == (["j", "j"], ["i", "j", "i", "j"])
        current = store.people(["u", "v"], 9, known).histories
        assert current["v"] is known["v"]
        assert len(current["u"].events) == 2

    def test_who_follows_the_store_learns_of_it(self, open_again: Callable[[], Store]) -> None:
        store, follower = open_again(), open_again()
        store.add_events([Event("u", "i", "view", 1, event_id="1")])
        before, version = follower.changes(), follower.version()
        store.remove_event("1")
        if before is None:
            pytest.skip("PostgreSQL is asked for every batch")
        assert follower.version() != version
        changes = follower.changes(before.position)
        assert changes is not None
        assert changes.users is None


def test_a_history_is_read_part_by_part_newest_first(store: Store) -> None:
    store.add_events([Event("u", f"i{n}", "view", n // 3) for n in range(10)])
    store.add_events([Event("v", "x", "view", 1)])
    seen: list[str] = []
    before: Moment | None = None
    while page := store.history("u", 4, before):
        seen.extend(event.item_id for _, event in page)
        before = page[-1][0]
        store.add_events([Event("u", f"new{len(seen)}", "view", 99)])
    assert seen == [f"i{n}" for n in reversed(range(10))]
    assert store.history("nobody", 4) == []
