"""Sums by label, added up chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import Float64Array, Int64Array

L = TypeVar("L")

_FEW = 1 << 20
_MOST_WAITING = 4_000_000
"""Rows that wait until they are added up, which bounds memory."""


class Sums:
    """Sums by a number that says of what they are, added to chunk by chunk."""

    def __init__(self) -> None:
        self._keys: list[Int64Array] = []
        self._values: list[Float64Array] = []
        self._waiting = 0

    def add(self, keys: Int64Array, values: Float64Array) -> None:
        """Add values, float64 of shape (N, width), of keys of shape (N,), which may repeat."""
        self._keys.append(keys)
        self._values.append(values)
        self._waiting += len(keys)
        if self._waiting > _MOST_WAITING:
            merged, sums = self.merged(values.shape[1])
            self._keys, self._values, self._waiting = [merged], [sums], 0

    def merged(self, width: int) -> tuple[Int64Array, Float64Array]:
        """Distinct keys, ascending, and their sums of shape (keys, width)."""
        if not self._waiting and not self._keys:
            return np.empty(0, np.int64), np.empty((0, width))
        every = np.concatenate(self._keys)
        keys, ranks = distinct(every, int(every.max(initial=-1)) + 1)
        values = np.concatenate(self._values)
        columns = [np.bincount(ranks, values[:, column], len(keys)) for column in range(width)]
        return keys, np.stack(columns, axis=1)


class Labels(Generic[L]):
    """Numbers of labels in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[L, int] = {}

    def numbers(self, labels: Iterable[L]) -> Int64Array:
        """The number of each label; new ones get the next."""
        known = self._numbers
        return np.array([known.setdefault(label, len(known)) for label in labels], np.int64)

    def labels(self) -> list[L]:
        """All labels in the order of their numbers."""
        return list(self._numbers)


class Texts:
    """Numbers of distinct texts, such as the ids of items, in the order in which they are met."""

    def __init__(self) -> None:
        self.labels: pa.StringArray = pa.array([], pa.string())
        """All texts in the order of their numbers."""

    def numbers(self, texts: pa.StringArray) -> Int64Array:
        """The number of each of some distinct texts; new ones get the next."""
        found = pc.fill_null(pc.index_in(texts, value_set=self.labels), -1)
        numbers: Int64Array = found.to_numpy().astype(np.int64)
        new = numbers < 0
        numbers[new] = np.arange(len(self.labels), len(self.labels) + np.count_nonzero(new))
        self.labels = pa.concat_arrays([self.labels, texts.filter(pa.array(new))])
        return numbers


def distinct(keys: Int64Array, size: int) -> tuple[Int64Array, Int64Array]:
    """Distinct keys, ascending, and the place of each entry among them.

    Args:
        keys: int64, shape (N,), not negative.
        size: What all keys are below; without sorting if it is not much larger than N.
    """
    if size > max(4 * len(keys), _FEW):
        found, places = np.unique(keys, return_inverse=True)
        return found, places
    seen = np.zeros(size, np.bool_)
    seen[keys] = True
    found = np.flatnonzero(seen)
    ranks = np.empty(size, np.int64)
    ranks[found] = np.arange(len(found))
    return found, ranks[keys]
