"""Sums by label, added up chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from recserve.data.arrays import Float64Array, Int64Array

_MOST_WAITING = 4_000_000
"""Rows that wait until they are added up, which bounds memory."""

Label = tuple[str | None, ...]


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
        if not self._keys:
            return np.empty(0, np.int64), np.empty((0, width))
        keys, ranks = np.unique(np.concatenate(self._keys), return_inverse=True)
        values = np.concatenate(self._values)
        sums = [np.bincount(ranks, values[:, column], len(keys)) for column in range(width)]
        return keys, np.stack(sums, axis=1)


class Labels:
    """Numbers of labels in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[Label, int] = {}

    def numbers(self, labels: Iterable[Label]) -> Int64Array:
        """The number of each label; new ones get the next."""
        known = self._numbers
        return np.array([known.setdefault(label, len(known)) for label in labels], np.int64)

    def columns(self, names: Sequence[str], numbers: Int64Array) -> dict[str, pa.Array]:
        """The labels of some numbers, as dictionary columns of these names."""
        every = [pa.array(values, pa.string()) for values in zip(*self._numbers, strict=True)]
        every = every or [pa.array([], pa.string()) for _ in names]
        codes = pa.array(numbers)
        return {
            name: values.dictionary_encode().take(codes) for name, values in zip(names, every, strict=True)
        }

    def labels(self) -> list[Label]:
        """All labels in the order of their numbers."""
        return list(self._numbers)
