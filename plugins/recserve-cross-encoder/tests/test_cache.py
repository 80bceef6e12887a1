"""The bounded cache of scores."""

from __future__ import annotations

import numpy as np
from recserve_cross_encoder.cache import ScoreCache

LIKED = np.array([3, 1, -1], dtype=np.int32)


def keys(*items: int) -> list[bytes]:
    return ScoreCache.keys(LIKED, np.array(items, dtype=np.int32))


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float32)


def test_scores_are_found_by_history_and_item():
    cache = ScoreCache(10)
    cache.put(keys(1, 2), values(0.5, -1.5))
    np.testing.assert_array_equal(cache.get(keys(2, 7, 1)), values(-1.5, np.nan, 0.5))
    other = ScoreCache.keys(np.array([1, 3, -1], dtype=np.int32), np.array([1], dtype=np.int32))
    assert np.isnan(cache.get(other)).all()


def test_the_least_recently_used_go_first():
    cache = ScoreCache(2)
    cache.put(keys(1, 2), values(1, 2))
    cache.get(keys(1))
    cache.put(keys(3), values(3))
    assert len(cache) == 2
    np.testing.assert_array_equal(cache.get(keys(1, 2, 3)), values(1, np.nan, 3))


def test_size_0_keeps_nothing():
    cache = ScoreCache(0)
    cache.put(keys(1), values(1))
    assert len(cache) == 0
