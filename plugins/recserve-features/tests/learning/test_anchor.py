"""The order that trees start from."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_features.learning.anchor import Anchor, query_shares

from recserve import Candidates

ITEMS = np.tile(np.arange(6, dtype=np.int32), (40, 1))


def offered(good: np.ndarray) -> Candidates:
    """Six items in no order; the retriever ``good`` puts those marked first, ``bad`` last."""
    noise = np.random.default_rng(0).random(ITEMS.shape)
    scores = np.stack([good + 0.1 * noise, -good + 0.1 * noise], axis=-1).astype(np.float32)
    scores[:, 5] = np.nan
    return Candidates(
        ITEMS, np.zeros(ITEMS.shape, np.float32), ("good", "bad"), scores, np.full_like(ITEMS, -1)
    )


def test_the_best_retrievers_order_is_chosen() -> None:
    hits = np.zeros(ITEMS.shape, dtype=np.bool_)
    hits[np.arange(40), np.arange(40) % 4] = True
    candidates = offered(hits.astype(float))
    anchor = Anchor.learnt(candidates, hits, np.arange(40, dtype=np.int32))
    assert anchor.source == "good"
    assert anchor.scale > 1
    scores = anchor.scores(candidates)
    np.testing.assert_array_equal(scores.argmax(axis=1), np.arange(40) % 4)
    assert (scores[:, 5] == scores.min(axis=1)).all(), "what it did not find stands last"
    assert Anchor.from_json(anchor.to_json()) == anchor


def test_an_order_that_says_nothing_counts_nothing() -> None:
    hits = np.zeros(ITEMS.shape, dtype=np.bool_)
    hits[np.arange(40), np.arange(40) % 6] = True
    without = Candidates(
        ITEMS,
        np.zeros(ITEMS.shape, np.float32),
        (),
        np.empty((*ITEMS.shape, 0), np.float32),
        np.full_like(ITEMS, -1),
    )
    anchor = Anchor.learnt(without, hits, np.arange(40, dtype=np.int32))
    assert anchor.source is None
    assert anchor.scale < 0.2


def test_users_count_alike_and_queries_by_what_is_left() -> None:
    shares = query_shares(np.array([0, 0, 1], np.int32), np.array([3, 1, 7]))
    assert shares[:2].sum() == pytest.approx(shares[2])
    assert shares[1] == pytest.approx(3 * shares[0])
    assert shares.mean() == pytest.approx(1)
