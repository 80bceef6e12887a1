"""Columns of numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray
from recserve.errors import DataError
from recserve.store.ingest.columns.plain import FloatColumn, floats, is_binary, mask, plain, text_of_bytes
from recserve.store.ingest.problems import Findings, quoted

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"


def number_column(column: pa.Array, name: str, findings: Findings) -> FloatColumn:
    """A column of numbers, NaN where a cell is empty; rows with anything else are left out.

    NaN in a column of floats is how many programs say that there is no value.

    Raises:
        DataError: The column holds no numbers.
    """
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    column = plain(column)
    if is_binary(column.type):
        column = text_of_bytes(column, name, findings)
    numbers, readable = read_numbers(column, name, findings.file)
    findings.reject(
        ~readable,
        f"{name} is not a number",
        lambda row: f"{name} {quoted(column[row].as_py())} is not a number",
    )
    # In text, `nan` is no empty cell but something that went wrong earlier.
    odd = ~np.isfinite(numbers) if pa.types.is_string(column.type) else np.isinf(numbers)
    if odd.any():
        findings.reject(
            odd & ~blank(column),
            f"{name} is not a finite number",
            lambda row: f"{name} {quoted(column[row].as_py())} is not a finite number",
        )
    return numbers


def read_numbers(column: pa.Array, name: str, file: str) -> tuple[FloatColumn, BoolArray]:
    """Values (NaN for empty cells) and whether each cell is empty or a number of any kind.

    Raises:
        DataError: The column holds no numbers.
    """
    kind = column.type
    if not pa.types.is_string(kind):
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise DataError(f"{file}: column {name!r} holds {kind}, not numbers", field=name)
        return floats(column), np.ones(len(column), np.bool_)
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.equal(text, ""), None, text)
    try:
        return floats(text.cast(pa.float64())), np.ones(len(column), np.bool_)
    except pa.ArrowInvalid:
        pass
    is_number = pc.match_substring_regex(text, _NUMBER)
    # Arrow does not read a leading plus.
    bare = pc.replace_substring_regex(pc.if_else(is_number, text, None), r"^\+", "")
    is_word = pc.match_substring_regex(text, _NOT_FINITE)
    return floats(bare.cast(pa.float64())), mask(pc.or_(is_number, is_word).fill_null(True))


def blank(column: pa.Array) -> BoolArray:
    """Cells that are null, or text with nothing but blanks."""
    empty = column.is_null()
    if pa.types.is_string(column.type):
        empty = pc.or_(empty, pc.equal(pc.utf8_trim_whitespace(column), "").fill_null(True))
    return mask(empty)
