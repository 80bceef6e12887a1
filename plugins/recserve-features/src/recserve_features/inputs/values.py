"""One attribute of all items as codes or numbers, gathered for candidates without a loop over items."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recserve import (
    AttributeColumn,
    BoolArray,
    Float64Array,
    FloatArray,
    Int32Array,
    Int64Array,
    flat_ranges,
)

DENSE = 2**22
"""Sums of at most so many cells are held in a dense array."""


def number_of(value: Any) -> float:
    """A JSON value as a number, NaN where it is none; true and false are 1 and 0."""
    return float(value) if isinstance(value, int | float) else float("nan")


def labels_of(value: Any) -> list[str]:
    """The labels that a JSON value stands for: of a list those of its entries, each once."""
    listed = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(str(entry) for entry in listed if isinstance(entry, str | int | float)))


def numbers(column: AttributeColumn) -> FloatArray:
    """A numeric attribute of all items, float32, shape (n_items,), NaN where it is missing."""
    worked_out = np.array([number_of(value) for value in column.values], dtype=np.float32)
    return worked_out[column.codes]


@dataclass(frozen=True)
class ItemLabels:
    """The labels of one attribute of all items, ragged: none, one or several an item.

    Attributes:
        offsets: int64, shape (n_items + 1,).
        codes: int32, shape (N,); numbers of labels.
        size: Different labels.
    """

    offsets: Int64Array
    codes: Int32Array
    size: int

    @classmethod
    def of(cls, column: AttributeColumn) -> ItemLabels:
        """Number the labels in the order in which the column's values have them."""
        numbered: dict[str, int] = {}
        rows = [
            [numbered.setdefault(label, len(numbered)) for label in labels_of(value)]
            for value in column.values
        ]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        flat = np.array([code for row in rows for code in row], dtype=np.int32)
        offsets, index = flat_ranges(starts[column.codes], lengths[column.codes])
        return cls(offsets, flat[index], len(numbered))

    @classmethod
    def identity(cls, n_items: int) -> ItemLabels:
        """Each item is its own label."""
        return cls(np.arange(n_items + 1, dtype=np.int64), np.arange(n_items, dtype=np.int32), n_items)

    def single(self) -> Int32Array:
        """The first label of each item, int32, shape (n_items,), -1 where there is none."""
        found = np.full(len(self.offsets) - 1, -1, dtype=np.int32)
        some = self.offsets[1:] > self.offsets[:-1]
        found[some] = self.codes[self.offsets[:-1][some]]
        return found

    def spread(self, items: Int64Array) -> Labelled:
        """The labels of some items.

        Args:
            items: int64, shape (M,); rows of the catalogue, none beyond it.
        """
        starts = self.offsets[items]
        lengths = self.offsets[items + 1] - starts
        return Labelled(
            np.repeat(np.arange(len(items), dtype=np.int64), lengths),
            self.codes[flat_ranges(starts, lengths)[1]].astype(np.int64),
            len(items),
        )


@dataclass(frozen=True)
class Labelled:
    """The labels of M items, flat.

    Attributes:
        places: int64, shape (N,); the item, 0 to M - 1, of each label; not decreasing.
        codes: int64, shape (N,).
        size: M.
    """

    places: Int64Array
    codes: Int64Array
    size: int

    def mean(self, values: Float64Array) -> Float64Array:
        """Mean of a value a label (float64, shape (N,)) over each item's labels, NaN for items without."""
        counts = np.bincount(self.places, minlength=self.size)
        sums = np.bincount(self.places, values, minlength=self.size)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Sums:
    """Sums of weights by key, dense or sorted, whichever is smaller.

    Attributes:
        keys: int64, sorted; None where ``sums`` has an entry for every key.
        sums: float64.
    """

    keys: Int64Array | None
    sums: Float64Array

    @classmethod
    def of(cls, keys: Int64Array, weights: Float64Array, size: int) -> Sums:
        """Add up weights (shape (N,)) by key (shape (N,), below ``size``)."""
        if size <= DENSE:
            return cls(None, added(keys, weights, size))
        unique, place = np.unique(keys, return_inverse=True)
        return cls(unique, added(place, weights, len(unique)))

    def at(self, keys: Int64Array) -> Float64Array:
        """The sum of each key, 0 for keys that do not occur."""
        if self.keys is None:
            return self.sums[keys]
        if not len(self.keys):
            return np.zeros(keys.shape)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.sums[place], 0.0)


def added(keys: Int64Array | Int32Array, weights: Float64Array, size: int) -> Float64Array:
    """Sums of weights by key, float64, shape (size,)."""
    return np.asarray(np.bincount(keys, weights, minlength=size), dtype=np.float64)


def ranks(scores: FloatArray, present: BoolArray) -> FloatArray:
    """Ranks from 0 within each row, highest score first and what is absent last, float32, shape (B, K)."""
    order = np.argsort(np.where(present, -scores, np.inf), axis=1, kind="stable")
    places = np.broadcast_to(np.arange(scores.shape[1], dtype=np.float32), scores.shape)
    found = np.empty(scores.shape, dtype=np.float32)
    np.put_along_axis(found, order, places, axis=1)
    return found


def joined(parts: Iterable[FloatArray]) -> FloatArray:
    """Columns as one matrix, float32."""
    return np.ascontiguousarray(np.stack(list(parts), axis=-1), dtype=np.float32)
