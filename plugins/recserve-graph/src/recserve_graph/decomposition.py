"""Truncated singular value decomposition of a sparse matrix by blocks on the executor.

Subspace iteration from a random start (Halko, Martinsson & Tropp 2011, "Finding structure with randomness",
algorithm 4.4). Each row of a product is summed in one order, so that results do not depend on how many blocks
and workers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from recserve import Executor, Float64Array, FloatArray, Shared

SWEEPS = 4
OVERSAMPLING = 16
BLOCKS_A_WORKER = 4

Progress = Callable[[str, int, int], None]


def leading_directions(
    matrix: csr_array, rank: int, seed: int, executor: Executor, progress: Progress
) -> tuple[Float64Array, FloatArray]:
    """The largest singular values and their right singular vectors.

    Args:
        matrix: CSR, float32, users by items.
        rank: How many, at least 1; cut to the smaller side.
        seed: Of the random start.
        executor: Multiplies.
        progress: Called with (description, done, total).

    Returns:
        Singular values, float64, shape (r,), falling; vectors, float32, shape (items, r), C order.
    """
    smaller = min(matrix.shape)
    rank = min(rank, smaller)
    width = min(rank + OVERSAMPLING, smaller)
    forth, back = _Blocks(matrix, executor), _Blocks(csr_array(matrix.T.tocsr()), executor)
    try:
        basis = np.random.default_rng(seed).standard_normal((matrix.shape[1], width)).astype(np.float32)
        for sweep in range(SWEEPS):
            progress("decomposing the graph", sweep, SWEEPS + 1)
            basis = np.linalg.qr(back.times(forth.times(basis)))[0]
        progress("decomposing the graph", SWEEPS, SWEEPS + 1)
        image = forth.times(basis)
    finally:
        forth.release()
        back.release()
    values, rotation = np.linalg.eigh(image.T.astype(np.float64) @ image)
    chosen = np.argsort(-values, kind="stable")[:rank]
    progress("decomposing the graph", SWEEPS + 1, SWEEPS + 1)
    vectors = np.ascontiguousarray(basis @ rotation[:, chosen].astype(np.float32))
    return np.sqrt(np.maximum(values[chosen], 0.0)), vectors


class _Blocks:
    """A sparse matrix in blocks of rows, each of which travels to a worker once."""

    def __init__(self, matrix: csr_array, executor: Executor) -> None:
        self._shape = matrix.shape
        self._executor = executor
        count = max(1, min(executor.workers * BLOCKS_A_WORKER, matrix.shape[0]))
        # Of about equal numbers of entries.
        bounds = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, count + 1)[1:-1])
        edges = np.unique(np.concatenate([[0], bounds, [matrix.shape[0]]])).tolist()
        self._edges = list(pairwise(edges))
        self._blocks: list[Shared] = [executor.share(matrix[start:stop]) for start, stop in self._edges]

    def times(self, dense: FloatArray) -> FloatArray:
        """The product with a dense matrix, float32."""
        product = np.empty((self._shape[0], dense.shape[1]), dtype=np.float32)
        other = self._executor.share(dense)
        try:
            parts = ((block,) for block in self._blocks)
            for (start, stop), rows in zip(
                self._edges, self._executor.map(rows_times, parts, other), strict=True
            ):
                product[start:stop] = rows
        finally:
            other.release()
        return product

    def release(self) -> None:
        for block in self._blocks:
            block.release()


def rows_times(part: tuple[csr_array], dense: FloatArray) -> FloatArray:
    """A block of rows times a dense matrix."""
    return np.asarray(part[0] @ dense, dtype=np.float32)
