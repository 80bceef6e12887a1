"""Bounded cache of scores by history and item; the least recently used go first."""

from __future__ import annotations

import threading
from hashlib import blake2b

import numpy as np
from cachetools import LRUCache

from recserve import FloatArray, Int32Array


class ScoreCache:
    """LRU cache of scores. Safe to call from several threads.

    Args:
        size: Most scores that are kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._scores: LRUCache[bytes, float] = LRUCache(size)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._scores)

    @staticmethod
    def keys(history: Int32Array, items: Int32Array) -> list[bytes]:
        """A key for each item: what was liked, in order, and the item."""
        digest = blake2b(np.ascontiguousarray(history, dtype="<i4").tobytes(), digest_size=12).digest()
        return [digest + int(row).to_bytes(4, "little", signed=True) for row in items]

    def get(self, keys: list[bytes]) -> FloatArray:
        """Known scores, float32, shape of ``keys``; NaN where there is none."""
        found = np.full(len(keys), np.nan, dtype=np.float32)
        with self._lock:
            for place, key in enumerate(keys):
                found[place] = self._scores.get(key, np.nan)
        return found

    def put(self, keys: list[bytes], scores: FloatArray) -> None:
        """Keep scores, and drop the least recently used beyond the size."""
        if not self._scores.maxsize:
            return
        with self._lock:
            self._scores.update(zip(keys, scores.tolist(), strict=True))
