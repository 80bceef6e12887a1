"""Histories as the store hands them out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recserve import Event
from recserve.store.records import History

numbered_events = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 5)), unique_by=lambda pair: pair[0], max_size=12
).map(
    lambda pairs: sorted(
        ((number, Event("u", f"i{number}", "view", timestamp=time)) for number, time in pairs),
        key=lambda pair: (pair[1].timestamp, pair[0]),
    )
)


@given(numbered_events, st.integers(1, 15), st.data())
def test_a_history_that_grew_is_the_one_read_anew(
    numbered: list[tuple[int, Event]], limit: int, data: st.DataObject
) -> None:
    """Whichever events came first, and however they arrived."""
    late = data.draw(st.sets(st.sampled_from(range(len(numbered))))) if numbered else set()
    early = [pair for place, pair in enumerate(numbered) if place not in late]
    new = [pair for place, pair in enumerate(numbered) if place in late]
    assert History.of(early).grown(new, len(numbered) or 1) == History.of(numbered)
    assert History.of(early).grown(new, limit) == History.of(numbered[-limit:])


@given(numbered_events, numbered_events)
def test_histories_have_equal_marks_only_if_they_are_equal(
    first: list[tuple[int, Event]], second: list[tuple[int, Event]]
) -> None:
    """Of histories that a user has one after the other: events are added, and never come back."""
    one = History.of(first)
    other = one.grown([pair for pair in second if pair[0] > one.newest], 100)
    assert (one.mark == other.mark) == (one.numbers == other.numbers)


def test_a_history_without_events() -> None:
    empty = History.of([])
    assert empty == History()
    assert (empty.newest, empty.mark) == (0, None)
