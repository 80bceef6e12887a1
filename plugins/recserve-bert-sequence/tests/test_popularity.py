"""Popularity of items with and without events."""

from __future__ import annotations

import numpy as np
from recserve_bert_sequence.popularity import Popularity


def test_what_is_not_known_is_guessed_by_the_text() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = np.round(np.exp(3 + 2 * vectors[:, 0])).astype(np.int64)
    hidden = np.arange(400) % 4 == 0
    learnt = Popularity.of(np.where(hidden, 0, counts), vectors)
    np.testing.assert_allclose(learnt.values[~hidden], np.log1p(counts[~hidden]), rtol=1e-6)
    np.testing.assert_allclose(learnt.values[hidden], np.log1p(counts[hidden]), atol=0.2)
    np.testing.assert_allclose(learnt.guess(vectors[hidden]), learnt.values[hidden], rtol=1e-5)


def test_rows_behind_the_catalogue_are_guessed_and_pads_are_nothing() -> None:
    vectors = np.eye(4, dtype=np.float32)
    learnt = Popularity.of(np.array([5, 0, 2, 1]), vectors)
    found = learnt.of_rows(np.array([[0, -1], [4, 9]], dtype=np.int32), vectors[1:2])
    np.testing.assert_allclose(found, [[np.log(6), 0], [learnt.values[1], 0]], rtol=1e-6)


def test_nothing_to_learn_from() -> None:
    learnt = Popularity.of(np.zeros(3, dtype=np.int64), np.eye(3, dtype=np.float32))
    assert not learnt.values.any()
    assert not Popularity.of(np.zeros(0, dtype=np.int64), np.zeros((0, 1), np.float32)).values.size
