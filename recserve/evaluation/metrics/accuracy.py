"""Metrics of ranked lists, a whole batch at a time.

A ranking is int32 of shape (B, K), best first, -1 where a model had nothing to say; the relevant items
of each query are a :class:`recserve.Ragged` of distinct rows. Gains are binary.

Accuracy follows the definitions of trec_eval, as ``ir-measures`` computes them. With R the relevant
items of a query and rel(i) = 1 if the item at rank i is one of them, else 0:

- ``ndcg@k``: sum of rel(i) / log2(i + 1) over i <= k, divided by its value for the best possible list,
  which holds min(k, |R|) relevant items (Järvelin & Kekäläinen 2002); their ``nDCG@k``.
- ``hr@k``, hit rate: 1 if any of the first k is relevant, else 0; their ``Success@k``.
- ``recall@k``: relevant items among the first k, divided by |R|; their ``R@k``.
- ``mrr@k``: 1 / rank of the first relevant item if that is <= k, else 0; their ``RR@k``.
- ``map@k``: sum of precision@i * rel(i) over i <= k, divided by |R| (not by min(k, |R|)); their ``AP@k``.

Beyond accuracy there are novelty and intra-list diversity of each list, and coverage and Gini index of
all lists together; :mod:`recserve.evaluation.metrics.calibration` adds calibration and popularity lift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.arrays import BoolArray, Float64Array, FloatArray, Int32Array
from recserve.data.batches import Ragged
from recserve.data.dataset import Dataset
from recserve.plugin.toolkit.metrics import ndcg

ACCURACY = ("ndcg", "hr", "recall", "mrr", "map")
BEYOND_ACCURACY = ("novelty", "ild", "calibration", "lift")
CATALOGUE_WIDE = ("coverage", "gini")


def contained(rows: Int32Array, sets: Ragged) -> BoolArray:
    """Which entries of each row occur in the set of that row.

    Args:
        rows: int32, shape (B, K); negative entries are in no set.
        sets: B sets, in any order.

    Returns:
        bool, shape (B, K).
    """
    if len(sets.values) == 0 or rows.size == 0:
        return np.zeros(rows.shape, dtype=np.bool_)
    stride = max(int(sets.values.max()), int(rows.max())) + 1
    owners = np.repeat(np.arange(len(sets), dtype=np.int64), np.diff(sets.offsets))
    keys = np.sort(owners * stride + sets.values)
    wanted = np.arange(len(rows), dtype=np.int64)[:, None] * stride + rows
    nearest = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.asarray((keys[nearest] == wanted) & (rows >= 0))


def accuracy(ranked: Int32Array, relevant: Ragged, ks: Sequence[int]) -> dict[str, Float64Array]:
    """nDCG, hit rate, recall, reciprocal rank and average precision of each query.

    Args:
        ranked: int32, shape (B, K), best first, each item at most once a row, -1 pads. Ranks beyond
            K hold nothing relevant.
        relevant: The relevant rows of each query, distinct within a query.
        ks: Cut-offs, each at least 1.

    Returns:
        ``{"ndcg@10": ...}``, each float64 of shape (B,); 0 for a query without relevant items.
    """
    depth = max(ks)
    hits = np.zeros((len(ranked), depth), dtype=np.bool_)
    columns = min(depth, ranked.shape[1])
    hits[:, :columns] = contained(ranked[:, :columns], relevant)
    counts = np.diff(relevant.offsets)
    total = np.maximum(counts, 1)

    ranks = np.arange(1, depth + 1)
    found = np.cumsum(hits, axis=1)
    precision = np.cumsum(hits * found / ranks, axis=1)
    first = np.where(hits.any(axis=1), np.argmax(hits, axis=1) + 1, depth + 1)

    values: dict[str, Float64Array] = {}
    for k in ks:
        values[f"ndcg@{k}"] = ndcg(hits, counts, k)
        values[f"hr@{k}"] = (found[:, k - 1] > 0).astype(np.float64)
        values[f"recall@{k}"] = found[:, k - 1] / total
        values[f"mrr@{k}"] = np.where(first <= k, 1.0 / first, 0.0)
        values[f"map@{k}"] = precision[:, k - 1] / total
    return values


def self_information(training: Dataset) -> Float64Array:
    """How surprising each item is: -log2 of the share of training users who chose it.

    Vargas & Castells 2011, "Rank and relevance in novelty and diversity metrics for recommender
    systems". A user chose an item with any positive event. An item that nobody chose counts as if one
    user had, since its information would be infinite.

    Returns:
        float64, shape (n_items,), in bits.
    """
    chosen = training.matrix()
    users = max(int(np.count_nonzero(np.diff(chosen.indptr))), 1)
    choosers = np.bincount(chosen.indices, minlength=training.n_items)
    return np.asarray(np.log2(users / np.maximum(choosers, 1)))


def novelty(ranked: Int32Array, information: Float64Array, ks: Sequence[int]) -> dict[str, Float64Array]:
    """Mean self-information of the recommended items of each query.

    Args:
        ranked: int32, shape (B, K), -1 pads.
        information: From :func:`self_information`.
        ks: Cut-offs.

    Returns:
        ``{"novelty@10": ...}``, float64 of shape (B,), in bits; NaN for an empty list.
    """
    present = ranked >= 0
    bits = np.where(present, information[np.maximum(ranked, 0)], 0.0)
    values = {}
    for k in ks:
        counts = present[:, :k].sum(axis=1)
        values[f"novelty@{k}"] = ratio(bits[:, :k].sum(axis=1), counts)
    return values


def intra_list_diversity(
    ranked: Int32Array, vectors: FloatArray, ks: Sequence[int]
) -> dict[str, Float64Array]:
    """Mean pairwise cosine distance within the list of each query (Ziegler et al. 2005).

    Computed from the norm of the sum of a list's vectors, so it costs O(k d) rather than O(k^2 d).

    Args:
        ranked: int32, shape (B, K), -1 pads.
        vectors: float32, shape (n_items, d), unit rows; a zero row is orthogonal to everything.
        ks: Cut-offs.

    Returns:
        ``{"ild@10": ...}``, float64 of shape (B,), 1 - mean cosine; NaN for fewer than two items.
    """
    present = ranked >= 0
    gathered = np.where(present[..., None], vectors[np.maximum(ranked, 0)], np.float32(0.0))
    squares = np.einsum("bkd,bkd->bk", gathered, gathered, dtype=np.float64)
    running = np.zeros((len(ranked), vectors.shape[1]), dtype=np.float64)
    reached = 0
    by_depth: dict[int, Float64Array] = {}
    for k in sorted(set(ks)):
        running += gathered[:, reached:k].sum(axis=1, dtype=np.float64)
        reached = k
        counts = present[:, :k].sum(axis=1)
        cosines = np.einsum("bd,bd->b", running, running) - squares[:, :k].sum(axis=1)
        by_depth[k] = 1.0 - ratio(cosines, counts * (counts - 1))
    return {f"ild@{k}": by_depth[k] for k in ks}


def interaction_vectors(training: Dataset, dimension: int = 256, seed: int = 0) -> FloatArray:
    """Item vectors from who chose what, for diversity where there are no text vectors.

    The cosine of two rows estimates the cosine of the items' columns in the binary user-item matrix
    by random projection (Achlioptas 2003); one pair is off by about ``1 / sqrt(dimension)``, the mean
    over a list by much less.

    Returns:
        float32, shape (n_items, dimension); unit rows, zero for an item that nobody chose.
    """
    chosen = training.matrix()
    binary = csr_array(
        (np.ones(chosen.nnz, dtype=np.float32), chosen.indices, chosen.indptr), shape=chosen.shape
    )
    signs = np.random.default_rng(seed).integers(0, 2, (chosen.shape[0], dimension), dtype=np.int8)
    projected = np.asarray(binary.T @ (signs.astype(np.float32) * 2.0 - 1.0), dtype=np.float32)
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(np.divide(projected, norms, out=projected, where=norms > 0))


def coverage(exposure: Float64Array) -> Float64Array:
    """Share of the catalogue that was recommended to anybody.

    Args:
        exposure: float64, shape (..., n_items); with what weight each item was recommended.

    Returns:
        float64, shape (...).
    """
    return np.asarray(np.count_nonzero(exposure, axis=-1) / exposure.shape[-1])


def gini(exposure: Float64Array) -> Float64Array:
    """Gini index of exposure: 0 if all items are recommended equally, near 1 if only a few are.

    Items that are never recommended count. NaN if nothing was recommended at all.

    Args:
        exposure: float64, shape (..., n_items), not negative.

    Returns:
        float64, shape (...).
    """
    n = exposure.shape[-1]
    total = exposure.sum(axis=-1)
    weighted = np.sort(exposure, axis=-1) @ np.arange(1, n + 1, dtype=np.float64)
    share = np.full(total.shape, np.nan)
    np.divide(weighted, total, out=share, where=total > 0)
    return np.asarray(2.0 * share / n - (n + 1) / n)


def ratio(numerator: Float64Array, denominator: NDArray[np.int64]) -> Float64Array:
    """Elementwise quotient, NaN where the denominator is 0."""
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
