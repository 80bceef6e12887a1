"""The retriever ``user_knn``: items that the most similar users like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recserve import (
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Queries,
    Retrieved,
    best_contributors,
    flat_ranges,
    in_parts,
    mask_scores,
    places_within,
    read_item_lists,
    taste_vectors,
    top_k,
)
from recserve_neighbours.groups import pooled
from recserve_neighbours.parameters import UserKnnParams, why_not_kept
from recserve_neighbours.weighting import Weighting, norms

ITEMS_FILE = "group_items.npy"
LIKES_FILE = "group_likes.npy"

# Dense numbers (float32) held at a time while scoring: 32 MB.
NUMBERS_AT_A_TIME = 8_000_000


class UserKnnRetriever:
    """Items that similar people like: ``score(i) = sum of similarity(v) ** power * likes(v, i)``.

    The sum is over the people, or groups of people, whose likes have the largest shrunk cosine with the
    query's history. Where similar items are asked for, the given one weighs most in that history. Seeds
    are the items of the history that brought most of an item's score through the neighbours. An item that
    no neighbour likes is not returned.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: UserKnnParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        self._use(csr_array((0, self._n_items), dtype=np.float32))

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Take everybody's likes, or pool them."""
        params = self._params
        matrix = data.matrix()
        matrix.data **= np.float32(params.confidence_power)
        if params.group_size is None:
            people = csr_array(matrix[np.flatnonzero(np.diff(matrix.indptr))])
            self._use(people)
            return {"people": people.shape[0]}
        groups = pooled(matrix, params.group_size, params.shared_by, context.seed, context.executor)
        self._use(groups)
        return {"groups": groups.shape[0], "likes": groups.nnz}

    def save(self, directory: Path) -> None:
        """Write what each group likes.

        Raises:
            ConfigError: The neighbours are single people.
        """
        refused = why_not_kept(self._params)
        if refused is not None:
            raise ConfigError(refused)
        likes = self._likes
        counts = np.diff(likes.indptr)
        owners = np.repeat(np.arange(likes.shape[0]), counts)
        places = places_within(counts)
        items = np.full((likes.shape[0], int(counts.max(initial=0))), -1, dtype=np.int32)
        values = np.zeros(items.shape, dtype=np.float32)
        items[owners, places], values[owners, places] = likes.indices, likes.data
        np.save(directory / ITEMS_FILE, items, allow_pickle=False)
        np.save(directory / LIKES_FILE, values, allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        items, values = read_item_lists(
            directory / ITEMS_FILE, directory / LIKES_FILE, self._n_items, lowest=0.0
        )
        owners, places = np.nonzero(items >= 0)
        likes = csr_array(
            (values[owners, places], (owners, items[owners, places])), shape=(len(items), self._n_items)
        )
        likes.sum_duplicates()
        self._use(likes)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items for each query, best first, with the items of the history behind them."""
        size = max(1, NUMBERS_AT_A_TIME // max(self._n_items, self._likes.shape[0], 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _use(self, likes: csr_array) -> None:
        likes.sort_indices()
        self._likes = likes
        self._weighting = Weighting(self._params.weighting, likes)
        self._compared = self._weighting(likes)
        self._by_item = csr_array(self._compared.T.tocsr())
        self._lengths = norms(self._compared)

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        params = self._params
        taste = taste_vectors(
            queries,
            self._n_items,
            power=params.confidence_power,
            half_life_events=params.half_life_events,
            personal_share=params.personal_share,
        )
        taste = self._weighting(taste)
        denominators = norms(taste)[:, None] * self._lengths + np.float32(params.shrink)
        similarities = (taste @ self._by_item).toarray()
        with np.errstate(invalid="ignore"):
            similarities /= denominators
        # NaN stands for somebody who likes nothing.
        similarities[~(similarities > 0)] = -np.inf
        near, nearness = top_k(similarities, math.ceil(params.neighbours / (params.group_size or 1)))
        say = np.where(near >= 0, nearness, np.float32(0)) ** np.float32(params.similarity_power)
        scores = self._scores(near, say)
        scores[scores <= 0] = -np.inf
        items, best = top_k(mask_scores(scores, queries), k)
        if not queries.wants_evidence:
            return Retrieved.of(items, best)
        return Retrieved(items, best, self._evidence(taste, near, nearness, denominators, items))

    def _scores(self, near: Int32Array, say: FloatArray) -> FloatArray:
        """float32, shape (B, n_items)."""
        queries, places = np.nonzero(near >= 0)
        shape = (len(near), self._likes.shape[0])
        voices = csr_array((say[queries, places], (queries, near[queries, places])), shape=shape)
        voices.sort_indices()
        return np.asarray((voices @ self._likes).toarray(), dtype=np.float32)

    def _evidence(
        self,
        taste: csr_array,
        near: Int32Array,
        nearness: FloatArray,
        denominators: FloatArray,
        items: Int32Array,
    ) -> Int32Array:
        """The item of each history that contributed most to each returned item."""
        seeds = np.full(items.shape, -1, dtype=np.int32)
        columns = np.full(self._n_items, -1, dtype=np.int32)
        for query in range(len(items)):
            found = items[query][items[query] >= 0]
            voices = near[query][near[query] >= 0]
            span = slice(taste.indptr[query], taste.indptr[query + 1])
            liked, weights = taste.indices[span], taste.data[span]
            # A neighbour's similarity is a sum over the history; each summand takes its share of the say.
            factor = nearness[query, : len(voices)] ** np.float32(self._params.similarity_power - 1.0)
            factor /= denominators[query, voices]
            shared = _block(self._compared, voices, liked, columns)
            wanted = _block(self._likes, voices, found, columns) * factor[:, None]
            contributions = (shared.T @ wanted) * weights[:, None]
            seeds[query, : len(found)] = best_contributors(liked, contributions)
        return seeds


def _block(matrix: csr_array, rows: Int32Array, wanted: Int32Array, columns: Int32Array) -> FloatArray:
    """Some rows and columns as a dense matrix.

    Args:
        matrix: CSR, float32.
        rows: int32, shape (r,).
        wanted: int32, shape (c,); distinct columns.
        columns: int32, shape (n,), all -1; used in between and handed back as it was.

    Returns:
        float32, shape (r, c).
    """
    columns[wanted] = np.arange(len(wanted), dtype=np.int32)
    starts, ends = matrix.indptr[rows], matrix.indptr[rows + 1]
    lengths = ends - starts
    _, index = flat_ranges(starts, lengths)
    places = columns[matrix.indices[index]]
    hit = places >= 0
    block = np.zeros((len(rows), len(wanted)), dtype=np.float32)
    block[np.repeat(np.arange(len(rows)), lengths)[hit], places[hit]] = matrix.data[index][hit]
    columns[wanted] = -1
    return block
