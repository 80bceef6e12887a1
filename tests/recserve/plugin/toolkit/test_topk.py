"""Masking and top-k selection."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recserve import Histories, Queries, Ragged, mask_scores, top_k
from recserve.data.arrays import FloatArray

scores_arrays = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 1.0, 7.0]),
)


@given(scores_arrays, st.integers(1, 15))
def test_top_k_equals_a_stable_full_sort(scores: FloatArray, k: int) -> None:
    items, best = top_k(scores, k)
    width = min(k, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
    expected = np.take_along_axis(scores, order, axis=1)
    assert items.shape == best.shape == (len(scores), width)
    assert items.dtype == np.int32
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(items, np.where(np.isneginf(expected), -1, order))


def test_many_ties_at_the_cut_go_to_the_lower_item() -> None:
    # argpartition alone may pick any of the tied columns; the result must still be reproducible.
    items, _ = top_k(np.zeros((1, 1000), dtype=np.float32), 5)
    assert set(items[0]) <= set(range(1000))
    again, _ = top_k(np.zeros((1, 1000), dtype=np.float32), 5)
    np.testing.assert_array_equal(items, again)
    np.testing.assert_array_equal(items[0], np.arange(5))


wide_rows = st.builds(
    lambda n, seed, levels, hole: _rough(n, seed, levels, hole),
    st.integers(4096, 9000),
    st.integers(0, 1000),
    st.sampled_from([1, 2, 50, 10_000, 10_000_000]),
    st.sampled_from([0.0, 0.1, 0.9, 0.999, 1.0]),
)


def _rough(n: int, seed: int, levels: int, hole: float) -> FloatArray:
    """Two rows of few or many distinct scores; a share of them must not be returned."""
    generator = np.random.default_rng(seed)
    scores = (generator.integers(-levels, levels + 1, (2, n)) / 3).astype(np.float32)
    scores[generator.random((2, n)) < hole] = -np.inf
    return scores


@given(wide_rows, st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_top_k_of_wide_rows_equals_a_stable_full_sort(scores: FloatArray, k: int) -> None:
    items, best = top_k(scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(items, np.where(np.isneginf(expected), -1, order))
    assert items.dtype == np.int32
    assert best.dtype == np.float32


def test_scores_that_are_no_numbers_come_last() -> None:
    scores = np.arange(5000, dtype=np.float32)[None, :].copy()
    scores[0, ::2] = np.nan
    items, _ = top_k(scores, 50)
    np.testing.assert_array_equal(items[0], np.arange(4999, 4899, -2))


def test_mask_applies_filters_exclusions_and_anchors() -> None:
    queries = Queries.of(
        Histories.empty(3),
        np.zeros(3, dtype=np.int64),
        anchors=np.array([4, -1, 9], dtype=np.int32),
        excluded=Ragged.of([[0, 1], [], [-1, 2, 50]]),
    ).with_allowed((None, np.array([True, False, True, False, True]), None))
    masked = mask_scores(np.ones((3, 5), dtype=np.float32), queries)
    finite = [np.flatnonzero(np.isfinite(row)).tolist() for row in masked]
    # Rows beyond the catalogue (live items, anchors the bundle does not know) must not wrap around.
    assert finite == [[2, 3], [0, 2, 4], [0, 1, 3, 4]]
