"""What is remembered of people: never anything else than what would be looked up now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recserve import Catalogue, Event, Item
from recserve.data.entities import DEFAULT_EVENT_TYPES, User
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.user_cache import UNKNOWN_USER, UserCache, UserState
from recserve.serving.state.user_events import UserEvents
from recserve.store import Changes, History, Position, Pulse, key_of

CATALOGUE = Catalogue.of([Item(f"i{n}") for n in range(5)])
VIEW = CatalogueView.of(CATALOGUE)

events = st.builds(
    lambda item, kind, value: Event("u", f"i{item}", kind, 0, value),
    st.integers(0, 7),
    st.sampled_from([*DEFAULT_EVENT_TYPES, "unheard-of"]),
    st.none() | st.floats(0, 9),
)


def same(one: UserEvents, other: UserEvents) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in ("rows", "events", "weights", "timestamps")
    )


@given(
    st.lists(events, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=6),
)
def test_steps_are_those_of_the_history_however_it_came_about(
    happened: Sequence[Event], windows: Sequence[tuple[int, int, bool]]
) -> None:
    numbered = list(enumerate(happened, start=1))
    state = UNKNOWN_USER
    for start, end, looked_at in windows:
        state = state.advanced(History.of(numbered[start:end]), None)
        if looked_at:
            state = state.resolved(VIEW, DEFAULT_EVENT_TYPES)
            assert same(state.events, UserEvents.of(happened[start:end], CATALOGUE, DEFAULT_EVENT_TYPES))


def test_another_catalogue_gives_other_rows() -> None:
    state = UserState(History.of([(1, Event("u", "i3", "view", 0))])).resolved(VIEW, DEFAULT_EVENT_TYPES)
    assert state.events.rows.tolist() == [3]
    other = CatalogueView.of(Catalogue.of([Item("i3")]))
    assert state.resolved(other, DEFAULT_EVENT_TYPES).events.rows.tolist() == [0]
    assert state.events.rows.tolist() == [3], "a state never changes"


def test_who_is_served_longest_ago_is_forgotten_first_and_who_asks_to_be_at_once() -> None:
    known = UserCache(budget=6)
    people = {user: UserState(History.of([(1, Event(user, "i1", "view", 0))])) for user in "abcd"}
    for user, person in people.items():
        known.put(user, person)
    assert known.get("a") is UNKNOWN_USER
    assert known.get("d") is people["d"]
    known.forget(key_of("d"))
    assert known.get("d") is UNKNOWN_USER


def test_a_new_profile_is_a_new_state_with_the_same_events() -> None:
    state = UserState(History.of([(1, Event("u", "i3", "view", 0))])).resolved(VIEW, DEFAULT_EVENT_TYPES)
    assert state.resolved(VIEW, DEFAULT_EVENT_TYPES) is state
    later = state.advanced(state.history, User("u", {"interests": "chess"}))
    assert later is not state
    assert later.resolved(VIEW, DEFAULT_EVENT_TYPES).events is state.events
    assert later.advanced(later.history, User("u", {"interests": "chess"})) is later


def test_a_state_is_advanced_only_where_it_still_is_the_cached_one() -> None:
    cache = UserCache()
    state = UserState(History.of([(1, Event("u", "i3", "view", 0))]))
    cache.put("u", state)
    later = state.resolved(VIEW, DEFAULT_EVENT_TYPES)
    cache.advance("u", state, later)
    assert cache.get("u") is later
    newer = UserState(History.of([(2, Event("u", "i4", "view", 1))]))
    cache.put("u", newer)
    cache.advance("u", later, later.resolved(VIEW, DEFAULT_EVENT_TYPES))
    assert cache.get("u") is newer
    cache.forget(key_of("u"))
    cache.advance("u", newer, later)
    assert cache.get("u") is UNKNOWN_USER, "a deleted user does not come back"


def test_only_what_was_read_at_the_latest_position_is_current() -> None:
    known, pulse = UserCache(), Pulse()
    known.follow(Changes(Position(0, 5), pulse, None))
    known.put("early", UserState(), Position(0, 4))
    known.put("late", UserState(), Position(0, 5))
    known.put("unsure", UserState())
    assert set(known.current(["early", "late", "unsure", "unknown"])) == {"late"}
    known.follow(Changes(Position(0, 4), pulse, frozenset()))
    assert known.watermark == Position(0, 5), "another thread that read earlier comes late"
    known.follow(Changes(Position(0, 6), pulse, frozenset({"late", "unknown"})))
    assert not known.current(["late"])
    known.put("late", UserState(), Position(0, 6))
    known.follow(Changes(Position(1, 6), pulse, None))
    assert not known.current(["late"])
