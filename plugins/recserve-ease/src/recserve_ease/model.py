"""The learnt weights: all of them between the items that take part, or the largest of each item."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve import BundleError, FloatArray, Int32Array, ItemWeights, read_array, top_k

KEPT_FILE = "kept.npy"
WEIGHTS_FILE = "weights.npy"

# Rows of half-precision weights that are widened at a time.
_ROWS_AT_A_TIME = 256
_TARGETS_AT_A_TIME = 256


class Model(Protocol):
    """Weights from items of a history to items that are scored."""

    def scores(self, taste: csr_array) -> FloatArray:
        """Scores of B tastes (CSR, B x n_items), float32, same shape; -inf where there is nothing to say."""
        ...

    def block(self, sources: Int32Array, targets: Int32Array) -> FloatArray:
        """Weights from some items to some items, float32, shape (sources, targets); 0 where there is none."""
        ...

    def save(self, directory: Path) -> None:
        """Write the weights."""
        ...


class DenseModel:
    """All weights between the items that take part.

    Args:
        kept: bool, shape (n_items,); the m items that take part.
        weights: float16 or float32, shape (m, m): row = item of the history, column = item scored.
    """

    def __init__(self, kept: NDArray[np.bool_], weights: NDArray[Any]) -> None:
        self._kept = kept
        self._weights = weights
        self._columns = np.flatnonzero(kept)
        self._place = np.full(len(kept), -1, dtype=np.int64)
        self._place[self._columns] = np.arange(len(self._columns))

    def scores(self, taste: csr_array) -> FloatArray:
        """See :meth:`Model.scores`; every item that takes part is scored."""
        known = csr_array(taste[:, self._columns])
        found = np.full(taste.shape, -np.inf, dtype=np.float32)
        asked = np.flatnonzero(np.diff(known.indptr))
        if len(asked):
            found[np.ix_(asked, self._columns)] = self._products(known)[asked]
        return found

    def _products(self, known: csr_array) -> FloatArray:
        if self._weights.dtype == np.float32:
            return np.asarray(known @ self._weights, dtype=np.float32)
        # Parts of fixed rows: how a query's sum is taken must not depend on the other queries.
        total = np.zeros(known.shape, dtype=np.float32)
        for start in range(0, len(self._weights), _ROWS_AT_A_TIME):
            stop = start + _ROWS_AT_A_TIME
            part = known[:, start:stop]
            if part.nnz:
                total += part @ self._weights[start:stop].astype(np.float32)
        return total

    def block(self, sources: Int32Array, targets: Int32Array) -> FloatArray:
        """See :meth:`Model.block`."""
        rows, columns = self._place[sources], self._place[targets]
        found = self._weights[np.ix_(rows, columns)].astype(np.float32)
        found[rows < 0] = 0.0
        return found

    def save(self, directory: Path) -> None:
        """Write which items take part and their weights.

        The leading axis of one keeps a matrix of items from looking like one with a row a user, should
        there be as many users as items that take part.
        """
        np.save(directory / KEPT_FILE, self._kept, allow_pickle=False)
        np.save(directory / WEIGHTS_FILE, self._weights[None], allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, n_items: int, dtype: str) -> DenseModel:
        """Read what :meth:`save` wrote; weights are memory-mapped.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        kept = read_array(directory / KEPT_FILE, np.bool_, (n_items,))
        m = int(kept.sum())
        weights = read_array(directory / WEIGHTS_FILE, dtype, (1, m, m))[0]
        for start in range(0, m, _ROWS_AT_A_TIME):
            if not np.isfinite(weights[start : start + _ROWS_AT_A_TIME]).all():
                raise BundleError(f"{directory / WEIGHTS_FILE} holds values that are not finite")
        return cls(np.array(kept), weights)


def largest_weights(kept: NDArray[np.bool_], weights: NDArray[Any], width: int) -> ItemWeights:
    """The ``width`` weights of largest amount towards each item.

    Args:
        kept: bool, shape (n_items,); the m items that take part.
        weights: Shape (m, m): row = item of the history, column = item scored.
        width: At least 1.
    """
    columns = np.flatnonzero(kept)
    width = min(width, max(len(columns) - 1, 0))
    sources = np.full((len(kept), width), -1, dtype=np.int32)
    largest = np.zeros((len(kept), width), dtype=np.float32)
    for start in range(0, len(columns) if width else 0, _TARGETS_AT_A_TIME):
        towards = np.ascontiguousarray(weights[:, start : start + _TARGETS_AT_A_TIME].T, np.float32)
        amount = np.abs(towards)
        amount[amount == 0] = -np.inf
        found, _ = top_k(amount, width)
        picked = np.take_along_axis(towards, np.maximum(found, 0), axis=1)
        rows = columns[start : start + _TARGETS_AT_A_TIME]
        sources[rows] = np.where(found >= 0, columns[found], -1)
        largest[rows] = np.where(found >= 0, picked, np.float32(0))
    return ItemWeights(sources, largest)
