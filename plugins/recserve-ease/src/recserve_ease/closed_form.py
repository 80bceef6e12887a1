"""The weights of EASE: Gram matrix, its inverse by Cholesky in place, columns scaled by the diagonal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import DataError, Executor, InProcess

Weights = NDArray[np.float32] | NDArray[np.float64]

# Rows of the Gram matrix that are computed, or copied, at a time.
_BLOCK = 512

Progress = Callable[[str, int, int], None]


def ease_weights(
    matrix: csr_array,
    regularization: float,
    precision: str,
    progress: Progress = lambda description, done, total: None,
    executor: Executor | None = None,
) -> Weights:
    """How much each item of a user speaks for each other one.

    With ``P`` the inverse of ``X'X + lambda I``, the weights are ``-P[j, i] / P[i, i]``, 0 on the diagonal:
    what minimises ``|X - XB|^2 + lambda |B|^2`` with no item predicting itself.

    One matrix of items by items is held, and everything happens in it.

    Args:
        matrix: CSR, users by m items.
        regularization: lambda, positive.
        precision: ``float32`` or ``float64``.
        progress: Called with (description, done, total).
        executor: Computes the Gram matrix.

    Returns:
        C order, shape (m, m): row = item of the history, column = item that is scored.

    Raises:
        DataError: The matrix cannot be inverted in this precision.
    """
    n = matrix.shape[1]
    gram = _gram(matrix, np.dtype(precision), progress, executor or InProcess())
    gram[np.arange(n), np.arange(n)] += gram.dtype.type(regularization)
    if not n:
        return gram
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    # One BLAS thread: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        progress("factorising", 0, 2)
        # LAPACK counts rows as columns: its lower triangle is the upper one of an array in C order.
        factor, problem = potrf(gram.T, lower=1, clean=0, overwrite_a=1)
        if problem == 0:
            progress("inverting", 1, 2)
            inverse, problem = potri(factor, lower=1, overwrite_c=1)
    if problem != 0:
        raise DataError(
            f"ease: the Gram matrix of {n} items cannot be inverted in {precision} with a regularization of "
            f"{regularization:g}; raise the regularization, or set precision to float64"
        )
    progress("inverting", 2, 2)
    weights: Weights = inverse.T
    _mirror(weights)
    diagonal = weights.diagonal().copy()
    weights /= -diagonal
    weights[np.arange(n), np.arange(n)] = 0
    return weights


def _gram(matrix: csr_array, dtype: np.dtype[np.floating], progress: Progress, executor: Executor) -> Weights:
    """The upper triangle of ``X'X``, by blocks of rows; what is below is undefined.

    A block of rows is a block of items, over all users: sums are taken in one order, and what travels from
    workers is the matrix once, not as often as there are blocks of users.
    """
    n = matrix.shape[1]
    by_item = csr_array(matrix.T.tocsr()).astype(dtype)
    gram = np.zeros((n, n), dtype=dtype)
    starts = range(0, n, _BLOCK)
    parts = ((start, by_item[start : start + _BLOCK]) for start in starts)
    by_user = executor.share(matrix.astype(dtype))
    try:
        for start, rows in zip(starts, executor.map(pair_counts, parts, by_user), strict=True):
            stop = start + len(rows)
            gram[start:stop, start:] = rows
            progress("counting pairs", stop, n)
    finally:
        by_user.release()
    return gram


def pair_counts(part: tuple[int, csr_array], by_user: csr_array) -> Weights:
    """Rows of ``X'X`` from the diagonal on.

    Args:
        part: The first row, and the rows of ``X'``.
        by_user: ``X``, CSR.
    """
    start, by_item = part
    counts: Weights = (by_item @ by_user).toarray()[:, start:]
    return counts


def _mirror(square: Weights) -> None:
    """Copy the upper triangle to the lower one, in place."""
    n = len(square)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        square[start:stop, :start] = square[:start, start:stop].T
        own = square[start:stop, start:stop]
        below = np.tril_indices(stop - start, -1)
        own[below] = own.T[below]
