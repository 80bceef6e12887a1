"""Weights of a sparse matrix before its rows are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

# Of BM25 as it is used on interactions: repeats saturate late, long rows are normalised strongly.
_BM25_K1 = 100.0
_BM25_B = 0.8


class Weighting:
    """Weights the entries of a matrix, and of further rows to be compared with its rows.

    Rows are documents, columns are terms. A term that occurs in many documents counts little.

    Args:
        kind: ``none`` leaves everything as it is; ``tfidf`` is ``sqrt(value) * idf``; ``bm25`` saturates
            values and normalises by the length of the row.
        matrix: CSR, non-negative; what is counted.
    """

    def __init__(self, kind: str, matrix: csr_array) -> None:
        self._kind = kind
        if kind == "none":
            return
        self._idf = inverse_frequency(matrix)
        lengths = _sums(matrix)
        used = lengths[lengths > 0]
        self._mean_length = float(used.mean()) if len(used) else 1.0

    def __call__(self, matrix: csr_array) -> csr_array:
        """Weighted rows, CSR float32 of the same shape; the argument is left alone."""
        if self._kind == "none":
            return matrix
        values = matrix.data.astype(np.float64)
        if self._kind == "tfidf":
            values = np.sqrt(values)
        else:
            relative = _sums(matrix) / self._mean_length
            norm = np.repeat(1.0 - _BM25_B + _BM25_B * relative, np.diff(matrix.indptr))
            values = values * (_BM25_K1 + 1.0) / (_BM25_K1 * norm + values)
        values *= self._idf[matrix.indices]
        return csr_array((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def inverse_frequency(matrix: csr_array) -> NDArray[np.float64]:
    """``log((rows + 1) / (rows with the column + 1))`` of each column; positive unless all rows have it."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return np.asarray(np.log((matrix.shape[0] + 1.0) / (counts + 1.0)), dtype=np.float64)


def norms(matrix: csr_array) -> NDArray[np.float32]:
    """Euclidean length of each row, float32."""
    squares = csr_array((matrix.data.astype(np.float64) ** 2, matrix.indices, matrix.indptr), matrix.shape)
    return np.sqrt(_sums(squares)).astype(np.float32)


def _sums(matrix: csr_array) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).reshape(-1)
