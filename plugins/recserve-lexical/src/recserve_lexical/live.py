"""Index of the texts of items that came or changed after training, kept up with the catalogue."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recserve import Catalogue, Item
from recserve_lexical.index import Bm25Index
from recserve_lexical.words import words


class LiveIndex:
    """Words of items that the trained index does not hold. Safe to use from several threads.

    Args:
        index: The trained index; its counts say how rare a word is.
        text: Renders an item.
    """

    def __init__(self, index: Bm25Index, text: Callable[[Item], str]) -> None:
        self._index = index
        self._text = text
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None
        self._written: dict[int, str] = {}
        self._weights: dict[int, dict[str, float]] = {}
        self._holding: defaultdict[str, set[int]] = defaultdict(set)

    def search(
        self, catalogue: Catalogue, rows: NDArray[np.int32], wanted: Sequence[Sequence[str]]
    ) -> list[dict[int, float]]:
        """Scores of the rows that hold any of a query's distinct words, for each query.

        Args:
            catalogue: With the items as they are now.
            rows: int32, shape (M,); the rows to search.
            wanted: Words of each query.
        """
        with self._lock:
            if catalogue is not self._catalogue:
                self._follow(catalogue, rows)
            return [self._scores(query) for query in wanted]

    def _scores(self, wanted: Sequence[str]) -> dict[int, float]:
        scores: defaultdict[int, float] = defaultdict(float)
        for word in wanted:
            for row in self._holding.get(word, ()):
                scores[row] += self._weights[row][word]
        return scores

    def _follow(self, catalogue: Catalogue, rows: NDArray[np.int32]) -> None:
        """Index anew what was written since the last time, and nothing else."""
        current = {row: catalogue.attributes_json[row] for row in rows.tolist()}
        for row in [row for row, text in self._written.items() if current.get(row) != text]:
            for word in self._weights.pop(row):
                self._holding[word].discard(row)
            del self._written[row]
        for row, text in current.items():
            if row not in self._written:
                self._written[row] = text
                self._weights[row] = self._index.weigh(words(self._text(catalogue.item(row))))
                for word in self._weights[row]:
                    self._holding[word].add(row)
        self._catalogue = catalogue
