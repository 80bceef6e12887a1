"""What all rerankers share: relevance, and orders that lose no candidate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recserve_rules.rerankers.ordering import (
    by_utility,
    complete,
    pick_greedily,
    relevance,
    spaced_scores,
    standardised,
    unchanged,
)

from recserve import Candidates, FloatArray

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
SCORES = st.sampled_from([-np.inf, -3.0, 0.0, 0.5, 2.0, 1e6, np.inf, np.nan])
lists = SHAPES.flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.float32, shape, elements=SCORES))
)


def candidates(real: np.ndarray, scores: FloatArray) -> Candidates:
    items = np.where(real, np.arange(real.shape[1]), -1).astype(np.int32)
    none = np.empty((*real.shape, 0), dtype=np.float32)
    return Candidates(items, scores, (), none, np.full(real.shape, -1, dtype=np.int32))


@given(lists, st.integers(1, 8), st.sampled_from(["score", "rank"]))
def test_relevance_is_between_0_and_1_and_never_rises(drawn, width: int, by) -> None:
    real, scores = drawn
    values = relevance(candidates(real, scores), width, by)
    assert values.shape == real[:, :width].shape
    assert ((values >= 0) & (values <= 1)).all()
    assert (values[~real[:, :width]] == 0).all()
    for row, there in zip(values, real[:, :width], strict=True):
        assert (np.diff(row[there]) <= 0).all()
        if there.any():
            assert row[there][0] == 1.0


@given(lists)
def test_scores_of_a_list_are_its_own_in_falling_order(drawn) -> None:
    real, scores = drawn
    values = spaced_scores(candidates(real, scores))
    assert np.isfinite(values).all()
    assert (values[~real] == 0).all()
    for row, there, given_scores in zip(values, real, scores, strict=True):
        assert (np.diff(row[there]) <= 0).all()
        finite = given_scores[there & np.isfinite(given_scores)].astype(np.float64)
        assert set(row[there]) <= {*finite, 0.0} if len(finite) else (row[there] == 0).all()


@given(lists)
def test_standardised_scores_have_mean_0_and_deviation_1(drawn) -> None:
    real, scores = drawn
    values = standardised(candidates(real, scores))
    for row, there in zip(values, real, strict=True):
        if there.any():
            assert row[there].mean() == pytest.approx(0, abs=1e-6)
            assert row[there].std() == pytest.approx(1) or (row[there] == 0).all()
        assert (row[~there] == 0).all()


def test_noise_is_not_stretched_to_a_difference() -> None:
    scores = np.array([[1e6, 1e6 * (1 + 1e-12)]], dtype=np.float64)
    assert (standardised(candidates(np.ones((1, 2), bool), scores)) == 0).all()


@given(hnp.arrays(np.bool_, SHAPES), st.data())
def test_every_order_is_a_permutation_of_the_candidates(real, data) -> None:
    chosen = np.full(real.shape, -1, dtype=np.int32)
    for row, there in enumerate(real):
        places = data.draw(st.permutations(np.flatnonzero(there).tolist()))
        some = places[: data.draw(st.integers(0, len(places)))]
        chosen[row, : len(some)] = some
    utility = data.draw(hnp.arrays(np.float64, real.shape, elements=st.sampled_from([0.0, 1.0, 2.0])))
    for order in (complete(chosen, real), unchanged(real), by_utility(utility, real)):
        for row, there in zip(order, real, strict=True):
            count = int(there.sum())
            assert sorted(row[:count]) == np.flatnonzero(there).tolist()
            assert (row[count:] == -1).all()
    for row, some in zip(complete(chosen, real), chosen, strict=True):
        picked = some[some >= 0]
        assert row[: len(picked)].tolist() == picked.tolist()
        rest = row[len(picked) :]
        assert rest[rest >= 0].tolist() == sorted(rest[rest >= 0].tolist())


def test_greedy_picking_takes_the_best_that_is_left() -> None:
    """Values change with what was picked: here, neighbours of a picked place lose their worth."""
    worth = np.array([[3.0, 2.9, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    real = np.array([[True, True, True, True], [True, False, False, False]])

    def picked(_: int, best: np.ndarray) -> None:
        worth[np.arange(2), np.minimum(best + 1, 3)] = 0.0

    assert pick_greedily(real, 3, lambda _: worth, picked).tolist() == [[0, 3, 2], [0, -1, -1]]
