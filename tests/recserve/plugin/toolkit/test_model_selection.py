"""Held-out events and the search along a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import Catalogue, Dataset, Vocabulary, climb, hold_out_newest
from recserve.plugin.toolkit.model_selection import HELD_OUT_SHARE, MIN_USERS


def dataset(counts: list[int]) -> Dataset:
    """Users with so many events each, in an order of their own, times in the order of the events."""
    users = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    n = len(users)
    return Dataset(
        Catalogue(["a", "b", "c"]),
        Vocabulary(f"u{row}" for row in range(len(counts))),
        users,
        (np.arange(n) % 3).astype(np.int32),
        np.zeros(n, dtype=np.int16),
        np.ones(n, dtype=np.float32),
        np.arange(n, dtype=np.int64),
        ("view",),
    )


@given(st.lists(st.integers(0, 30), min_size=MIN_USERS, max_size=60))
@settings(max_examples=50)
def test_the_newest_events_of_each_tested_user_are_held_out(counts: list[int]) -> None:
    data = dataset(counts)
    parts = hold_out_newest(data, seed=1)
    able = [user for user, count in enumerate(counts) if count >= 3]
    if len(able) < MIN_USERS:
        assert parts is None
        return
    assert parts is not None
    assert parts.users.tolist() == able
    for user, count in enumerate(counts):
        late = parts.late[data.users == user]
        expected = max(1, int(HELD_OUT_SHARE * count)) if count >= 3 else 0
        assert int(late.sum()) == expected
        assert late.tolist() == sorted(late.tolist()), "an older event is held out before a newer one"
        assert parts.kept[user] == count - expected


def test_of_many_users_the_seed_chooses_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recserve.plugin.toolkit.model_selection.MAX_USERS", 40)
    data = dataset([4] * 200)
    first, again, other = (hold_out_newest(data, seed) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first.users) == 40
    np.testing.assert_array_equal(first.users, again.users)
    assert first.users.tolist() != other.users.tolist()
    assert set(data.users[first.late].tolist()) == set(first.users.tolist())


@given(st.data(), st.integers(2, 9))
def test_the_best_of_a_single_peak_is_found_from_anywhere(draw: st.DataObject, width: int) -> None:
    peak, start = draw.draw(st.integers(0, width - 1)), draw.draw(st.integers(0, width - 1))
    grid = [2.0**step for step in range(width)]
    asked: list[float] = []

    def score(value: float) -> float:
        asked.append(value)
        return float(width - abs(grid.index(value) - peak))

    best, tried = climb(grid, start, score)
    assert best == grid[peak]
    assert list(tried) == sorted(asked)
    assert len(asked) == len(set(asked)), "a value is scored twice"
    assert tried[best] == max(tried.values())
