"""What a batch reads of its people: always what the store holds, however much of it was known before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Event
from recserve.data.entities import User
from recserve.errors import InvalidRequestError
from recserve.store import History, Store

LIMIT = 4


def event(user: str, item: str, timestamp: int, event_id: str | None = None) -> Event:
    return Event(user, item, "view", timestamp, None, event_id, timed=False)


def items(history: History) -> list[str]:
    return [one.item_id for one in history.events]


def test_nothing_is_known_of_strangers(store: Store) -> None:
    found = store.people(["nobody"], LIMIT)
    assert found.histories == {"nobody": History()}
    assert found.users == {}
    assert found.pulse == store.pulse()
    assert store.people([], LIMIT).histories == {}


def test_a_history_that_has_not_changed_is_the_object_that_was_known(store: Store) -> None:
    store.add_events([event("u", "a", 1), event("v", "b", 2)])
    known = store.people(["u", "v"], LIMIT).histories
    store.add_events([event("v", "c", 3)])
    found = store.people(["u", "v"], LIMIT, known).histories
    assert found["u"] is known["u"]
    assert items(found["v"]) == ["b", "c"]


def test_an_event_that_comes_late_takes_its_place_in_time(store: Store) -> None:
    store.add_events([event("u", "a", 10), event("u", "b", 30)])
    known = store.people(["u"], LIMIT).histories
    store.add_events([event("u", "late", 20)])
    assert items(store.people(["u"], LIMIT, known).histories["u"]) == ["a", "late", "b"]


def test_an_event_older_than_all_that_count_changes_nothing(store: Store) -> None:
    store.add_events([event("u", str(moment), moment) for moment in range(10, 10 + LIMIT)])
    known = store.people(["u"], LIMIT).histories
    store.add_events([event("u", "ancient", 1)])
    assert store.people(["u"], LIMIT, known).histories["u"] is known["u"]


def test_who_was_deleted_is_unknown_and_can_begin_again(store: Store) -> None:
    store.add_events([event("u", "a", 1)])
    store.upsert_users([User("u", {"interests": "chess"})])
    before = store.people(["u"], LIMIT)
    assert before.users["u"].attributes == {"interests": "chess"}
    store.delete_user("u")
    gone = store.people(["u"], LIMIT, before.histories)
    assert gone.histories["u"] == History()
    assert gone.users == {}
    assert gone.pulse.deletions == before.pulse.deletions + 1
    store.add_events([event("u", "b", 2)])
    assert items(store.people(["u"], LIMIT, before.histories).histories["u"]) == ["b"]


def test_a_session_that_joins_a_user_is_read_whole(store: Store) -> None:
    store.add_events([event("session", "s1", 1), event("session", "s2", 3)])
    store.add_events([event("u", "a", 2)])
    known = store.people(["u", "session"], LIMIT).histories
    store.merge_user("session", "u")
    found = store.people(["u", "session"], LIMIT, known).histories
    assert items(found["u"]) == ["s1", "a", "s2"]
    assert items(found["session"]) == []


def test_an_id_that_no_store_can_hold_is_refused(store: Store) -> None:
    with pytest.raises(InvalidRequestError, match="user_id"):
        store.people([""], LIMIT)


def test_users_whose_hashes_collide_are_kept_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("queries.rows", "schema"):
        monkeypatch.setattr(f"recserve.store.sql.{module}.hash_of", lambda external: 7)
    store.add_events([event("u", "a", 1)])
    known = store.people(["u"], 100).histories
    store.add_events([event("v", "b", 2), event("u", "c", 3), event("v", "d", 4)])
    found = store.people(["u", "v", "w"], 100, known).histories
    assert {user: items(history) for user, history in found.items()} == {
        "u": ["a", "c"],
        "v": ["b", "d"],
        "w": [],
    }


Step = tuple[str, str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("uvw"), st.integers(1, 20)),
        st.tuples(st.just("delete"), st.sampled_from("uvw"), st.just(0)),
        st.tuples(st.just("merge"), st.sampled_from("uvw"), st.just(0)),
        st.tuples(st.just("read"), st.sampled_from("uvw"), st.just(0)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_however_old_what_is_known_what_is_read_is_what_there_is(store: Store, steps: Sequence[Step]) -> None:
    for user in "uvw":
        store.delete_user(user)
    known: dict[str, History] = {}
    for number, (what, user, moment) in enumerate([*steps, ("read", "u", 0)]):
        if what == "add":
            store.add_events([event(user, f"i{number}", moment)])
        elif what == "delete":
            store.delete_user(user)
        elif what == "merge":
            store.merge_user(user, "u")
        else:
            found = store.people(["u", "v", "w"], LIMIT, known).histories
            expected = store.histories(["u", "v", "w"], LIMIT)
            assert {one: list(history.events) for one, history in found.items()} == expected
            # Only one of them is refreshed, so that the others grow old.
            known = {**found, **known, user: found[user]}
