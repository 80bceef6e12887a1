"""Sparse weights between items against a dense matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from recserve import BundleError, ItemWeights
from recserve.plugin.toolkit.item_weights import SOURCES_FILE

SOURCES = np.array([[1, 2], [0, -1], [-1, -1]], dtype=np.int32)
WEIGHTS = np.array([[2.0, -1.0], [0.5, 0.0], [0.0, 0.0]], dtype=np.float32)
DENSE = np.array([[0.0, 0.5, 0.0], [2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
"""From rows to columns."""


def test_totals_are_products_with_the_dense_matrix() -> None:
    taste = csr_array(np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 2.0]], dtype=np.float32))
    weights = ItemWeights(SOURCES, WEIGHTS)
    np.testing.assert_array_equal(weights.totals(taste), taste.toarray() @ DENSE)
    assert weights.scores(taste)[0].tolist() == [-3.0, 0.5, -np.inf]


def test_a_block_is_a_part_of_the_dense_matrix() -> None:
    weights = ItemWeights(SOURCES, WEIGHTS)
    sources, targets = np.array([2, 1], dtype=np.int32), np.array([1, 0], dtype=np.int32)
    np.testing.assert_array_equal(weights.block(sources, targets), DENSE[np.ix_(sources, targets)])


def test_weights_come_back_from_files_and_damage_is_refused(tmp_path: Path) -> None:
    ItemWeights(SOURCES, WEIGHTS).save(tmp_path)
    everything = np.arange(3, dtype=np.int32)
    np.testing.assert_array_equal(ItemWeights.load(tmp_path, 3).block(everything, everything), DENSE)
    with pytest.raises(BundleError):
        ItemWeights.load(tmp_path, 4)
    np.save(tmp_path / SOURCES_FILE, np.full((3, 2), 3, dtype=np.int32))
    with pytest.raises(BundleError, match="outside the catalogue"):
        ItemWeights.load(tmp_path, 3)
