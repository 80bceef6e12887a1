"""Masking and top-k selection over a score matrix, shared by all exact retrievers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.arrays import BoolArray, FloatArray, Int32Array, Int64Array
from recserve.data.batches import Queries, Ragged
from recserve.data.system.compilation import KERNELS, compiled

# From this many columns on the best are looked for in groups: that reads the scores twice and copies nothing.
_WIDE = 4096
_GROUP = 16
# More candidates than this many times k: half the scores are equal, and sorting them would cost more.
_MANY = 16
_LOWEST = np.finfo(np.float32).min


def mask_scores(scores: FloatArray, queries: Queries) -> FloatArray:
    """Set the score of every item that a query must not return to -inf, in place.

    Applied before the top-k cut, so that a narrow filter still fills the page.

    Args:
        scores: float32, shape (B, n_items).
        queries: The batch; its ``allowed`` masks and ``excluded`` rows are applied.

    Returns:
        ``scores``, the same array.
    """
    return mask_rows(scores, queries.allowed, queries.barred)


def mask_rows(scores: FloatArray, allowed: Sequence[BoolArray | None], barred: Ragged | None) -> FloatArray:
    """Like :func:`mask_scores` without a batch of queries, in place.

    Args:
        scores: float32, shape (B, n).
        allowed: For each row of scores a bool array, shape (n,), or None for "everything"; may be empty.
        barred: For each row of scores columns to set to -inf; others than 0..n-1 are ignored.

    Returns:
        ``scores``, the same array.
    """
    forbidden: dict[int, Int64Array] = {}
    for row, mask in enumerate(allowed):
        if mask is not None:
            # Queries of a batch mostly share their masks, and a mask mostly bars little.
            if id(mask) not in forbidden:
                forbidden[id(mask)] = np.flatnonzero(~mask)
            scores[row, forbidden[id(mask)]] = -np.inf
    if barred is not None:
        owners = np.repeat(np.arange(len(barred)), np.diff(barred.offsets))
        inside = (barred.values >= 0) & (barred.values < scores.shape[1])
        scores[owners[inside], barred.values[inside]] = -np.inf
    return scores


def mask_columns(scores: FloatArray, rows: Int32Array, queries: Queries) -> FloatArray:
    """Like :func:`mask_scores` for the scores of some items only, in place.

    Args:
        scores: float32, shape (B, M).
        rows: int32, shape (M,); the items, distinct.
        queries: The batch; its masks must cover the rows.

    Returns:
        ``scores``, the same array.
    """
    for index, allowed in enumerate(queries.allowed):
        if allowed is not None:
            scores[index, ~allowed[rows]] = -np.inf
    for index in range(len(queries)):
        barred = queries.excluded[index]
        if len(barred):
            scores[index, np.isin(rows, barred)] = -np.inf
    scores[rows[None, :] == queries.anchors[:, None]] = -np.inf
    return scores


def top_k(scores: FloatArray, k: int) -> tuple[Int32Array, FloatArray]:
    """The k best columns of each row, best first; ties go to the lower column.

    Args:
        scores: float32, shape (B, n); -inf marks what must not be returned.
        k: At least 1; cut to n.

    Returns:
        items int32 and scores float32, both of shape (B, min(k, n)); -1 and -inf pad rows with
        fewer finite scores.
    """
    n = scores.shape[1]
    k = min(k, n)
    if k < n and n >= _WIDE and n >= k * _GROUP:
        return _top_k_of_groups(scores, k)
    return _top_k_of_all(scores, k)


def top_k_of_products(
    left: csr_array, right: csr_array, queries: Queries, k: int
) -> tuple[Int32Array, FloatArray]:
    """The k best positive entries of each row of a sparse product, masks and exclusions applied.

    Args:
        left: CSR, float32, shape (B, m); one row a query.
        right: CSR, float32, shape (m, n_items).
        queries: The batch; its ``allowed`` masks and ``barred`` rows are applied.
        k: At least 1; cut to n_items.

    Returns:
        As :func:`top_k` does.
    """
    kernels = compiled(KERNELS)
    k = min(k, right.shape[1])
    left = _narrow(left)
    if kernels is None or not k or not _fits(left) or not _fits(right):
        scores: FloatArray = (left @ right).toarray()
        scores[scores <= 0] = -np.inf
        return top_k(mask_scores(scores, queries), k)
    items, best = _pads(len(queries), k)
    masks, mask_of = _distinct(queries.allowed, len(queries), right.shape[1])
    barred = queries.barred
    read = (
        *(left.indptr, left.indices, left.data),
        *(right.indptr, right.indices, right.data),
        *(masks, mask_of, barred.offsets, barred.values),
    )
    kernels.top_k_of_products(*map(np.ascontiguousarray, read), k, items, best)
    return items, best


def _pads(batch: int, k: int) -> tuple[Int32Array, FloatArray]:
    """Items and scores of a batch for which nothing is found."""
    return np.full((batch, k), -1, dtype=np.int32), np.full((batch, k), -np.inf, dtype=np.float32)


def _narrow(matrix: csr_array) -> csr_array:
    """A matrix of few entries with indices of 32 bits."""
    if matrix.indices.dtype == np.int32 or matrix.nnz > np.iinfo(np.int32).max:
        return matrix
    parts = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    return csr_array(parts, shape=matrix.shape)


def _fits(matrix: csr_array) -> bool:
    """Whether a compiled kernel reads a matrix: it may have too many entries for 32 bits."""
    return bool(matrix.data.dtype == np.float32 and matrix.indices.dtype == matrix.indptr.dtype == np.int32)


def _distinct(
    allowed: Sequence[BoolArray | None], batch: int, n_items: int
) -> tuple[NDArray[np.bool_], Int32Array]:
    """The different masks of a batch, bool (M, n_items), and the number of each query's, -1 for none."""
    numbers: dict[int, int] = {}
    masks: list[BoolArray] = []
    mask_of = np.full(batch, -1, dtype=np.int32)
    for query, mask in enumerate(allowed):
        if mask is not None:
            if id(mask) not in numbers:
                numbers[id(mask)] = len(masks)
                masks.append(mask)
            mask_of[query] = numbers[id(mask)]
    return np.stack(masks) if masks else np.empty((0, n_items), dtype=np.bool_), mask_of


def _top_k_of_groups(scores: FloatArray, k: int) -> tuple[Int32Array, FloatArray]:
    """The same for many columns: two passes that only read, and a sort of the few that may be best."""
    n = scores.shape[1]
    items, best = _pads(len(scores), k)
    whole = n - n % _GROUP
    for row, line in enumerate(scores):
        # k of the groups hold a score that is not below the k-th highest maximum of a group.
        tops = line[:whole].reshape(_GROUP, -1).max(axis=0)
        highest = np.partition(tops, len(tops) - k)[len(tops) - k :]
        near = np.flatnonzero(line >= max(highest[0], _LOWEST))
        if len(near) > _MANY * k or np.isnan(highest).any():
            part, values = _top_k_of_all(line[None, :], k)
            items[row], best[row] = part[0], values[0]
            continue
        values = line[near]
        order = np.argsort(-values, kind="stable")[:k]
        items[row, : len(order)], best[row, : len(order)] = near[order], values[order]
    return items, best


def _top_k_of_all(scores: FloatArray, k: int) -> tuple[Int32Array, FloatArray]:
    if k < scores.shape[1]:
        part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        _settle_ties(scores, part)
        # Equal scores must come out in the order of their columns, so sort the columns first.
        part.sort(axis=1)
        picked = np.take_along_axis(scores, part, axis=1)
        order = np.argsort(-picked, axis=1, kind="stable")
        items = np.take_along_axis(part, order, axis=1)
    else:
        items = np.argsort(-scores, axis=1, kind="stable")
    best = np.take_along_axis(scores, items, axis=1).astype(np.float32, copy=False)
    return np.where(np.isneginf(best), -1, items).astype(np.int32), best


def _settle_ties(scores: FloatArray, part: NDArray[np.intp]) -> None:
    """Where equal scores straddle the cut, take the lower columns instead of arbitrary ones, in place."""
    k = part.shape[1]
    worst = np.take_along_axis(scores, part, axis=1).min(axis=1)
    straddling = (np.count_nonzero(scores >= worst[:, None], axis=1) > k) & ~np.isneginf(worst)
    for row in np.flatnonzero(straddling):
        better = np.flatnonzero(scores[row] > worst[row])
        equal = np.flatnonzero(scores[row] == worst[row])
        part[row] = np.concatenate((better, equal[: k - len(better)]))
