"""nDCG, against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recserve import BoolArray, FloatArray, ndcg, ndcg_of

hits_arrays = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=25))


def by_formula(hits: list[bool], relevant: int, k: int) -> float:
    """The definition, one query at a time."""
    gained = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits[:k], start=1) if hit)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, relevant) + 1))
    return gained / best if relevant else 0.0


@given(hits_arrays, st.integers(1, 30), st.integers(0, 40))
def test_ndcg_is_what_the_formula_says(hits: BoolArray, k: int, missed: int) -> None:
    relevant = hits.sum(axis=1) + missed
    expected = [by_formula(row.tolist(), int(count), k) for row, count in zip(hits, relevant, strict=True)]
    values = ndcg(hits, relevant, k)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert (values <= 1 + 1e-12).all()


@given(hits_arrays, st.integers(1, 10), st.integers(0, 10))
def test_ranks_behind_the_cut_change_no_bit(hits: BoolArray, k: int, more: int) -> None:
    relevant = np.full(len(hits), hits.shape[1] + more)
    longer = np.concatenate([hits[:, :k], np.ones((len(hits), more), dtype=np.bool_)], axis=1)
    if hits.shape[1] >= k:
        np.testing.assert_array_equal(ndcg(hits, relevant, k), ndcg(longer, relevant, k))


def test_a_single_relevant_item_gains_by_its_rank() -> None:
    """To the bit: validation by the rank of a held-out item shows the same figures either way."""
    ranks = np.arange(1, 31)
    values = ndcg(ranks[:, None] == np.arange(1, 21), np.ones_like(ranks), 20)
    np.testing.assert_array_equal(values, np.where(ranks <= 20, 1.0 / np.log2(ranks + 1.0), 0.0))


def test_scores_rank_items_and_minus_infinity_is_no_answer() -> None:
    scores: FloatArray = np.array([[3, 2, 1, 0], [0, 1, 2, -np.inf]], dtype=np.float32)
    relevant = np.array([[False, True, False, False], [False, False, False, True]])
    assert ndcg_of(scores, relevant, 3) == pytest.approx([1 / math.log2(3), 0.0])
    assert ndcg_of(scores, np.zeros_like(relevant), 3).tolist() == [0.0, 0.0]


def test_equal_scores_rank_by_column() -> None:
    relevant = np.array([[False, False, True]])
    assert ndcg_of(np.zeros((1, 3), dtype=np.float32), relevant, 5) == pytest.approx([0.5])
