"""Cells to typed columns: whole columns at once, cell by cell only where a cell is odd."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray, Int64Array
from recserve.errors import DataError
from recserve.store.ingest.problems import Findings, quoted

FloatColumn = np.ndarray[tuple[int], np.dtype[np.float64]]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"

SECONDS_BELOW = 1e11
"""Times below are seconds (until the year 5138), others milliseconds (from March 1973 on)."""

_LATEST_MS = 8.64e15  # beyond it no calendar reaches
_DAY_MS = 86_400_000


def text_column(column: pa.Array, name: str, file: str) -> pa.Array:
    """A column of ids or names as strings; empty strings become null.

    Raises:
        DataError: The column holds something that has no text, such as lists.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return text_column(column.cast(kind.value_type), name, file)
    if pa.types.is_floating(kind):
        # pandas makes 12 into 12.0 where a neighbour is missing.
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
        column = column.cast(pa.int64()) if whole is not False else column
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind) or _is_text(kind)):
        raise DataError(f"{file}: column {name!r} holds {kind}, not text")
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), None, text)


def reject_bad_ids(ids: pa.Array, name: str, findings: Findings) -> None:
    """Leave out rows whose id is missing, blank, or holds a NUL character."""
    blank = pc.equal(pc.utf8_trim_whitespace(ids), "").fill_null(True)
    findings.reject(_mask(blank), lambda row: f"{name} is empty")
    nul = pc.match_substring(ids, "\x00").fill_null(False)
    findings.reject(_mask(nul), lambda row: f"{name} holds a NUL character")


def number_column(column: pa.Array, name: str, findings: Findings) -> FloatColumn:
    """A column of numbers, NaN where a cell is empty; rows with anything else are left out."""
    numbers, readable = _numbers(column, name)
    findings.reject(~readable, lambda row: f"{name} {quoted(column[row].as_py())} is not a number")
    present = _mask(column.is_valid())
    findings.reject(
        present & ~np.isfinite(numbers),
        lambda row: f"{name} {quoted(column[row].as_py())} is not a finite number",
    )
    return numbers


def time_column(column: pa.Array, name: str, findings: Findings, now_ms: int) -> Int64Array:
    """A column of times as milliseconds since the epoch.

    Numbers below :data:`SECONDS_BELOW` are seconds, others milliseconds; text is ISO 8601, UTC unless
    it says otherwise. Rows without a readable time, or more than a day in the future, are left out.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        utc = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        moments, readable = _floats(utc), _mask(column.is_valid())
    else:
        moments, readable = _moments(column, name)
    findings.reject(_mask(column.is_null()), lambda row: f"{name} is empty")
    findings.reject(
        ~readable | ~(np.abs(np.where(readable, moments, 0)) < _LATEST_MS),
        lambda row: (
            f"{name} {quoted(column[row].as_py())} is not a time: use seconds or "
            "milliseconds since 1970, or ISO 8601"
        ),
    )
    with np.errstate(invalid="ignore"):
        future = moments > now_ms + _DAY_MS
    findings.reject(future, lambda row: f"{name} {quoted(column[row].as_py())} is in the future")
    return np.where(findings.good, moments, 0).astype(np.int64)


def _moments(column: pa.Array, name: str) -> tuple[FloatColumn, BoolArray]:
    numbers, readable = _numbers(column, name)
    readable &= np.isfinite(numbers)
    moments = np.rint(np.where(np.abs(numbers) < SECONDS_BELOW, numbers * 1000.0, numbers))
    if not _is_text(column.type):
        return moments, readable
    others = np.flatnonzero(~readable & _mask(column.is_valid()))
    for row, text in zip(others, column.take(pa.array(others)).to_pylist(), strict=True):
        moment = _iso_moment(text)
        if moment is not None:
            moments[row], readable[row] = moment, True
    return moments, readable


def _iso_moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000.0)


def _numbers(column: pa.Array, name: str) -> tuple[FloatColumn, BoolArray]:
    """Values (NaN for empty cells) and whether each cell is empty or a number of any kind."""
    if not _is_text(column.type):
        try:
            return _floats(column.cast(pa.float64(), safe=False)), np.ones(len(column), np.bool_)
        except pa.ArrowNotImplementedError:
            raise DataError(f"column {name!r} holds {column.type}, not numbers") from None
    text = pc.utf8_trim_whitespace(column)
    try:
        return _floats(text.cast(pa.float64())), np.ones(len(column), np.bool_)
    except pa.ArrowInvalid:
        pass
    is_number = pc.match_substring_regex(text, _NUMBER)
    # Arrow does not read a leading plus.
    plain = pc.replace_substring_regex(pc.if_else(is_number, text, None), r"^\+", "")
    is_word = pc.match_substring_regex(text, _NOT_FINITE)
    return _floats(plain.cast(pa.float64())), _mask(pc.or_(is_number, is_word).fill_null(True))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _floats(column: pa.Array) -> FloatColumn:
    return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _mask(column: pa.Array) -> BoolArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)
