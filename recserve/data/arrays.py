"""Array aliases by element type, and the positions of ragged rows in flat arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int16Array = NDArray[np.int16]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def flat_ranges(
    starts: Int32Array | Int64Array, lengths: Int32Array | Int64Array
) -> tuple[Int64Array, Int64Array]:
    """The positions of B ranges ``starts[b]:starts[b] + lengths[b]``, one range after the other.

    Selects rows of a ragged array: ``offsets, index = flat_ranges(old_offsets[rows], old_lengths[rows])``.

    Args:
        starts: Shape (B,).
        lengths: Shape (B,); not negative.

    Returns:
        Where each range begins and the last one ends, int64, shape (B + 1,); and the positions, int64,
        shape (N,).
    """
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)


def places_within(lengths: Int32Array | Int64Array) -> Int64Array:
    """The place of each element within its list, from 0, for lists of some lengths one after the other.

    Args:
        lengths: Shape (B,); not negative.

    Returns:
        int64, shape (N,).
    """
    return flat_ranges(np.zeros(len(lengths), dtype=np.int64), lengths)[1]
