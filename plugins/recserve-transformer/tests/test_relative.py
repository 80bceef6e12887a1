"""Classes of distances in events and in time."""

from __future__ import annotations

import numpy as np
from recserve_transformer.relative import (
    DISTANCE_CLASSES,
    TIME_CLASSES,
    distance_classes,
    time_classes,
    visible,
)


def test_near_distances_have_classes_of_their_own_and_far_ones_share_them() -> None:
    classes = distance_classes(np.array([[2000]]), 2001)[0, 0][::-1]
    assert classes[:17].tolist() == list(range(17))
    assert (np.diff(classes) >= 0).all()
    assert (np.diff(classes) <= 1).all()
    assert classes.max() < DISTANCE_CLASSES
    assert classes[-1] == classes[1024]


def test_times_are_told_apart_by_doublings_of_seconds() -> None:
    times = np.array([[0, 500, 3_000, 2_000_000_000_000]])
    classes = time_classes(times, np.array([[3, 2]]))
    assert classes.shape == (1, 2, 4)
    assert classes[0, 0, 3] == classes[0, 1, 2] == 1
    assert classes[0, 1].tolist() == [3, 2, 1, 1]
    assert classes.max() < TIME_CLASSES


def test_each_place_sees_itself_and_what_was_before() -> None:
    assert visible(np.array([[0, 2]]), 3).tolist() == [[[True, False, False], [True, True, True]]]
