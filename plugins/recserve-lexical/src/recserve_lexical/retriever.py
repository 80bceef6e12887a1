"""The retriever ``lexical``: BM25 over the words of items' texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import Catalogue, Dataset, FieldsText, FitContext, Queries, Retrieved, mask_columns, top_k
from recserve_lexical.index import Bm25Index
from recserve_lexical.live import LiveIndex
from recserve_lexical.parameters import LexicalParams
from recserve_lexical.words import words


class LexicalRetriever:
    """Retriever of items whose texts share words with the query's.

    Args:
        params: See :class:`recserve_lexical.parameters.LexicalParams`.
        catalogue: The items.
    """

    def __init__(self, params: LexicalParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._text = FieldsText.of(params.fields, catalogue).text
        self._learnt(Bm25Index.build([[]] * len(catalogue), params.k1, params.b))

    def _learnt(self, index: Bm25Index) -> None:
        self._index = index
        self._live = LiveIndex(index, self._text)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items that share words with each query's text, best first; none without a text."""
        found = [self._index.search(wanted) for wanted in _wanted(queries)]
        return _best(queries, found, k)

    def match_words(
        self, queries: Queries, rows: NDArray[np.int32], catalogue: Catalogue, k: int
    ) -> Retrieved:
        """The same among some rows of a catalogue that is newer than the index, on the same scale."""
        found = [
            (
                np.array(sorted(scores), dtype=np.int32),
                np.array([scores[row] for row in sorted(scores)], np.float32),
            )
            for scores in self._live.search(catalogue, rows, _wanted(queries))
        ]
        return _best(queries, found, k)

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Index the catalogue's texts.

        Returns:
            ``words``: how many distinct ones there are; ``mean_length``: words of an item.
        """
        texts = [words(self._text(item)) for item in data.catalogue.items()]
        self._learnt(Bm25Index.build(texts, self._params.k1, self._params.b))
        return {"words": len(self._index.words), "mean_length": round(self._index.mean_length, 3)}

    def save(self, directory: Path) -> None:
        """Write the index."""
        self._index.save(directory)

    def load(self, directory: Path) -> None:
        """Read the index.

        Raises:
            BundleError: See :meth:`recserve_lexical.index.Bm25Index.load`.
        """
        self._learnt(Bm25Index.load(directory, len(self._catalogue)))


def _wanted(queries: Queries) -> list[list[str]]:
    """Distinct words of each query, in their order."""
    return [list(dict.fromkeys(words(text))) if text else [] for text in queries.texts]


def _best(queries: Queries, found: list[tuple[NDArray[np.int32], NDArray[np.float32]]], k: int) -> Retrieved:
    """The k best of what was found for each query and may be returned."""
    width = min(k, max((len(rows) for rows, _ in found), default=0))
    items = np.full((len(queries), width), -1, dtype=np.int32)
    best = np.full((len(queries), width), -np.inf, dtype=np.float32)
    for index, (rows, scores) in enumerate(found):
        if len(rows):
            allowed = mask_columns(scores[None, :], rows, queries.part(index, index + 1))
            columns, values = top_k(allowed, width)
            real = columns[0] >= 0
            items[index, : len(real)] = np.where(real, rows[columns[0]], -1)
            best[index, : len(real)] = values[0]
    return Retrieved.of(items, best)
