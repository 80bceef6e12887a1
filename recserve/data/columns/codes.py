"""Columns of text as codes into their distinct values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import Int32Array

BLOCK_ROWS = 1 << 20
"""Rows that are worked on at a time where temporary arrays of all of them would be large."""


def encoded(column: pa.ChunkedArray) -> tuple[pa.Array, Int32Array]:
    """Distinct texts of a column without nulls, and its entries as int32 codes into them, shape (N,).

    A column that is a dictionary already is not copied if it is in one piece. Others are encoded chunk by
    chunk: an Arrow array of strings holds 2 GiB, which the ids of 60 million events exceed.
    """
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    chunks = column.unify_dictionaries().chunks
    if not chunks:
        return pa.array([], column.type.value_type), np.empty(0, np.int32)
    codes = [np.asarray(chunk.indices.to_numpy(zero_copy_only=False), np.int32) for chunk in chunks]
    return chunks[0].dictionary, codes[0] if len(codes) == 1 else np.concatenate(codes)


def blocks(rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """All rows in slices of at most ``size``."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
