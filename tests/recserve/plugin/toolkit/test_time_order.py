"""Whether times say anything about behaviour."""

from __future__ import annotations

import numpy as np
import pytest

from recserve import time_order_matters
from recserve.plugin.toolkit.time_order import MIN_USERS
from tests.support.wandering import drifting


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("times", "expected"),
    [("moments", True), ("equal", False), ("day", False), ("shuffled", False), ("sorted", False)],
)
def test_times_say_something_only_where_behaviour_follows_them(seed: int, times: str, expected: bool) -> None:
    assert time_order_matters(drifting(seed, times=times), seed) is expected


def test_lists_sorted_by_number_are_recognised_though_texts_sort_otherwise() -> None:
    # Steps through a history go to the next number; as texts, "10" comes before "9".
    data = drifting(0, times="sorted")
    data = data.with_catalogue(type(data.catalogue)([str(row + 5) for row in range(data.n_items)]))
    assert not time_order_matters(data, 0)


def test_few_users_tell_nothing() -> None:
    assert not time_order_matters(drifting(0, n_users=MIN_USERS - 1), 0)
    nothing = drifting(0)
    assert not time_order_matters(nothing.where(np.zeros(len(nothing), dtype=np.bool_)), 0)


def test_new_items_make_times_matter_though_nobody_has_a_taste() -> None:
    # Each moment has its own 30 items, from which everybody picks at random.
    data = drifting(0, times="shuffled")
    generator = np.random.default_rng(7)
    span = int(data.timestamps[-1]) + 1
    fresh = (data.timestamps * (data.n_items - 30) // span + generator.integers(0, 30, len(data))).astype(
        np.int32
    )
    data.items = fresh
    assert time_order_matters(data, 0)
