"""Popularity of items, read off their texts where nobody has had them yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from recserve import FloatArray, Int32Array, Int64Array

_RIDGE = 1.0
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Popularity:
    """Log-popularity of the items of a catalogue, and a linear guess at that of others.

    Attributes:
        values: float32, shape (n_items,); log(1 + positive events), the guess where there are none.
        weights: float32, shape (d + 1,); of a text vector and of 1, by ridge regression.
    """

    values: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, counts: Int64Array, vectors: FloatArray) -> Self:
        """Learn from positive events of each item.

        Args:
            counts: int64, shape (n_items,).
            vectors: float32, shape (n_items, d).
        """
        seen = np.flatnonzero(counts > 0)
        known = np.log1p(counts).astype(np.float64)
        mean = known[seen].mean() if len(seen) else 0.0
        gram = _RIDGE * np.eye(vectors.shape[1])
        target = np.zeros(vectors.shape[1])
        for start in range(0, len(seen), _BLOCK):
            rows = seen[start : start + _BLOCK]
            text = vectors[rows].astype(np.float64)
            gram += text.T @ text
            target += text.T @ (known[rows] - mean)
        weights = np.append(np.linalg.solve(gram, target), mean).astype(np.float32)
        values = known.astype(np.float32)
        for start in range(0, len(counts), _BLOCK):
            rows = start + np.flatnonzero(counts[start : start + _BLOCK] == 0)
            values[rows] = vectors[rows] @ weights[:-1] + weights[-1]
        return cls(values, weights)

    def guess(self, vectors: FloatArray) -> FloatArray:
        """By texts alone, float32, shape (M,)."""
        return np.asarray(vectors @ self.weights[:-1] + self.weights[-1], dtype=np.float32)

    def of_rows(self, rows: Int32Array, extra: FloatArray | None) -> FloatArray:
        """Of rows of any shape; rows behind the catalogue are guessed by their vectors, pads are 0.

        Args:
            rows: int32.
            extra: See :attr:`recserve.Queries.extra_vectors`.
        """
        found = np.zeros(rows.shape, dtype=np.float32)
        inside = (rows >= 0) & (rows < len(self.values))
        found[inside] = self.values[rows[inside]]
        if extra is not None and len(extra):
            live = (rows >= len(self.values)) & (rows < len(self.values) + len(extra))
            found[live] = self.guess(extra[rows[live] - len(self.values)])
        return found
