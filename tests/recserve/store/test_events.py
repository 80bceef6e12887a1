from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Event, InvalidRequestError
from recserve.errors import StoreError
from recserve.store import Counts, Store

STRANGE = [
    'o\'neill "the" one',
    "a/b\\c?d=e&f%20",
    "🎬 фильм 电影",
    "tab\tand\nnewline",
    " ",
    "'; DROP TABLE events; --",
    "x" * 10_000,
    "x" * 9_999 + "y",
    "é" * 10_000,
]


def test_history_is_oldest_first_and_keeps_the_newest(store: Store) -> None:
    events = [Event("u", f"i{n}", "view", timestamp=1000 - n, event_id=str(n)) for n in range(10)]
    assert store.add_events(events) == 10
    assert store.histories(["u"], 100) == {"u": events[::-1]}
    assert store.histories(["u"], 3) == {"u": events[2::-1]}
    assert store.histories(["u"], 0) == {"u": []}


def test_events_of_equal_time_keep_the_order_of_storing(store: Store) -> None:
    events = [Event("u", f"i{n}", "view", timestamp=7, event_id=f"{n * 7919 % 100}") for n in range(50)]
    store.add_events(events[:20])
    store.add_events(events[20:])
    assert store.histories(["u"], 100)["u"] == events
    assert store.histories(["u"], 5)["u"] == events[-5:]


def test_events_with_some_items(store: Store) -> None:
    events = [
        Event(user, f"i{n % 4}", "view", 1000 - n, event_id=f"{user}{n}") for user in "uv" for n in range(9)
    ]
    store.add_events(events)
    found = store.events_with("u", ["i1", "i3", "i1", "nothing"])
    assert [(event.item_id, event.timestamp) for event in found] == [
        ("i3", 993),
        ("i1", 995),
        ("i3", 997),
        ("i1", 999),
    ]
    assert {event.user_id for event in found} == {"u"}
    assert store.events_with("u", []) == store.events_with("nobody", ["i1"]) == []


def test_one_call_answers_for_many_users(store: Store) -> None:
    users = [f"user {n}" for n in range(200)]
    store.add_events([Event(user, f"item {n}", "rating", n, n / 2) for user in users[:150] for n in range(3)])
    found = store.histories(users, 2)
    assert list(found) == users
    assert {len(found[user]) for user in users[:150]} == {2}
    assert all(found[user] == [] for user in users[150:])
    assert [event.value for event in found["user 7"]] == [0.5, 1.0]
    assert store.histories([], 5) == {}
    assert list(store.histories(["nobody", "nobody"], 5)) == ["nobody"]


def test_storing_an_event_id_twice_stores_one_event(store: Store) -> None:
    first = Event("u", "i", "rating", 1, 5.0, event_id="once", recommendation_id="r")
    assert store.add_events([first, first]) == 1
    assert store.add_events([first]) == 0
    assert store.add_events([first, Event("u", "j", "view", 3, event_id="twice")]) == 1
    assert store.counts() == Counts(users=1, items=0, events=2)


def test_events_without_an_id_are_all_kept_and_get_ids(store: Store) -> None:
    assert store.add_events([Event("u", "i", "view", 1)] * 3) == 3
    ids = {event.event_id for event in store.histories(["u"], 9)["u"]}
    assert len(ids) == 3
    assert all(ids)


def test_no_events_is_no_work(store: Store) -> None:
    assert store.add_events([]) == 0
    assert store.counts() == Counts(0, 0, 0)


def test_ten_thousand_events_in_one_call(store: Store) -> None:
    events = [Event(f"u{n % 97}", f"i{n}", "view", n, event_id=f"e{n}") for n in range(10_000)]
    assert store.add_events(events) == 10_000
    assert store.add_events(events) == 0
    assert store.counts() == Counts(users=97, items=0, events=10_000)
    assert [event.timestamp for event in store.histories(["u0"], 3)["u0"]] == [9797, 9894, 9991]


def test_strange_ids_come_back_as_they_were(store: Store) -> None:
    events = [
        Event(user, item, "view", 10 * n + m, event_id=user + item)
        for n, user in enumerate(STRANGE)
        for m, item in enumerate(STRANGE)
    ]
    assert store.add_events(events) == len(events)
    assert store.add_events(events) == 0
    assert store.histories(STRANGE, 99) == {
        user: [event for event in events if event.user_id == user] for user in STRANGE
    }
    assert store.snapshot().events.to_pylist() == [
        {
            "user_id": event.user_id,
            "item_id": event.item_id,
            "event": event.event,
            "value": None,
            "timestamp": event.timestamp,
        }
        for event in events
    ]


def test_long_ids_that_differ_at_the_end_are_different(store: Store) -> None:
    one, two = "x" * 9_999 + "1", "x" * 9_999 + "2"
    store.add_events([Event(one, "i", "view", 1, event_id=one), Event(two, "i", "view", 2, event_id=two)])
    assert {user: len(found) for user, found in store.histories([one, two], 9).items()} == {one: 1, two: 1}


def test_users_whose_hashes_collide_are_kept_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("queries.rows", "schema"):
        monkeypatch.setattr(f"recserve.store.sql.{module}.hash_of", lambda external: 7)
    events = [Event(user, "i", "view", n, event_id=f"{user}{n}") for n in range(3) for user in "abc"]
    store.add_events(events)
    found = store.histories(["a", "c", "d"], 100)
    assert found == {
        "a": [event for event in events if event.user_id == "a"],
        "c": [event for event in events if event.user_id == "c"],
        "d": [],
    }


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (Event("", "i", "view", 1), "user_id"),
        (Event("u", "", "view", 1), "item_id"),
        (Event("u", "i", "", 1), "event"),
        (Event("u\x00", "i", "view", 1), "user_id"),
        (Event("u", "\x00", "view", 1), "item_id"),
        (Event("u", "i", "view", 1, event_id="\x00"), "event_id"),
        (Event("u", "\ud83d", "view", 1), "item_id"),
        (Event("u", "i", "rating", 1, float("nan")), "value"),
        (Event("u", "i", "rating", 1, float("-inf")), "value"),
        (Event("u", "i", "view", 2**63), "timestamp"),
        (Event(7, "i", "view", 1), "user_id"),  # type: ignore[arg-type]  # what a caller without types does
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_stored(store: Store, bad: Event, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        store.add_events([Event("u", "i", "view", 1), bad])
    assert refusal.value.field == f"events[1].{field}"
    assert "\n" not in refusal.value.message
    assert store.counts().events == 0


def test_ids_that_cannot_exist_are_refused_when_asked_for(store: Store) -> None:
    for ask in (lambda: store.histories(["\x00"], 5), lambda: store.items(["a\x00"])):
        with pytest.raises(InvalidRequestError, match="NUL"):
            ask()


def test_everything_is_there_after_reopening(open_again: Callable[[], Store]) -> None:
    event = Event("u", "i", "rating", 5, 3.5, "e")
    with open_again() as first:
        first.add_events([event])
    assert open_again().histories(["u"], 1) == {"u": [event]}


def test_a_closed_store_says_so(open_again: Callable[[], Store]) -> None:
    store = open_again()
    store.close()
    store.close()
    for use in (lambda: store.add_events([Event("u", "i", "view", 1)]), store.counts, store.flush):
        with pytest.raises(StoreError, match="closed"):
            use()


_id = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
_example = count()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(
        st.builds(
            Event,
            user_id=_id,
            item_id=_id,
            event=_id,
            timestamp=st.integers(0, 5) | st.integers(-(2**63), 2**63 - 1),
            value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            event_id=_id,
        ),
        max_size=20,
    ),
    limit=st.integers(1, 10),
)
def test_round_trip(store: Store, drawn: list[Event], limit: int) -> None:
    mark = f"{next(_example)}:"  # the store is shared by all examples
    events = [
        Event(mark + e.user_id, e.item_id, e.event, e.timestamp, e.value, mark + e.event_id) for e in drawn
    ]
    unique = {event.event_id: event for event in reversed(events)}  # the first of equals is kept
    added = store.import_events(events)
    assert added.stored == len(unique)
    assert [one.code for one in added.refused] == ["event_id_conflict"] * sum(
        event != unique[event.event_id] for event in events
    )
    assert store.add_events(list(unique.values())) == 0
    kept = [event for event in events if unique[event.event_id] is event]
    expected = {
        user: sorted((e for e in kept if e.user_id == user), key=lambda e: e.timestamp)[-limit:]
        for user in {event.user_id for event in events}
    }
    assert store.histories(list(expected), limit) == expected
