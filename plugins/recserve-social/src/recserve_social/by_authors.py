"""What the retrievers that go by authors share: items of the bundle, and those that were written since."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from recserve import Catalogue, FloatArray, Int32Array, Queries, Retrieved, in_parts, mask_columns, top_k
from recserve_social.authors import Authors
from recserve_social.parameters import FollowingParams

# Scores (float32) held at a time: 32 MB.
SCORES_AT_A_TIME = 8_000_000


class ByAuthors(ABC):
    """A retriever that judges items by their authors, as soon as they are written.

    Args:
        params: Which attributes say what.
        catalogue: Posts and authors of the bundle.
    """

    def __init__(self, params: FollowingParams, catalogue: Catalogue) -> None:
        self._columns = params
        self._authors = Authors(params, catalogue)
        # Of the catalogue as it was last, put together once for each state of it.
        self._current = catalogue, self._authors

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """See :class:`recserve.Retriever`."""
        return self._retrieve(queries, self._authors, np.arange(len(self._authors), dtype=np.int32), k)

    def retrieve_written(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        """The same among some rows of a catalogue that is newer than the bundle's."""
        known, authors = self._current
        if known is not catalogue:
            authors = Authors(self._columns, catalogue)
            self._current = catalogue, authors
        return self._retrieve(queries, authors, rows, k)

    def _retrieve(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        size = max(1, SCORES_AT_A_TIME // max(len(authors), 1))
        return in_parts(queries, size, lambda part: self.judged(part, authors, rows, k))

    @abstractmethod
    def judged(self, queries: Queries, authors: Authors, rows: Int32Array, k: int) -> Retrieved:
        """The best of some rows for few queries.

        Args:
            queries: The queries.
            authors: Of the catalogue that the rows are of.
            rows: int32, shape (M,); the items, distinct.
            k: At least 1.
        """


def best_rows(
    scores: FloatArray, rows: Int32Array, queries: Queries, k: int
) -> tuple[Int32Array, FloatArray]:
    """As :func:`recserve.top_k` of the scores of some rows, masks applied in place; items are rows."""
    columns, best = top_k(mask_columns(scores, rows, queries), k)
    return np.where(columns >= 0, rows[columns], np.int32(-1)).astype(np.int32), best
