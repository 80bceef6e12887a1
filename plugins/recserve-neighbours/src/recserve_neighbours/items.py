"""The retriever ``item_knn``: the most similar items of each item, by who likes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Int64Array,
    Queries,
    Retrieved,
    in_parts,
    mask_scores,
    read_item_lists,
    taste_vectors,
    top_k,
)
from recserve_neighbours.parameters import (
    DEFAULT_NEIGHBOURS,
    DEFAULT_SHRINK,
    DEFAULT_WEIGHTING,
    ItemKnnParams,
)
from recserve_neighbours.selection import choose
from recserve_neighbours.weighting import Weighting, norms

NEIGHBOURS_FILE = "neighbours.npy"
SIMILARITIES_FILE = "similarities.npy"

# Numbers (float32) held at a time, while fitting and while scoring: 32 MB.
NUMBERS_AT_A_TIME = 8_000_000
# Parts that a comparison of all items is split into, for each worker: enough to even out a busy one.
PARTS_A_WORKER = 64
LEAST_ITEMS = 64


class ItemKnnRetriever:
    """Items whose neighbours the user likes: ``score(i) = sum of taste(j) * similarity(i, j)``.

    The sum is over the history's items that are among the nearest of *i*. Seeds are the items that added
    most. Where similar items are asked for, those that are among the nearest of the given one count as
    well. An item without a similarity to anything in the query is not returned.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: ItemKnnParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        shape = (self._n_items, 0)
        self._use(np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.float32))

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Compare every item with every other one, a block at a time."""
        params, chosen = choose(data, self._params, context, nearest_items)
        neighbours, similarities = nearest_items(data, params, context)
        self._use(neighbours, similarities)
        return {"items_with_neighbours": int((neighbours >= 0).any(axis=1).sum()), **chosen}

    def save(self, directory: Path) -> None:
        """Write the neighbours of each item and their similarities; nothing of any user."""
        np.save(directory / NEIGHBOURS_FILE, self._neighbours, allow_pickle=False)
        np.save(directory / SIMILARITIES_FILE, self._similarities, allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        n_items = self._n_items
        files = directory / NEIGHBOURS_FILE, directory / SIMILARITIES_FILE
        self._use(*read_item_lists(*files, n_items, lists=n_items, lowest=0.0))

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items for each query, best first, with the items they rest on."""
        size = max(1, NUMBERS_AT_A_TIME // max(self._n_items, 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _use(self, neighbours: Int32Array, similarities: FloatArray) -> None:
        self._neighbours, self._similarities = neighbours, similarities
        targets, places = np.nonzero(neighbours >= 0)
        by_item = csr_array(
            (similarities[targets, places], (neighbours[targets, places], targets)),
            shape=(self._n_items, self._n_items),
        )
        by_item.sort_indices()
        self._by_item = by_item

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        params = self._params
        taste = taste_vectors(
            queries,
            self._n_items,
            power=params.confidence_power,
            half_life_events=params.half_life_events,
            personal_share=params.personal_share,
        )
        scores = (taste @ self._by_item).toarray()
        similar: dict[int, tuple[Int32Array, FloatArray]] = {}
        for query in np.flatnonzero((queries.anchors >= 0) & (queries.anchors < self._n_items)).tolist():
            anchor = int(queries.anchors[query])
            rows, values = self._only_near_the_anchor(anchor)
            values = values * _weight_of(anchor, taste, query)
            scores[query, rows] += values
            similar[query] = (rows, values)
        scores[scores <= 0] = -np.inf
        items, best = top_k(mask_scores(scores, queries), k)
        if not queries.wants_evidence:
            return Retrieved.of(items, best)
        return Retrieved(items, best, self._evidence(taste, items, queries.anchors, similar))

    def _only_near_the_anchor(self, anchor: int) -> tuple[Int32Array, FloatArray]:
        """Near items of the anchor that do not have it among their own nearest, and their similarity."""
        own = self._neighbours[anchor]
        by_item = self._by_item
        counted = by_item.indices[by_item.indptr[anchor] : by_item.indptr[anchor + 1]]
        chosen = (own >= 0) & ~np.isin(own, counted)
        return own[chosen], self._similarities[anchor][chosen]

    def _evidence(
        self,
        taste: csr_array,
        items: Int32Array,
        anchors: Int32Array,
        similar: Mapping[int, tuple[Int32Array, FloatArray]],
    ) -> Int32Array:
        """The item behind each returned one: whose similarity times taste is the largest."""
        seeds = np.full(items.shape, -1, dtype=np.int32)
        if not self._neighbours.shape[1]:
            return seeds
        liked = np.zeros(self._n_items, dtype=np.float32)
        for query in range(len(items)):
            found = items[query][items[query] >= 0]
            span = slice(taste.indptr[query], taste.indptr[query + 1])
            liked[taste.indices[span]] = taste.data[span]
            neighbours = self._neighbours[found]
            added = liked[neighbours] * self._similarities[found]
            place = added.argmax(axis=1)[:, None]
            most = np.take_along_axis(added, place, axis=1)[:, 0]
            chosen = np.take_along_axis(neighbours, place, axis=1)[:, 0]
            chosen[most <= 0] = -1
            if query in similar:
                rows, values = similar[query]
                near = np.zeros(self._n_items, dtype=np.float32)
                near[rows] = values
                chosen[near[found] > most] = anchors[query]
            seeds[query, : len(found)] = chosen
            liked[taste.indices[span]] = 0.0
        return seeds


def _weight_of(item: int, taste: csr_array, query: int) -> np.float32:
    span = slice(taste.indptr[query], taste.indptr[query + 1])
    return np.float32(taste.data[span][taste.indices[span] == item].sum())


def nearest_items(
    data: Dataset, params: ItemKnnParams, context: FitContext, wanted: Int64Array | None = None
) -> tuple[Int32Array, FloatArray]:
    """The most similar items of each item, by shrunk cosine of who likes them.

    Args:
        data: Who likes what.
        params: Parameters; constants stand for what is not given.
        context: Its executor compares; it is told how far that is.
        wanted: int64, shape (m,); the items whose neighbours are wanted, None for all.

    Returns:
        Rows, int32 (m, n), -1 pads, and similarities, float32, 0 at pads; best first, n <= neighbours.
    """
    n_items = data.n_items
    shrink = DEFAULT_SHRINK if params.shrink is None else params.shrink
    matrix = data.matrix()
    matrix.data **= np.float32(params.confidence_power)
    by_item = csr_array(matrix.T.tocsr())
    by_item = Weighting(params.weighting or DEFAULT_WEIGHTING, by_item)(by_item)
    lengths = norms(by_item)
    width = min(params.neighbours or DEFAULT_NEIGHBOURS, max(n_items - 1, 0))
    wanted = np.arange(n_items) if wanted is None else wanted
    neighbours = np.full((len(wanted), width), -1, dtype=np.int32)
    similarities = np.zeros((len(wanted), width), dtype=np.float32)
    size = max(LEAST_ITEMS, -(-len(wanted) // (PARTS_A_WORKER * context.executor.workers)))
    starts = range(0, len(wanted) if width else 0, size)
    parts = ((rows, by_item[rows]) for rows in (wanted[start : start + size] for start in starts))
    all_items = context.executor.share(AllItems(csr_array(by_item.T.tocsr()), lengths, shrink, width))
    try:
        compared = context.executor.map(nearest_of, parts, all_items)
        for start, (found, values) in zip(starts, compared, strict=True):
            done = start + len(found)
            neighbours[start:done], similarities[start:done] = found, values
            context.progress("comparing items", done, len(wanted))
    finally:
        all_items.release()
    used = int((neighbours >= 0).sum(axis=1).max(initial=0))
    return np.ascontiguousarray(neighbours[:, :used]), np.ascontiguousarray(similarities[:, :used])


@dataclass(frozen=True, slots=True)
class AllItems:
    """What items are compared with.

    Attributes:
        by_user: CSR, float32, users by all items; weighted.
        lengths: float32, shape (n_items,); Euclidean length of each column.
        shrink: Added to the denominator of the cosine.
        width: Neighbours that are kept.
    """

    by_user: csr_array
    lengths: FloatArray
    shrink: float
    width: int


def nearest_of(part: tuple[Int64Array, csr_array], all_items: AllItems) -> tuple[Int32Array, FloatArray]:
    """Compare some items with all.

    Args:
        part: The items, int64 (m,), and who likes each, CSR (m, users), weighted.
        all_items: All items.

    Returns:
        Rows, int32 (m, width), -1 pads, and similarities, float32, 0 at pads; best first.
    """
    items, likes = part
    neighbours = np.full((len(items), all_items.width), -1, dtype=np.int32)
    similarities = np.zeros((len(items), all_items.width), dtype=np.float32)
    for start, stop in _blocks(likes, all_items.by_user):
        products = csr_array(likes[start:stop] @ all_items.by_user)
        products.sort_indices()
        rows = np.repeat(items[start:stop], np.diff(products.indptr))
        columns, lengths = products.indices, all_items.lengths
        values = products.data / (lengths[rows] * lengths[columns] + np.float32(all_items.shrink))
        values[columns == rows] = 0.0
        for row in range(stop - start):
            span = slice(products.indptr[row], products.indptr[row + 1])
            near = _largest(values[span], all_items.width)
            neighbours[start + row, : len(near)] = columns[span][near]
            similarities[start + row, : len(near)] = values[span][near]
    return neighbours, similarities


def _blocks(likes: csr_array, by_user: csr_array) -> Iterator[tuple[int, int]]:
    """Ranges of items whose products with all items are few enough to be held at a time."""
    counts = np.diff(by_user.indptr)[likes.indices]
    work = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[likes.indptr[:-1]]
    edges = np.flatnonzero(np.diff(work // NUMBERS_AT_A_TIME)) + 1
    return pairwise([0, *edges.tolist(), likes.shape[0]])


def _largest(values: FloatArray, count: int) -> NDArray[np.intp]:
    """Places of the largest positive values, largest first, ties in their order."""
    least = np.float32(0)
    if len(values) > count:
        least = np.partition(values, len(values) - count)[len(values) - count]
    near = np.flatnonzero(values >= least if least > 0 else values > 0)
    return near[np.argsort(-values[near], kind="stable")[:count]]
