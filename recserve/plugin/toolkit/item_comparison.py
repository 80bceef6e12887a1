"""Comparison of items by who likes them: the largest shrunk cosines, or sums of products, of each item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.arrays import FloatArray, Int32Array, Int64Array
from recserve.plugin.protocols import FitContext

# Products (float32) held at a time: 32 MB.
PRODUCTS_AT_A_TIME = 8_000_000
# Parts that a comparison of all items is split into, for each worker: enough to even out a busy one.
PARTS_A_WORKER = 64
LEAST_ITEMS = 64


@dataclass(frozen=True, slots=True)
class ComparedItems:
    """Items that others are compared with.

    Attributes:
        by_user: CSR, float32, users by all items; weighted, non-negative.
        lengths: float32, shape (n_items,); what products are divided by, for both items. Euclidean lengths of
            the columns give cosines; None leaves products as they are.
        shrink: Added to the denominator, where there is one.
        width: Most similar items that are kept for each.
    """

    by_user: csr_array
    lengths: FloatArray | None
    shrink: float
    width: int


def most_similar(
    by_item: csr_array, compared: ComparedItems, context: FitContext, wanted: Int64Array | None = None
) -> tuple[Int32Array, FloatArray]:
    """The most similar items of each item, itself left out, by blocks on the executor.

    Args:
        by_item: CSR, float32, items by users; weighted, non-negative.
        compared: What they are compared with.
        context: Its executor compares; it is told how far that is.
        wanted: int64, shape (m,); the items whose similar ones are wanted, None for all.

    Returns:
        Rows, int32 (m, n), -1 pads, and similarities, float32, 0 at pads; best first, n <= width.
    """
    n_items, width = by_item.shape[0], compared.width
    wanted = np.arange(n_items) if wanted is None else wanted
    neighbours = np.full((len(wanted), width), -1, dtype=np.int32)
    similarities = np.zeros((len(wanted), width), dtype=np.float32)
    size = max(LEAST_ITEMS, -(-len(wanted) // (PARTS_A_WORKER * context.executor.workers)))
    starts = range(0, len(wanted) if width else 0, size)
    parts = ((rows, by_item[rows]) for rows in (wanted[start : start + size] for start in starts))
    everything = context.executor.share(compared)
    try:
        results = context.executor.map(most_similar_of, parts, everything)
        for start, (found, values) in zip(starts, results, strict=True):
            done = start + len(found)
            neighbours[start:done], similarities[start:done] = found, values
            context.progress("comparing items", done, len(wanted))
    finally:
        everything.release()
    used = int((neighbours >= 0).sum(axis=1).max(initial=0))
    return np.ascontiguousarray(neighbours[:, :used]), np.ascontiguousarray(similarities[:, :used])


def most_similar_of(
    part: tuple[Int64Array, csr_array], compared: ComparedItems
) -> tuple[Int32Array, FloatArray]:
    """Compare some items with all.

    Args:
        part: The items, int64 (m,), and who likes each, CSR (m, users), weighted.
        compared: All items.

    Returns:
        Rows, int32 (m, width), -1 pads, and similarities, float32, 0 at pads; best first.
    """
    items, likes = part
    lengths = compared.lengths
    neighbours = np.full((len(items), compared.width), -1, dtype=np.int32)
    similarities = np.zeros((len(items), compared.width), dtype=np.float32)
    for start, stop in _blocks(likes, compared.by_user):
        products = csr_array(likes[start:stop] @ compared.by_user)
        products.sort_indices()
        rows = np.repeat(items[start:stop], np.diff(products.indptr))
        columns, values = products.indices, products.data
        if lengths is not None:
            values = values / (lengths[rows] * lengths[columns] + np.float32(compared.shrink))
        values[columns == rows] = 0.0
        for row in range(stop - start):
            span = slice(products.indptr[row], products.indptr[row + 1])
            near = _largest(values[span], compared.width)
            neighbours[start + row, : len(near)] = columns[span][near]
            similarities[start + row, : len(near)] = values[span][near]
    return neighbours, similarities


def _blocks(likes: csr_array, by_user: csr_array) -> Iterator[tuple[int, int]]:
    """Ranges of items whose products with all items are few enough to be held at a time."""
    counts = np.diff(by_user.indptr)[likes.indices]
    work = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[likes.indptr[:-1]]
    edges = np.flatnonzero(np.diff(work // PRODUCTS_AT_A_TIME)) + 1
    return pairwise([0, *edges.tolist(), likes.shape[0]])


def _largest(values: FloatArray, count: int) -> NDArray[np.intp]:
    """Places of the largest positive values, largest first, ties in their order."""
    least = np.float32(0)
    if len(values) > count:
        least = np.partition(values, len(values) - count)[len(values) - count]
    near = np.flatnonzero(values >= least if least > 0 else values > 0)
    return near[np.argsort(-values[near], kind="stable")[:count]]
