"""What times say of the order of events, and the split that suits it."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.evaluation.checks.leaks import check_leaks
from recserve.evaluation.splits import BY_USER, TEMPORAL
from recserve.testing import example_dataset
from recserve.training.selection.event_order import EventOrder, validation_split
from tests.support.interactions import Times, made_up_data


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("random", EventOrder.NONE),
        ("equal", EventOrder.NONE),
        ("file", EventOrder.NONE),
        ("drifting", EventOrder.TIME),
    ],
)
def test_times_that_say_nothing_are_told_from_those_that_do(times: Times, expected: EventOrder) -> None:
    for seed in range(3):
        assert EventOrder.of(made_up_data(times=times, seed=seed)) is expected


def test_a_part_of_the_events_says_what_all_of_them_say() -> None:
    for times in ("random", "file", "drifting"):
        data = made_up_data(times=times)
        half = data.where(np.random.default_rng(0).random(len(data)) < 0.5)
        assert EventOrder.of(half) is EventOrder.of(data)


def test_users_one_after_the_other_have_an_order_of_their_own_where_items_come_early_or_late() -> None:
    data = made_up_data(times="file")
    early = data.items % 2 == 0
    # Within each user even items first, three times of four.
    rng = np.random.default_rng(0)
    place = np.where(rng.random(len(data)) < 0.75, ~early, rng.random(len(data)) < 0.5) + rng.random(
        len(data)
    )
    order = np.lexsort((place, data.users))
    data.items = data.items[order]
    assert EventOrder.of(data) is EventOrder.USER
    # A list sorted by item is no order of events.
    data.items = data.items[np.lexsort((data.items, data.users))]
    assert EventOrder.of(data) is EventOrder.NONE


def test_little_data_is_believed() -> None:
    assert EventOrder.of(example_dataset()) is EventOrder.TIME


def test_the_split_suits_the_data() -> None:
    assert validation_split(made_up_data(times="drifting"), 0.1).name == TEMPORAL
    data = made_up_data(times="random")
    split = validation_split(data, 0.1, users=150, seed=1)
    check_leaks(split)
    assert split.name == BY_USER
    assert split.n_users == len(split) == 150
    assert np.diff(split.relevant.offsets).tolist() == [3] * 150
    assert len(split.training) == len(data) - 450
    again = validation_split(data, 0.1, users=150, seed=1)
    assert np.array_equal(split.relevant.values, again.relevant.values)
    other = validation_split(data, 0.1, users=150, seed=2)
    assert not np.array_equal(split.rows, other.rows)
