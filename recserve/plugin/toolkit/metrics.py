"""nDCG of ranked lists with binary relevance."""

from __future__ import annotations

import numpy as np

from recserve.data.arrays import BoolArray, Float64Array, FloatArray, Int64Array
from recserve.plugin.toolkit.topk import top_k


def ndcg(hits: BoolArray, relevant: Int64Array, k: int) -> Float64Array:
    """nDCG@k of each query: sum of hit(i) / log2(i + 1) over ranks i <= k, divided by the best possible sum.

    The best possible list begins with min(k, relevant) relevant items (Järvelin & Kekäläinen 2002).

    Args:
        hits: bool, shape (B, K); whether the item at each rank is relevant, best rank first. Ranks beyond K
            hold nothing relevant.
        relevant: int64, shape (B,); how many relevant items each query has, found or not.
        k: Cut-off, at least 1.

    Returns:
        float64, shape (B,); 0 for a query without relevant items.
    """
    depth = min(k, hits.shape[1])
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = np.zeros(len(hits))
    # Rank by rank: the sums do not depend on the width of ``hits`` to the last bit.
    for rank in range(depth):
        gained += hits[:, rank] * discounts[rank]
    return gained / np.cumsum(discounts)[np.clip(relevant, 1, k) - 1]


def ndcg_of(scores: FloatArray, relevant: BoolArray, k: int) -> Float64Array:
    """nDCG@k of the ranking by score of all items, ties by column.

    Args:
        scores: float32, shape (B, n_items); -inf for what is not to be returned.
        relevant: bool, shape (B, n_items).
        k: Cut-off, at least 1.

    Returns:
        float64, shape (B,); 0 where nothing is relevant.
    """
    best, values = top_k(scores, k)
    hits = np.take_along_axis(relevant, np.maximum(best, 0), axis=1) & np.isfinite(values)
    return ndcg(hits, relevant.sum(axis=1), k)
