"""Vectors of items in named spaces, such as ``image``: as they are given, and as catalogues hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.vocabulary import Vocabulary

_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class NamedVectors:
    """Vectors of some items in one space, as they were given.

    Attributes:
        item_ids: n external ids, each once.
        vectors: float32, shape (n, d); finite, and no row is zero.
    """

    item_ids: Sequence[str]
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.item_ids)

    def over(self, ids: Vocabulary) -> FloatArray:
        """Vectors of all items, float32, shape (len(ids), d): unit rows, zeros where there is none."""
        out = np.zeros((len(ids), self.vectors.shape[1]), dtype=np.float32)
        rows = ids.rows(self.item_ids)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            known = part >= 0
            out[part[known]] = unit_rows(self.vectors[start : start + _BLOCK][known])
        return out


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Rows scaled to unit length, float32, shape (n, d); a zero row stays zero."""
    # Scaled first: the square of a large number overflows.
    wide = vectors.astype(np.float64)
    wide /= np.maximum(np.abs(wide).max(axis=1, keepdims=True, initial=0), np.finfo(np.float64).tiny)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: FloatArray = (wide / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True)
class LaterVectors:
    """Vectors of one space that came after a bundle was trained, or took the place of the bundle's.

    Attributes:
        rows: int32, shape (C,); rows of the catalogue, ascending; those behind the bundle's are new items.
        vectors: float32, shape (C, d), unit rows; zeros where a vector was taken away.
    """

    rows: Int32Array
    vectors: FloatArray

    def put_over(self, rows: Int32Array, found: FloatArray) -> None:
        """Overwrite vectors of rows, float32, shape ``rows.shape + (d,)``, where these are newer."""
        if not len(self.rows):
            return
        place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        hit = self.rows[place] == rows
        found[hit] = self.vectors[place[hit]]


def vectors_in(
    space: FloatArray, name: str, rows: Int32Array, later: Mapping[str, LaterVectors]
) -> FloatArray:
    """Vectors of rows in one space.

    Args:
        space: float32, shape (n_items, d), possibly memory-mapped; those of the bundle.
        name: Name of the space.
        rows: int32, any shape.
        later: What is newer, by space; see :attr:`recserve.Queries.later_vectors`.

    Returns:
        float32, shape ``rows.shape + (d,)``; zeros where there is none.
    """
    out = np.zeros((*rows.shape, space.shape[1]), dtype=np.float32)
    known = (rows >= 0) & (rows < len(space))
    out[known] = space[rows[known]]
    if name in later:
        later[name].put_over(rows, out)
    return out
