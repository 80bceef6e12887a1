"""Events on disk: a snapshot's columns in files without a name, ids as codes, mapped into memory.

The memory of a process holds some hundred thousand rows at a time, and each distinct id once. The files are
removed from their folder as soon as they are made: their space is free again when the last array that shows
them is gone, however the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recserve.data.arrays import BoolArray
from recserve.data.columns.codes import BLOCK_ROWS, blocks, encoded

_TEXTS = ("user_id", "item_id", "event")
_CONTEXT = "context"
_CODES = pa.dictionary(pa.int32(), pa.large_string())

SPOOLED_SCHEMA = pa.schema({**dict.fromkeys(_TEXTS, _CODES), "value": pa.float64(), "timestamp": pa.int64()})
"""Columns of :meth:`EventSpool.table`; ``context``, likewise in codes, follows where there is any."""


class EventSpool:
    """Writer of events that are read back as one table over memory-mapped files.

    Args:
        folder: Where there is space for them, 24 bytes an event (28 with contexts) and the ids.
        part_rows: Rows of which the ids are encoded together.
    """

    def __init__(self, folder: Path, part_rows: int = BLOCK_ROWS) -> None:
        self._part_rows = part_rows
        self._texts = {name: _Texts(folder) for name in _TEXTS}
        self._values = _Numbers(folder, np.float64)
        self._timestamps = _Numbers(folder, np.int64)
        self._folder = folder
        self._contexts: _Texts | None = None
        self._written = 0
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def extend(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append canonical events (see :class:`recserve.Tables`); other columns are left out."""
        for batch in batches:
            said = _CONTEXT in batch.schema.names and batch[_CONTEXT].null_count < len(batch)
            self._waiting.append(batch.select([*SPOOLED_SCHEMA.names, *([_CONTEXT] if said else [])]))
            self._rows += len(batch)
            if self._rows >= self._part_rows:
                self._write()

    def table(self) -> pa.Table:
        """All events in the order in which they came; nothing can be appended any more."""
        self._write()
        columns = [self._texts[name].column() for name in _TEXTS]
        values = self._values.mapped()
        columns.append(_array(pa.float64(), values, _present(values)))
        columns.append(_array(pa.int64(), self._timestamps.mapped()))
        if self._contexts is None:
            return pa.table(columns, schema=SPOOLED_SCHEMA)
        return pa.table(
            [*columns, self._contexts.column()], schema=SPOOLED_SCHEMA.append(pa.field(_CONTEXT, _CODES))
        )

    def _write(self) -> None:
        if not self._rows:
            return
        part = pa.concat_tables(map(_as_table, self._waiting), promote_options="default")
        self._waiting, self._rows = [], 0
        for name, texts in self._texts.items():
            texts.append(part[name])
        # A canonical value is finite, so NaN can stand for none.
        self._values.append(part["value"].to_numpy())
        self._timestamps.append(part["timestamp"].to_numpy())
        self._write_contexts(part)
        self._written += len(part)

    def _write_contexts(self, part: pa.Table) -> None:
        """Contexts of a part, and nothing of those before the first part that has any."""
        if _CONTEXT in part.schema.names:
            said = part[_CONTEXT].cast(pa.large_string()).fill_null("")
        elif self._contexts is not None:
            said = _silent(len(part))
        else:
            return
        if self._contexts is None:
            self._contexts = _Texts(self._folder)
            for block in blocks(self._written):
                self._contexts.append(_silent(block.stop - block.start))
        self._contexts.append(said)


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _silent(rows: int) -> pa.ChunkedArray:
    """As many empty contexts."""
    return pa.chunked_array([pa.repeat(pa.scalar("", pa.large_string()), rows)])


class _Numbers:
    """Numbers of one type in a file, which is written first and then mapped."""

    def __init__(self, folder: Path, kind: type[np.generic]) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".snapshot-")  # noqa: SIM115
        self._kind = kind
        self._size = 0

    def append(self, numbers: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(numbers, self._kind).data)
        self._size += len(numbers)

    def mapped(self) -> NDArray[Any]:
        """All of them; what is written to the array is in the file."""
        self._file.flush()
        if not self._size:
            return np.empty(0, self._kind)
        return np.memmap(self._file, self._kind, "r+", shape=(self._size,))


class _Texts:
    """Column of texts: the codes of every part in one file, its distinct texts in another."""

    def __init__(self, folder: Path) -> None:
        self._codes = _Numbers(folder, np.int32)
        self._distinct = tempfile.TemporaryFile(dir=folder, prefix=".snapshot-")  # noqa: SIM115
        schema = pa.schema({"text": pa.large_string()})
        self._writer = pa.ipc.new_stream(self._distinct, schema)
        self._parts: list[int] = []

    def append(self, column: pa.ChunkedArray) -> None:
        texts, codes = encoded(column)
        self._codes.append(codes)
        self._writer.write(pa.record_batch([texts.cast(pa.large_string())], ["text"]))
        self._parts.append(len(codes))

    def column(self) -> pa.DictionaryArray:
        """The column, with one dictionary for all parts."""
        self._writer.close()
        self._distinct.flush()
        mapped = np.memmap(self._distinct, np.uint8, "r")
        with pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(mapped))) as stream:
            distinct = [batch.column(0) for batch in stream]
        texts, common = encoded(pa.chunked_array(distinct, pa.large_string()))
        codes = self._codes.mapped()
        start = first = 0
        for rows, of_part in zip(self._parts, distinct, strict=True):
            known = common[first : first + len(of_part)]
            for block in blocks(rows):
                place = slice(start + block.start, start + block.stop)
                codes[place] = known[codes[place]]
            start, first = start + rows, first + len(of_part)
        return pa.DictionaryArray.from_arrays(_array(pa.int32(), codes), texts)


def _array(kind: pa.DataType, numbers: NDArray[Any], present: NDArray[np.uint8] | None = None) -> pa.Array:
    """An Arrow array over numbers, without a copy."""
    bits = None if present is None else pa.py_buffer(present)
    return pa.Array.from_buffers(kind, len(numbers), [bits, pa.py_buffer(numbers)])


def _present(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Which values are not NaN, a bit each."""

    def packed(known: BoolArray) -> NDArray[np.uint8]:
        return np.packbits(known, bitorder="little")

    # The length of a block is a multiple of eight, so blocks join without a gap.
    found = [packed(~np.isnan(values[block])) for block in blocks(len(values))]
    return np.concatenate(found) if found else np.empty(0, np.uint8)
