"""The retriever ``following``: what the authors whom somebody follows have posted."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Int32Array, Queries, Retrieved
from recserve_social.authors import Authors
from recserve_social.by_authors import ByAuthors, best_rows
from recserve_social.parameters import FollowingParams


class FollowingRetriever(ByAuthors):
    """Posts of followed authors, newest first.

    Nothing is learnt: a follow, or the end of one, counts with the very next request. A query with a text, or
    for items similar to one, gets nothing.

    Args:
        params: Parameters.
        catalogue: Posts and authors.
    """

    def __init__(self, params: FollowingParams, catalogue: Catalogue) -> None:
        super().__init__(params, catalogue)
        self._params = params

    def judged(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        """Up to ``k`` posts for each query, with the author as evidence."""
        followed = authors.followed(queries.histories).toarray()
        scores = authors.judge(rows, followed, queries.times, self._params.half_life_days)
        scores[:, authors.row[rows] < 0] = -np.inf
        scores[~queries.plain] = -np.inf
        items, best = best_rows(scores, rows, queries, k)
        evidence: Int32Array = np.where(items >= 0, authors.row[items], np.int32(-1)).astype(np.int32)
        return Retrieved.of(items, best, evidence)
