"""The retriever ``following``: what the authors whom somebody follows have posted."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Int32Array, Queries, Retrieved, in_parts, mask_scores, top_k
from recserve_social.authors import Authors
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

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` posts for each query, with the author as evidence."""
        size = max(1, SCORES_AT_A_TIME // max(len(self._authors), 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        authors = self._authors
        followed = authors.followed(queries.histories).toarray()
        scores = authors.items(followed, queries.times, self._params.half_life_days)
        scores[:, authors.is_author] = -np.inf
        scores[~queries.plain] = -np.inf
        items, best = top_k(mask_scores(scores, queries), k)
        evidence: Int32Array = np.where(items >= 0, authors.row[items], np.int32(-1)).astype(np.int32)
        return Retrieved.of(items, best, evidence)
