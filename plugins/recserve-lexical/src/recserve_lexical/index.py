"""BM25 index of a catalogue's texts, and of what is written after training on the same scale."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recserve import BundleError, read_array

_FACTS = "lexical.json"
_WORDS = "words.json"
_OFFSETS, _ROWS, _WEIGHTS = "offsets.npy", "rows.npy", "weights.npy"


@dataclass(frozen=True)
class Bm25Index:
    """Inverted file: for each word the items that hold it and what it is worth there.

    The weights are those of Lucene's BM25 (Kamphuis et al. 2020), computed when the index is built, so that a
    search only adds them up.

    Attributes:
        words: Distinct words, sorted; a word's place is its number.
        offsets: int64, shape (V + 1,); word v has the entries ``offsets[v]:offsets[v + 1]``.
        rows: int32, shape (E,); items, possibly memory-mapped.
        weights: float32, shape (E,); worth of the word in the item.
        items: Items that were indexed.
        mean_length: Mean number of words of an item.
        k1: Saturation of repeated words.
        b: Normalisation by length.
    """

    words: Sequence[str]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    items: int
    mean_length: float
    k1: float
    b: float

    @classmethod
    def build(cls, texts: Sequence[Sequence[str]], k1: float, b: float) -> Bm25Index:
        """Index the words of each item."""
        known = sorted({word for text in texts for word in text})
        length = sum(map(len, texts)) / max(len(texts), 1)
        if not known:
            nothing = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
            return cls(known, np.zeros(1, dtype=np.int64), *nothing, len(texts), length, k1, b)
        from bm25s import BM25

        # The library makes its logger say every step.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        numbers = {word: number for number, word in enumerate(known)}
        index = BM25(k1=k1, b=b, method="lucene")
        # A copy: the library adds a word of its own.
        index.index(
            ([[numbers[word] for word in text] for text in texts], dict(numbers)), show_progress=False
        )
        scores = index.scores
        offsets = np.asarray(scores["indptr"], dtype=np.int64)[: len(known) + 1]
        rows = np.asarray(scores["indices"], dtype=np.int32)[: offsets[-1]]
        weights = np.asarray(scores["data"], dtype=np.float32)[: offsets[-1]]
        return cls(known, offsets, rows, weights, len(texts), length, k1, b)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def search(self, wanted: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Items with any of some distinct words, int32 (M,), and their scores, float32 (M,)."""
        numbers = [self._numbers[word] for word in wanted if word in self._numbers]
        entries = [slice(self.offsets[number], self.offsets[number + 1]) for number in numbers]
        if not entries:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
        rows, place = np.unique(np.concatenate([self.rows[at] for at in entries]), return_inverse=True)
        weights = np.concatenate([self.weights[at] for at in entries])
        return rows, np.bincount(place, weights=weights, minlength=len(rows)).astype(np.float32)

    def weigh(self, text: Sequence[str]) -> dict[str, float]:
        """What each word of a text that was not indexed is worth in it, by the counts of those that were."""
        norm = self.k1 * (1 - self.b + self.b * len(text) / self.mean_length) if self.mean_length else self.k1
        return {word: self._rarity(word) * count / (count + norm) for word, count in Counter(text).items()}

    def _rarity(self, word: str) -> float:
        number = self._numbers.get(word)
        holding = 0 if number is None else int(self.offsets[number + 1] - self.offsets[number])
        return float(np.log1p((self.items - holding + 0.5) / (holding + 0.5)))

    def save(self, directory: Path) -> None:
        """Write the index; equal indexes give equal bytes."""
        facts = {"items": self.items, "mean_length": self.mean_length, "k1": self.k1, "b": self.b}
        (directory / _FACTS).write_text(json.dumps(facts, sort_keys=True, indent=1) + "\n")
        (directory / _WORDS).write_text(json.dumps(list(self.words), ensure_ascii=False), encoding="utf-8")
        np.save(directory / _OFFSETS, self.offsets, allow_pickle=False)
        np.save(directory / _ROWS, self.rows, allow_pickle=False)
        np.save(directory / _WEIGHTS, self.weights, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, n_items: int) -> Bm25Index:
        """Read what :meth:`save` wrote; entries stay on disk, memory-mapped.

        Raises:
            BundleError: A file is missing, damaged or made for another catalogue.
        """
        try:
            facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
            words = [str(word) for word in json.loads((directory / _WORDS).read_text(encoding="utf-8"))]
            items, numbers = int(facts["items"]), [float(facts[name]) for name in ("mean_length", "k1", "b")]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"lexical index in {directory}: {' '.join(str(error).split())}") from None
        offsets = read_array(directory / _OFFSETS, np.int64, (len(words) + 1,))
        rows = read_array(directory / _ROWS, np.int32, (int(offsets[-1]),))
        weights = read_array(directory / _WEIGHTS, np.float32, rows.shape)
        outside = rows.size and not (int(rows.min()) >= 0 and int(rows.max()) < n_items)
        if items != n_items or outside or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise BundleError(f"lexical index in {directory}: made for {items} items, not these {n_items}")
        return cls(words, offsets, rows, weights, items, *numbers)
