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
    person = UNKNOWN_USER
    for start, end, looked_at in windows:
        person = person.now(History.of(numbered[start:end]), None)
        if looked_at:
            steps = person.steps(VIEW, DEFAULT_EVENT_TYPES)
            assert same(steps, UserEvents.of(happened[start:end], CATALOGUE, DEFAULT_EVENT_TYPES))


def test_another_catalogue_gives_other_rows() -> None:
    person = UserState(History.of([(1, Event("u", "i3", "view", 0))]))
    assert person.steps(VIEW, DEFAULT_EVENT_TYPES).rows.tolist() == [3]
    other = CatalogueView.of(Catalogue.of([Item("i3")]))
    assert person.steps(other, DEFAULT_EVENT_TYPES).rows.tolist() == [0]


def test_who_is_served_longest_ago_is_forgotten_first_and_who_asks_to_be_at_once() -> None:
    known = UserCache(budget=6)
    people = {user: UserState(History.of([(1, Event(user, "i1", "view", 0))])) for user in "abcd"}
    for user, person in people.items():
        known.put(user, person)
    assert known.get("a") is UNKNOWN_USER
    assert known.get("d") is people["d"]
    known.forget(key_of("d"))
    assert known.get("d") is UNKNOWN_USER


def test_a_user_with_more_events_than_the_whole_budget_is_not_held() -> None:
    known = UserCache(budget=4)
    few = UserState(History.of([(1, Event("few", "i1", "view", 0))]))
    for user in ("few", "many"):
        known.put(user, few)
    known.put("many", UserState(History.of([(n, Event("many", "i1", "view", n)) for n in range(9)])))
    assert known.get("many") is UNKNOWN_USER
    assert known.get("few") is few


def test_a_new_profile_is_a_new_person_with_the_same_steps() -> None:
    person = UserState(History.of([(1, Event("u", "i3", "view", 0))]))
    steps = person.steps(VIEW, DEFAULT_EVENT_TYPES)
    later = person.now(person.history, User("u", {"interests": "chess"}))
    assert later is not person
    assert later.steps(VIEW, DEFAULT_EVENT_TYPES) is steps
    assert later.now(later.history, User("u", {"interests": "chess"})) is later


def test_only_what_was_read_at_the_latest_position_is_current() -> None:
    known, pulse = UserCache(), Pulse()
    known.follow(Changes(Position(0, 5), pulse, None))
    known.put("early", UserState(), Position(0, 4))
    known.put("late", UserState(), Position(0, 5))
    known.put("unsure", UserState())
    assert set(known.current(["early", "late", "unsure", "unknown"])) == {"late"}
    known.follow(Changes(Position(0, 4), pulse, frozenset()))
    assert known.position == Position(0, 5), "another thread that read earlier comes late"
    known.follow(Changes(Position(0, 6), pulse, frozenset({"late", "unknown"})))
    assert not known.current(["late"])
    known.put("late", UserState(), Position(0, 6))
    known.follow(Changes(Position(1, 6), pulse, None))
    assert not known.current(["late"])
