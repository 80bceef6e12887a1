"""Interaction matrices: histories as rows of a sparse matrix, for linear models over items."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.batches import Queries, Retrieved

HALVINGS = 8
"""What counts less than 1 / 2 ** this is left out: it takes time and moves nothing."""


def taste_vectors(
    queries: Queries,
    n_items: int,
    *,
    power: float = 1.0,
    half_life_events: float | None = None,
    personal_share: float = 0.25,
) -> csr_array:
    """How much each query's user likes each item, as far as his history says.

    A user's confidence in an item is the sum over his positive events with it. Where similar items are
    asked for, the anchor joins the history: it has the weight ``1 - personal_share`` and the history the
    rest, or all of it if there is no history.

    Args:
        queries: B queries. Items beyond ``n_items`` and events that are not positive do not count.
        n_items: Items of the bundle.
        power: Exponent on the confidence; 0 counts all items alike.
        half_life_events: After this many later positive events an event counts half, and after eight times
            as many not at all; None counts old and new alike.
        personal_share: Share of the history beside an anchor, 0 to 1.

    Returns:
        CSR, float32, shape (B, n_items), indices sorted; no row depends on the other queries.
    """
    liked = queries.histories.known(n_items).positive()
    if half_life_events is not None:
        liked = liked.last(math.ceil(HALVINGS * half_life_events))
    owners = liked.owners()
    stride = max(n_items, 1)
    pairs, where = np.unique(owners * stride + liked.items, return_inverse=True)
    values = np.bincount(where, weights=liked.weights, minlength=len(pairs)) ** power
    if half_life_events is not None:
        later = np.repeat(liked.offsets[1:], liked.lengths) - 1 - np.arange(len(owners))
        newest = np.full(len(pairs), np.iinfo(np.int64).max)
        np.minimum.at(newest, where, later)
        values *= np.exp2(-newest / half_life_events)
    rows, columns = pairs // stride, pairs % stride

    anchored = np.flatnonzero((queries.anchors >= 0) & (queries.anchors < n_items))
    if len(anchored):
        totals = np.bincount(rows, weights=values, minlength=len(queries))
        share = np.where(totals > 0, personal_share, 0.0)
        scale = np.ones(len(queries))
        scale[anchored] = share[anchored] / np.where(totals > 0, totals, 1.0)[anchored]
        rows = np.concatenate([rows, anchored])
        columns = np.concatenate([columns, queries.anchors[anchored]])
        values = np.concatenate([values * scale[rows[: len(values)]], 1.0 - share[anchored]])
    vectors = csr_array((values.astype(np.float32), (rows, columns)), shape=(len(queries), n_items))
    vectors.sum_duplicates()
    return vectors


def best_contributors(rows: NDArray[np.int32], contributions: NDArray[np.float32]) -> NDArray[np.int32]:
    """For each returned item of one query the item of the history that speaks for it most.

    Args:
        rows: int32, shape (h,); the history's items.
        contributions: float32, shape (h, k); what each adds to the score of each returned item.

    Returns:
        int32, shape (k,); -1 where nothing speaks for an item. Of equals the first counts.
    """
    if not len(rows):
        return np.full(contributions.shape[1], -1, dtype=np.int32)
    best = contributions.argmax(axis=0)
    positive = np.take_along_axis(contributions, best[None], axis=0)[0] > 0
    return np.where(positive, rows[best], np.int32(-1)).astype(np.int32)


def in_parts(queries: Queries, size: int, retrieve: Callable[[Queries], Retrieved]) -> Retrieved:
    """Answer a batch in parts, so that dense scores of a large batch never exist at the same time.

    Args:
        queries: The batch.
        size: Queries at a time, at least 1.
        retrieve: Answers a part; the width of its answer must not depend on which part it is.
    """
    if len(queries) <= size:
        return retrieve(queries)
    found = [
        retrieve(queries.part(start, min(start + size, len(queries))))
        for start in range(0, len(queries), size)
    ]
    return Retrieved(
        np.concatenate([part.items for part in found]),
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.evidence for part in found]),
    )
