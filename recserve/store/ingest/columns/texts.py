"""Texts that people wrote, such as searches and reviews: on one line, cut where they are too long."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.entities import MAX_TEXT
from recserve.data.events.text import one_line
from recserve.errors import DataError
from recserve.store.ingest.columns.plain import is_binary, mask, plain, text_of_bytes
from recserve.store.ingest.problems import Findings


def text_column(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    """A column of texts as events keep them; null where nothing is written.

    Args:
        column: Of any Arrow type that holds text.
        name: Its name.
        findings: Where rows are left out whose bytes are not UTF-8, and where it is said what was cut.

    Raises:
        DataError: The column holds what is no text, such as lists.
    """
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.string())
    column = plain(column)
    if is_binary(column.type):
        column = text_of_bytes(column, name, findings)
    elif not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{findings.file}: column {name!r} holds {column.type}, not text", field=name)
    cells = column.cast(pa.string()).to_pylist()
    lines = pa.array([None if cell is None else one_line(cell) or None for cell in cells], pa.string())
    long = mask(pc.greater(pc.utf8_length(lines), MAX_TEXT).fill_null(False))
    findings.note(long, f"{name} was cut to {MAX_TEXT:,} characters")
    return pc.utf8_slice_codeunits(lines, 0, MAX_TEXT) if long.any() else lines
