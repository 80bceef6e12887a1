"""Comparison of items against dense products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from recserve import ComparedItems, FitContext, most_similar
from recserve.plugin.toolkit import item_comparison


def matrix(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    dense = generator.random((40, 25)) * (generator.random((40, 25)) < 0.2)
    return dense.astype(np.float32)


def test_products_need_not_be_symmetric() -> None:
    """Targets and sources may be weighted differently."""
    users_by_items = matrix()
    weighted = users_by_items * np.linspace(0.5, 2.0, 25, dtype=np.float32)
    compared = ComparedItems(csr_array(weighted), None, 0.0, 24)
    found, values = most_similar(csr_array(users_by_items.T), compared, FitContext())
    expected = users_by_items.T.astype(np.float64) @ weighted
    np.fill_diagonal(expected, 0.0)
    for item in range(25):
        near = found[item][found[item] >= 0]
        assert set(near.tolist()) == set(np.flatnonzero(expected[item]).tolist())
        np.testing.assert_allclose(values[item][: len(near)], expected[item, near], rtol=1e-5)
        assert (np.diff(values[item]) <= 0).all()


def test_lengths_and_shrinkage_make_shrunk_cosines() -> None:
    dense = matrix(1)
    lengths = np.linalg.norm(dense, axis=0).astype(np.float32)
    compared = ComparedItems(csr_array(dense), lengths, 2.0, 3)
    found, values = most_similar(csr_array(dense.T), compared, FitContext(), np.array([4, 7]))
    for row, item in enumerate((4, 7)):
        cosines = dense[:, item] @ dense / (lengths[item] * lengths + 2.0)
        cosines[item] = 0.0
        np.testing.assert_array_equal(found[row], np.argsort(-cosines, kind="stable")[:3])
        np.testing.assert_allclose(values[row], np.sort(cosines)[::-1][:3], rtol=1e-5)


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = matrix(2)
    compared = ComparedItems(csr_array(dense), None, 0.0, 6)
    expected = most_similar(csr_array(dense.T), compared, FitContext())
    monkeypatch.setattr(item_comparison, "PRODUCTS_AT_A_TIME", 50)
    monkeypatch.setattr(item_comparison, "LEAST_ITEMS", 2)
    found = most_similar(csr_array(dense.T), compared, FitContext())
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_array_equal(after, before)
