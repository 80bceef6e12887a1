"""The retriever ``item_knn``: the most similar items of each item, by who likes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recserve import (
    Catalogue,
    ComparedItems,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Int64Array,
    Queries,
    Retrieved,
    in_parts,
    mask_scores,
    most_similar,
    read_item_lists,
    taste_vectors,
    top_k,
    top_k_of_products,
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

# Scores (float32) held at a time: 32 MB.
NUMBERS_AT_A_TIME = 8_000_000


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
        if by_item.nnz <= np.iinfo(np.int32).max:
            # Half the memory, and what compiled kernels read.
            by_item.indices = by_item.indices.astype(np.int32)
            by_item.indptr = by_item.indptr.astype(np.int32)
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
        anchored = (queries.anchors >= 0) & (queries.anchors < self._n_items)
        if not anchored.any():
            items, best = top_k_of_products(taste, self._by_item, queries, k)
            evidence = self._evidence(taste, items, queries.anchors, {}) if queries.wants_evidence else None
            return Retrieved.of(items, best, evidence)
        scores = (taste @ self._by_item).toarray()
        similar: dict[int, tuple[Int32Array, FloatArray]] = {}
        for query in np.flatnonzero(anchored).tolist():
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
    width = min(params.neighbours or DEFAULT_NEIGHBOURS, max(n_items - 1, 0))
    compared = ComparedItems(csr_array(by_item.T.tocsr()), norms(by_item), shrink, width)
    return most_similar(by_item, compared, context, wanted)
