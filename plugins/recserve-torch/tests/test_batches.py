"""Sequences of similar length share a batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from recserve_torch import length_groups


@given(lengths=st.lists(st.integers(1, 50), max_size=60), budget=st.integers(1, 200))
def test_each_is_in_one_batch_that_keeps_to_the_budget(lengths: list[int], budget: int) -> None:
    found = np.array(lengths, dtype=np.int64)
    order = np.argsort(found, kind="stable")
    groups = length_groups(order, found, budget)
    assert np.concatenate([*reversed(groups), order[:0]]).tolist() == order.tolist()
    for group in groups:
        assert len(group) == 1 or len(group) * found[group].max() <= budget
