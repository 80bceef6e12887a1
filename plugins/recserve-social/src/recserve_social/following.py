"""The retriever ``following``: what the authors whom somebody follows have posted."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Int32Array, Queries, Retrieved, in_parts, mask_columns, top_k
from recserve_social.authors import Authors, CurrentAuthors
from recserve_social.parameters import FollowingParams

# Scores (float32) held at a time: 32 MB.
SCORES_AT_A_TIME = 8_000_000


class FollowingRetriever:
    """Posts of followed authors, newest first.

    Nothing is learnt: a follow, or the end of one, counts with the very next request. A query with a text, or
    for items similar to one, gets nothing.

    Args:
        params: Parameters.
        catalogue: Posts and authors.
    """

    def __init__(self, params: FollowingParams, catalogue: Catalogue) -> None:
        self._params = params
        self._authors = Authors(params, catalogue)
        self._current = CurrentAuthors(params)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` posts for each query, with the author as evidence."""
        return self._retrieve(queries, self._authors, self._authors.rows(), k)

    def retrieve_written(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        """The same among some rows of a catalogue that is newer than the bundle's."""
        return self._retrieve(queries, self._current.of(catalogue), rows, k)

    def _retrieve(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        size = max(1, SCORES_AT_A_TIME // max(len(authors), 1))
        return in_parts(queries, size, lambda part: self._posts(part, authors, rows, k))

    def _posts(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        followed = authors.followed(queries.histories).toarray()
        scores = authors.judge(rows, followed, queries.times, self._params.half_life_days)
        scores[:, authors.row[rows] < 0] = -np.inf
        scores[~queries.plain] = -np.inf
        columns, best = top_k(mask_columns(scores, rows, queries), k)
        items = np.where(columns >= 0, rows[columns], np.int32(-1)).astype(np.int32)
        evidence: Int32Array = np.where(items >= 0, authors.row[items], np.int32(-1)).astype(np.int32)
        return Retrieved.of(items, best, evidence)
