"""What times say of the order of events."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recserve import Dataset, EventOrder
from recserve.data.events.sequence import EventColumns
from recserve.testing import example_dataset
from tests.support.interactions import Times, made_up_data
from tests.support.wandering import drifting


def on_its_own(data: Dataset, keep: NDArray[np.bool_]) -> Dataset:
    """Some of the events as a data set that knows nothing of the others."""
    columns = (data.users, data.items, data.events, data.weights, data.timestamps)
    return Dataset(data.catalogue, data.user_ids, *(column[keep] for column in columns), data.event_types)


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
        assert made_up_data(times=times, seed=seed).event_order is expected


def test_a_part_of_the_events_says_what_all_of_them_say() -> None:
    for times in ("random", "file", "drifting"):
        data = made_up_data(times=times)
        half = np.random.default_rng(0).random(len(data)) < 0.5
        assert on_its_own(data, half).event_order is data.event_order


def test_it_is_found_out_once_and_handed_to_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = made_up_data(), []

    def counted(events: EventColumns) -> EventOrder:
        asked.append(len(events.users))
        return EventOrder.USER

    monkeypatch.setattr(EventOrder, "of", counted)
    window = data.before(data.quantile_time(0.5)).positive().with_catalogue(data.catalogue)
    assert window.event_order is data.event_order is EventOrder.USER
    assert asked == [len(data)]


def test_users_one_after_the_other_have_an_order_of_their_own_where_items_come_early_or_late() -> None:
    data = made_up_data(times="file")
    early = data.items % 2 == 0
    # Within each user even items first, three times of four.
    rng = np.random.default_rng(0)
    place = np.where(rng.random(len(data)) < 0.75, ~early, rng.random(len(data)) < 0.5) + rng.random(
        len(data)
    )
    data.items = data.items[np.lexsort((place, data.users))]
    assert data.event_order is EventOrder.USER
    # A list sorted by item is no order of events.
    listed = made_up_data(times="file")
    listed.items = listed.items[np.lexsort((listed.items, listed.users))]
    assert listed.event_order is EventOrder.NONE


def test_little_data_is_believed() -> None:
    assert example_dataset().event_order is EventOrder.TIME


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("moments", EventOrder.TIME),
        ("equal", EventOrder.NONE),
        ("day", EventOrder.NONE),
        ("shuffled", EventOrder.NONE),
        ("sorted", EventOrder.NONE),
    ],
)
def test_times_order_events_where_behaviour_follows_them(seed: int, times: str, expected: EventOrder) -> None:
    """Users and items do not differ in their times here; what a user does next does."""
    assert drifting(seed, times=times).event_order is expected


def test_lists_sorted_by_number_are_recognised_though_texts_sort_otherwise() -> None:
    # Steps through a history go to the next number; as texts, "10" comes before "9".
    data = drifting(0, times="sorted")
    data.catalogue = type(data.catalogue)([str(row + 5) for row in range(data.n_items)])
    assert data.event_order is EventOrder.NONE


def test_nothing_has_no_order() -> None:
    data = drifting(0)
    assert on_its_own(data, np.zeros(len(data), dtype=np.bool_)).event_order is EventOrder.NONE


def test_new_items_make_times_matter_though_nobody_has_a_taste() -> None:
    # Each moment has its own 30 items, from which everybody picks at random.
    data = drifting(0, times="shuffled")
    generator = np.random.default_rng(7)
    span = int(data.timestamps[-1]) + 1
    fresh = data.timestamps * (data.n_items - 30) // span + generator.integers(0, 30, len(data))
    data.items = fresh.astype(np.int32)
    assert data.event_order is EventOrder.TIME
