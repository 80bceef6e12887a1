"""DeepFM as arrays, and its scores: a sum of table rows, a square, and the deeper layers.

With a linear weight w and an embedding e for the entry of each field, the factorisation machine gives
``sum w + (|sum e|^2 - sum |e|^2) / 2`` (Rendle 2010). The deep part reads the same embeddings side by side;
as each field has weights of its own in the first layer, that layer is a sum over fields as well. So all that
depends on single entries is worked out once: a row of ``1 + width + units`` numbers an entry. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from recserve import FloatArray, Int32Array

# Candidates scored at once: what is worked out in between stays in the processor's cache.
_ROWS = 4096


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Attributes:
        fields: Entries of each of the F fields.
        width: d, length of an embedding.
        hidden: Units of the deep part's layers.
    """

    fields: tuple[int, ...]
    width: int
    hidden: tuple[int, ...]

    def parts(self) -> list[tuple[int, ...]]:
        """Shapes of the arrays: linear weights, embeddings, then weights and biases of each layer."""
        entries, inputs = sum(self.fields), len(self.fields) * self.width
        found: list[tuple[int, ...]] = [(entries,), (entries, self.width)]
        for units in (*self.hidden, 1):
            found += [(inputs, units), (units,)]
            inputs = units
        return found

    @property
    def size(self) -> int:
        """Numbers in all arrays together."""
        return sum(int(np.prod(part)) for part in self.parts())


@dataclass(frozen=True)
class Network:
    """A DeepFM that scores.

    Attributes:
        shape: Sizes.
        flat: float32, shape (``shape.size``,); all arrays one after the other.
    """

    shape: Shape
    flat: FloatArray

    def __post_init__(self) -> None:
        """Refuse what does not fit.

        Raises:
            ValueError: The numbers are too many, too few, or not finite.
        """
        if self.flat.shape != (self.shape.size,):
            raise ValueError(f"the network has {self.flat.size} numbers, not {self.shape.size}")
        if not np.isfinite(self.flat).all():
            raise ValueError("the network has numbers that are not finite")

    def arrays(self) -> list[FloatArray]:
        """The arrays; see :meth:`Shape.parts`."""
        found, start = [], 0
        for part in self.shape.parts():
            size = int(np.prod(part))
            found.append(self.flat[start : start + size].reshape(part))
            start += size
        return found

    @cached_property
    def _table(self) -> FloatArray:
        """What each entry adds: to the score, to the sum of embeddings, to the first layer."""
        linear, embeddings, weights = self.arrays()[:3]
        ends = np.cumsum(self.shape.fields)
        rows = np.concatenate(
            [
                embeddings[end - size : end] @ weights[field * self.shape.width :][: self.shape.width]
                for field, (size, end) in enumerate(zip(self.shape.fields, ends.tolist(), strict=True))
            ]
        )
        alone = linear - 0.5 * (embeddings**2).sum(axis=1)
        return np.ascontiguousarray(np.concatenate([alone[:, None], embeddings, rows], axis=1))

    @cached_property
    def _deeper(self) -> Sequence[tuple[FloatArray, FloatArray]]:
        """Weights and biases of the layers; of the first one only the bias is of use."""
        arrays = self.arrays()
        return list(zip(arrays[2::2], arrays[3::2], strict=True))

    def scores(self, entries: Int32Array) -> FloatArray:
        """Scores of candidates, each for itself.

        Args:
            entries: int32, shape (N, F); rows of the table.

        Returns:
            float32, shape (N,).
        """
        if not len(entries):
            return np.empty(0, dtype=np.float32)
        parts = [self._part(entries[start : start + _ROWS]) for start in range(0, len(entries), _ROWS)]
        return np.concatenate(parts)

    def _part(self, entries: Int32Array) -> FloatArray:
        count, fields = entries.shape
        ones = np.ones(entries.size, dtype=np.float32)
        offsets = np.arange(0, entries.size + 1, fields, dtype=np.int32)
        chosen = csr_array((ones, entries.ravel(), offsets), shape=(count, len(self._table)))
        sums = np.asarray(chosen @ self._table)
        width = self.shape.width
        machine = sums[:, 0] + 0.5 * (sums[:, 1 : width + 1] ** 2).sum(axis=1)
        units = np.maximum(sums[:, width + 1 :] + self._deeper[0][1], 0.0)
        for weights, bias in self._deeper[1:-1]:
            units = np.maximum(units @ weights + bias, 0.0)
        weights, bias = self._deeper[-1]
        return np.asarray(machine + (units @ weights + bias)[:, 0], dtype=np.float32)
