"""The retriever ``friends_of_friends``: authors near those whom somebody follows, and their posts.

Two authors are neighbours if the same people follow them (two hops in the graph of follows: author, follower,
author), weighted by the cosine of their followers. Further hops go from neighbour to neighbour and stay
within a community, as the truncated personalised PageRank does that local graph partitioning uses (Andersen,
Chung and Lang 2006, "Local graph partitioning using PageRank vectors", FOCS)::

    scores = seeds (c P + c**2 P**2 + ... + c**hops P**hops),   c = 1 - restart

with P the row-normalised weights. Of whom a single person follows nothing is kept: a weight rests on as many
followers as ``shared_by`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    ItemWeights,
    Queries,
    Retrieved,
    best_contributors,
)
from recserve_social.authors import Authors
from recserve_social.by_authors import ByAuthors, best_rows
from recserve_social.parameters import FriendsParams

FOLLOWS_OF_A_USER = 1000
"""Newest follows that count: pairs of authors grow with the square of what one person follows."""


class FriendsRetriever(ByAuthors):
    """Authors whom the user does not follow, by their nearness to those that he follows, and their posts.

    Authors whose posts the user liked count as well. A query with a text, or for items similar to one, gets
    nothing.

    Args:
        params: Parameters.
        catalogue: Posts and authors.
    """

    def __init__(self, params: FriendsParams, catalogue: Catalogue) -> None:
        super().__init__(params, catalogue)
        self._params = params
        self._near = _weights(csr_array((len(catalogue), len(catalogue)), dtype=np.float32), 1)

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count shared followers, and take the steps.

        Returns:
            Facts: authors with neighbours, and pairs of them.
        """
        params, authors = self._params, self._authors
        histories = data.histories.known(len(authors))
        follows = histories.where(authors.is_author[histories.items]).last(FOLLOWS_OF_A_USER)
        followed = authors.followed(follows)
        steps = _steps(followed, params.shared_by, params.neighbours)
        near, reached = csr_array(steps.shape, dtype=np.float32), steps
        for hop in range(1, params.hops + 1):
            near = near + reached * np.float32((1 - params.restart) ** hop)
            reached = reached @ steps
        near.setdiag(0)
        self._near = _weights(csr_array(near), params.neighbours)
        return {"authors": int((np.diff(steps.indptr) > 0).sum()), "pairs": int(steps.nnz)}

    def save(self, directory: Path) -> None:
        """Write the nearness of authors; nothing of any user."""
        self._near.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        self._near = ItemWeights.load(directory, len(self._authors))

    def judged(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        """Up to ``k`` authors and posts for each query, with the followed or liked author as evidence.

        Posts count by their authors' nearness, and what was done with them as well; an author who is newer
        than the bundle is near to nobody.
        """
        known = len(self._authors)
        followed = authors.followed(queries.histories)[:, :known]
        seeds = self._seeds(followed, authors.liked(queries.histories)[:, :known])
        found = self._near.totals(seeds)
        # Their posts are what ``following`` is for.
        found[np.repeat(np.arange(len(queries)), np.diff(followed.indptr)), followed.indices] = 0.0
        scores = authors.judge(rows, found, queries.times, self._params.half_life_days)
        scores[~queries.plain] = -np.inf
        items, best = best_rows(scores, rows, queries, k)
        evidence = self._evidence(seeds, authors, items) if queries.wants_evidence else None
        return Retrieved.of(items, best, evidence)

    def _seeds(self, followed: csr_array, liked: csr_array) -> csr_array:
        """Where the steps begin: shares of followed and liked authors, CSR, rows that add up to at most 1."""
        share = self._params.liked_share
        has_both = (np.diff(followed.indptr) > 0) & (np.diff(liked.indptr) > 0)
        of_followed = np.where(has_both, 1 - share, 1.0)
        # Who follows nobody is judged by likes alone, unless they are not to count.
        of_liked = np.where(has_both, share, float(share > 0))
        return csr_array(_by_row(followed, of_followed) + _by_row(liked, of_liked))

    def _evidence(self, seeds: csr_array, authors: Authors, items: Int32Array) -> Int32Array:
        evidence = np.full(items.shape, -1, dtype=np.int32)
        for query in range(len(items)):
            found = items[query][items[query] >= 0]
            span = slice(seeds.indptr[query], seeds.indptr[query + 1])
            if len(found) and span.stop > span.start:
                rows = seeds.indices[span].astype(np.int32)
                writers = np.where(authors.row[found] >= 0, authors.row[found], found).astype(np.int32)
                near: FloatArray = self._near.block(rows, writers) * seeds.data[span][:, None]
                evidence[query, : len(found)] = best_contributors(rows, near)
        return evidence


def _steps(followed: csr_array, shared_by: int, neighbours: int) -> csr_array:
    """Row-normalised cosines of authors by followers, the largest of each row, CSR (n_items, n_items)."""
    shared = csr_array(followed.T @ followed)
    followers = shared.diagonal()
    shared.setdiag(0)
    shared.data[shared.data < shared_by] = 0
    shared.eliminate_zeros()
    scale = diags_array(1 / np.sqrt(np.maximum(followers, 1.0)))
    sources, weights = _largest(csr_array(scale @ shared @ scale), neighbours)
    rows, places = np.nonzero(sources >= 0)
    kept = csr_array((weights[rows, places], (rows, sources[rows, places])), shape=shared.shape)
    return _by_row(kept, np.ones(kept.shape[0]))


def _by_row(matrix: csr_array, totals: FloatArray) -> csr_array:
    """The matrix with each row scaled to a total; empty rows stay empty."""
    sums = matrix.sum(axis=1)
    scale = totals / np.where(sums > 0, sums, 1.0)
    return csr_array((diags_array(scale) @ matrix).astype(np.float32))


def _weights(near: csr_array, width: int) -> ItemWeights:
    """The largest weights towards each item."""
    return ItemWeights(*_largest(csr_array(near.T.tocsr()), width))


def _largest(matrix: csr_array, width: int) -> tuple[Int32Array, FloatArray]:
    """Columns and values of the largest positive entries of each row, shape (n, width); -1 and 0 pad."""
    matrix.sort_indices()
    columns = np.full((matrix.shape[0], width), -1, dtype=np.int32)
    values = np.zeros(columns.shape, dtype=np.float32)
    for row in np.flatnonzero(np.diff(matrix.indptr)):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        entries = matrix.data[span]
        order = np.argsort(-entries, kind="stable")[:width]
        order = order[entries[order] > 0]
        columns[row, : len(order)] = matrix.indices[span][order]
        values[row, : len(order)] = entries[order]
    return columns, values
