"""Held-out events and the search along a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import Catalogue, Dataset, Validation, Vocabulary, climb, hold_out, narrow
from recserve.plugin.toolkit.model_selection import HELD_OUT_SHARE, MIN_USERS
from tests.support.wandering import drifting


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
def test_some_events_of_each_tested_user_are_held_out(counts: list[int]) -> None:
    data = dataset(counts)
    parts = hold_out(data, seed=1)
    able = [user for user, count in enumerate(counts) if count >= 3]
    if len(able) < MIN_USERS:
        assert parts is None
        return
    assert parts is not None
    assert parts.users.tolist() == able
    for user, count in enumerate(counts):
        late = parts.chosen[data.users == user]
        expected = max(1, int(HELD_OUT_SHARE * count)) if count >= 3 else 0
        assert int(late.sum()) == expected
        if parts.newest:
            assert late.tolist() == sorted(late.tolist()), "an older event is held out before a newer one"
        assert parts.kept[user] == count - expected


def test_of_many_users_the_seed_chooses_some() -> None:
    data = dataset([4] * 200)
    first, again, other = (hold_out(data, seed, max_users=40) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first.users) == 40
    np.testing.assert_array_equal(first.users, again.users)
    assert first.users.tolist() != other.users.tolist()
    assert set(data.users[first.chosen].tolist()) == set(first.users.tolist())


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


def test_newest_events_are_held_out_where_tastes_move_and_random_ones_where_times_say_nothing() -> None:
    data = drifting(seed=0)
    parts = hold_out(data, seed=1)
    assert parts is not None
    assert parts.newest
    for user in parts.users.tolist():
        chosen = parts.chosen[data.users == user]
        assert chosen.tolist() == sorted(chosen.tolist())

    timeless = drifting(seed=0, times="equal")
    drawn, again, other = (hold_out(timeless, seed) for seed in (1, 1, 2))
    assert drawn is not None
    assert again is not None
    assert other is not None
    assert not drawn.newest
    np.testing.assert_array_equal(drawn.chosen, again.chosen)
    assert (drawn.chosen != other.chosen).any()
    place = np.flatnonzero(drawn.chosen) / len(timeless)
    assert 0.4 < place.mean() < 0.6, "as many early as late events"


@pytest.mark.parametrize("times", ["moments", "equal"])
def test_a_validation_split_loses_no_event(times: str) -> None:
    data = drifting(seed=3, times=times)
    validation = Validation.of(data, seed=0, max_users=50)
    assert validation is not None
    assert validation.split == ("newest" if times == "moments" else "random")
    assert len(validation.histories) == len(validation.targets) == len(validation.whole) == 50
    assert len(validation.training) + len(validation.targets.items) == len(data)
    np.testing.assert_array_equal(
        validation.histories.lengths + validation.targets.lengths, validation.whole.lengths
    )


@given(st.data())
def test_a_single_peak_on_several_grids_is_found_within_the_tries(draw: st.DataObject) -> None:
    sizes = (9, 7, 3)
    peak = tuple(draw.draw(st.integers(0, size - 1)) for size in sizes)
    asked: list[tuple[int, ...]] = []

    def score(place: tuple[int, ...]) -> float:
        asked.append(place)
        return -float(sum(abs(here - there) for here, there in zip(place, peak, strict=True)))

    best, tried = narrow(sizes, (4, 3, 1), (4, 2, 1), score, tries=200)
    assert best == peak
    assert list(tried) == asked
    assert len(asked) == len(set(asked)), "a place is scored twice"

    asked.clear()
    best, tried = narrow(sizes, (4, 3, 1), (4, 2, 1), score, tries=5)
    assert len(asked) <= 5
    assert tried[best] == max(tried.values())


def test_a_grid_without_a_stride_is_left_alone() -> None:
    best, tried = narrow((5, 5), (2, 2), (0, 2), lambda place: float(sum(place)), tries=100)
    assert best == (2, 4)
    assert {place[0] for place in tried} == {2}
