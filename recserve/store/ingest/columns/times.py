"""Columns of times, as milliseconds since the epoch.

The same bounds hold as for ``POST /v1/events``: from 1970 on, at most a day in the future. A number can
be a time in many ways. Those that are likely something else than seconds or milliseconds are refused,
because a wrong guess puts years of events into one afternoon of 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from recserve.data.arrays import BoolArray, Int64Array
from recserve.data.entities import DAY_MS, LAST_MS, SECONDS_BELOW
from recserve.errors import DataError
from recserve.store.ingest.columns.numbers import blank, read_numbers
from recserve.store.ingest.columns.plain import FloatColumn, floats, is_binary, plain, text_of_bytes
from recserve.store.ingest.problems import Findings, quoted

_EARLY = 1e8
"""Seconds below lie before March 1973: most likely steps, not moments."""

_YEARS = (1900, 2100)
_COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_FINER = (((1e14, 1e17), "microseconds", "1,000"), ((1e17, 1e20), "nanoseconds", "1,000,000"))
_COARSER = (
    (_YEARS, "a year", "write a date, such as 2020-01-01"),
    # 1980 to 2099, days since the end of 1899.
    ((29_221, 73_050), "a spreadsheet's day number", "format the column as a date and save it again"),
    # 1990 to 2039, days since 1970.
    ((7_305, 25_567), "a number of days", "multiply it by 86,400"),
    ((190_001, 210_012), "a year and a month", "write a date, such as 2020-01-01"),
    # 1970 to 2099.
    ((2_440_587, 2_488_070), "a Julian day number", "subtract 2,440,587.5 and multiply by 86,400"),
)

_TIMES = "seconds or milliseconds since 1970, or ISO 8601"

_Reason = Callable[[int], str]


def time_column(column: pa.Array, name: str, findings: Findings, now_ms: int) -> Int64Array:
    """A column of times as milliseconds since the epoch, 0 in rows that are left out.

    Numbers below :data:`recserve.data.entities.SECONDS_BELOW` are seconds, others milliseconds; text is
    ISO 8601, UTC unless it says otherwise. Rows without a readable time, before 1970, or more than a day
    in the future are left out, and so are numbers that look like something else.

    Raises:
        DataError: The column holds no times.
    """
    column = plain(column)
    if is_binary(column.type):
        column = text_of_bytes(column, name, findings)

    def saying(rest: str) -> _Reason:
        return lambda row: f"{name} {_shown(column, row)} {rest}"

    findings.reject(blank(column), f"{name} is empty")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        moments = _typed_moments(column)
    else:
        moments = _moments(column, name, findings, saying)
    with np.errstate(invalid="ignore"):
        lost = ~np.isfinite(moments) | (moments > LAST_MS)
        findings.reject(lost, f"{name} is not a time", saying(f"is not a time: use {_TIMES}"))
        early = saying("lies before 1970, where times begin")
        findings.reject(moments < 0, f"{name} lies before 1970", early)
        future = moments > now_ms + DAY_MS
        findings.reject(future, f"{name} is in the future", saying("is in the future"))
    return np.where(findings.good, moments, 0).astype(np.int64)


def _shown(column: pa.Array, row: int) -> str:
    cell = column.slice(row, 1)
    if pa.types.is_timestamp(column.type):
        cell = cell.cast(pa.timestamp(column.type.unit))  # in UTC, as everything is
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        # Not every moment that Arrow can hold is one in Python.
        return str(cell.cast(pa.string())[0].as_py())
    return quoted(cell[0].as_py())


def _typed_moments(column: pa.Array) -> FloatColumn:
    if pa.types.is_date32(column.type):
        return floats(column.cast(pa.int32())) * DAY_MS
    raw = floats(column.cast(pa.int64()))
    if pa.types.is_date64(column.type):
        return raw
    return np.floor(raw / {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}[column.type.unit])


def _moments(
    column: pa.Array, name: str, findings: Findings, saying: Callable[[str], _Reason]
) -> FloatColumn:
    """Milliseconds of numbers and of text, NaN where there is no time."""
    try:
        numbers, _ = read_numbers(column, name, findings.file)
    except DataError:
        raise DataError(
            f"{findings.file}: column {name!r} holds {column.type}, not times", field=name
        ) from None
    _refuse_doubtful(numbers, name, findings, saying)
    with np.errstate(invalid="ignore"):
        moments = np.rint(np.where(np.abs(numbers) < SECONDS_BELOW, numbers * 1000.0, numbers))
    if pa.types.is_string(column.type):
        others = np.flatnonzero(np.isnan(numbers) & findings.good)
        for row, text in zip(others, column.take(pa.array(others)).to_pylist(), strict=True):
            moments[row] = _iso_moment(text)
    return moments


def _refuse_doubtful(
    numbers: FloatColumn, name: str, findings: Findings, saying: Callable[[str], _Reason]
) -> None:
    """Leave out numbers that are likely something else than seconds or milliseconds."""

    def refuse(odd: BoolArray, what: str, mend: str) -> None:
        findings.reject(odd, f"{name} looks like {what}", saying(f"looks like {what}: {mend}"))

    with np.errstate(invalid="ignore"):
        beyond = numbers > LAST_MS
        if beyond.any():
            for (low, high), what, divisor in _FINER:
                refuse(beyond & (numbers >= low) & (numbers < high), what, f"divide by {divisor}")
        refuse(_compact_dates(numbers), "a date without dashes", "write it as 2020-01-31")
        early = (numbers >= 0) & (numbers < _EARLY) & findings.good
        if not early.any():
            return
        for (low, high), what, mend in _COARSER:
            odd = early & (numbers >= low) & (numbers <= high)
            # Steps (1, 2, 3 ...) pass through all of these ranges, which are a small part of them.
            if odd.sum() * 2 >= early.sum():
                refuse(odd, what, mend)
    note = "was read as seconds since 1970, which suits only data that are ordered by steps"
    findings.note(early, f"{name} lies before March 1973", saying(note))


def _compact_dates(numbers: FloatColumn) -> BoolArray:
    """Numbers such as 20200131, 202001312359 and 20200131235959."""
    odd = np.zeros(len(numbers), dtype=np.bool_)
    for digits, form in _COMPACT.items():
        first, last = (year * 10.0 ** (digits - 4) for year in (_YEARS[0], _YEARS[1] + 1))
        candidates = (numbers >= first) & (numbers < last) & (numbers == np.floor(numbers))
        for row in np.flatnonzero(candidates):
            odd[row] = _is_date(str(int(numbers[row])), form)
    return odd


def _is_date(digits: str, form: str) -> bool:
    try:
        datetime.strptime(digits, form).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


def _iso_moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip().upper())
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return float(round(aware.timestamp() * 1000.0))
    except (ValueError, OverflowError):
        return float("nan")
