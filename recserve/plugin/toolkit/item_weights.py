"""Sparse weights from the items of a history to the items that are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from recserve.data.arrays import FloatArray, Int32Array
from recserve.plugin.toolkit.stored_arrays import read_item_lists

SOURCES_FILE = "sources.npy"
WEIGHTS_FILE = "weights.npy"


class ItemWeights:
    """The largest weights towards each item, from items of a history.

    Args:
        sources: int32, shape (n_items, w); items of a history that have a say about each item, -1 pads.
        weights: float32, same shape; 0 at pads.
    """

    def __init__(self, sources: Int32Array, weights: FloatArray) -> None:
        self._sources, self._weights = sources, weights
        n_items = len(sources)
        targets, places = np.nonzero(sources >= 0)
        by_source = csr_array(
            (weights[targets, places], (sources[targets, places], targets)), shape=(n_items, n_items)
        )
        by_source.sort_indices()
        self._by_source = by_source

    def totals(self, taste: csr_array) -> FloatArray:
        """Sums over B tastes (CSR, B x n_items), float32, same shape; 0 where nothing has a say."""
        return np.asarray((taste @ self._by_source).toarray(), dtype=np.float32)

    def scores(self, taste: csr_array) -> FloatArray:
        """The same with -inf for items that nothing of the taste has a say about."""
        found = self.totals(taste)
        found[found == 0] = -np.inf
        return found

    def block(self, sources: Int32Array, targets: Int32Array) -> FloatArray:
        """Weights from some items to some items, float32, shape (sources, targets); 0 where there is none."""
        place = np.full(len(self._sources), -1, dtype=np.int32)
        place[sources] = np.arange(len(sources), dtype=np.int32)
        known = self._sources[targets]
        rows = np.where(known >= 0, place[known], -1)
        columns, entries = np.nonzero(rows >= 0)
        found = np.zeros((len(sources), len(targets)), dtype=np.float32)
        found[rows[columns, entries], columns] = self._weights[targets[columns], entries]
        return found

    def save(self, directory: Path) -> None:
        """Write the weights and which items they come from."""
        np.save(directory / SOURCES_FILE, self._sources, allow_pickle=False)
        np.save(directory / WEIGHTS_FILE, self._weights, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, n_items: int) -> ItemWeights:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        return cls(
            *read_item_lists(directory / SOURCES_FILE, directory / WEIGHTS_FILE, n_items, lists=n_items)
        )
