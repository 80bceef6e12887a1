"""Masking and top-k selection over a score matrix, shared by all exact retrievers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recserve.domain import FloatArray, Int32Array, Queries


def mask_scores(scores: FloatArray, queries: Queries) -> FloatArray:
    """Set the score of every item that a query must not return to -inf, in place.

    Applied before the top-k cut, so that a narrow filter still fills the page.

    Args:
        scores: float32, shape (B, n_items).
        queries: The batch; its ``allowed`` masks and ``excluded`` rows are applied.

    Returns:
        ``scores``, the same array.
    """
    n_items = scores.shape[1]
    for row, allowed in enumerate(queries.allowed):
        if allowed is not None:
            scores[row, ~allowed] = -np.inf
    excluded = queries.excluded
    owners = np.repeat(np.arange(len(excluded)), np.diff(excluded.offsets))
    inside = (excluded.values >= 0) & (excluded.values < n_items)
    scores[owners[inside], excluded.values[inside]] = -np.inf
    anchored = np.flatnonzero((queries.anchors >= 0) & (queries.anchors < n_items))
    scores[anchored, queries.anchors[anchored]] = -np.inf
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
    if k < n:
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
