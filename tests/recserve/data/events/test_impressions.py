from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recserve import Histories, Impressions, Queries

USERS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=8), min_size=1, max_size=4
)


def impressions(users: list[list[tuple[int, int]]]) -> Impressions:
    return Impressions.of(
        [
            (np.array([row for row, _ in shown], np.int32), np.array([at for _, at in shown], np.int64))
            for shown in users
        ]
    )


@given(USERS)
def test_items_are_counted_for_each_user(users: list[list[tuple[int, int]]]) -> None:
    shown = impressions(users)
    items = np.tile(np.array([3, -1, 0, 7, 5], np.int32), (len(users), 1))
    counts = shown.of_items(items)
    assert counts.tolist() == [
        [Counter(row for row, _ in user)[item] for item in items[0].tolist()] for user in users
    ]
    assert (shown.of_items(items, np.full(len(shown.items), 0.5)) == counts / 2).all()
    middle = shown.part(0, 1)
    assert (middle.of_items(items[:1]) == counts[:1]).all()
    kept = shown.where(shown.timestamps > 4)
    assert len(kept) == len(users)
    assert kept.items.tolist() == [row for user in users for row, at in user if at > 4]


@given(USERS, st.data())
def test_impressions_before_an_event_are_answered(
    users: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    event = st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from([-1.0, 1.0]))
    done = [data.draw(st.lists(event, max_size=4)) for _ in users]
    flat = [event for events in done for event in events]
    histories = Histories(
        np.cumsum([0, *map(len, done)]),
        np.array([row for row, _, _ in flat], np.int32),
        np.zeros(len(flat), np.int16),
        np.array([weight for _, _, weight in flat], np.float32),
        np.array([at for _, at, _ in flat], np.int64),
    )
    queries = Queries.of(histories, np.full(len(users), 10))
    assert queries.unanswered is None
    left = replace(queries, impressions=impressions(users)).unanswered
    assert left is not None
    expected = [
        (user, row, at)
        for user, shown in enumerate(users)
        for row, at in shown
        if not any(item == row and moment >= at and weight > 0 for item, moment, weight in done[user])
    ]
    found = zip(left.owners().tolist(), left.items.tolist(), left.timestamps.tolist(), strict=True)
    assert list(found) == expected
