"""The split that suits the data."""

from __future__ import annotations

import numpy as np

from recserve.evaluation.checks.leaks import check_leaks
from recserve.evaluation.splits import BY_USER, TEMPORAL
from recserve.training.selection.validation import validation_split
from tests.support.interactions import made_up_data


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
