"""Attributes that hold a moment, as milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

import numpy as np

from recserve import AttributeColumn, Float64Array, Int64Array

_DAY = timedelta(days=1)
_YEAR_OR_MONTH = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d{2}))?")
# Smaller counts are seconds: as milliseconds they would all lie before March 1973.
_MILLISECONDS_FROM = 1e11


def moments(column: AttributeColumn, zone: tzinfo, *, end: bool) -> tuple[Float64Array, Int64Array]:
    """Read a column of moments.

    Understood are ISO 8601 dates and times (without an offset they are in ``zone``), seconds or milliseconds
    since the epoch, and years from 1000 to 9999. A value that names a whole day, month or year is the
    moment it starts, or, with ``end``, the moment it is over: "until 2024-12-31" includes that day.

    Args:
        column: The JSON value of each item, None where there is none.
        zone: Time zone of values that name none.
        end: Whether a whole day, month or year counts to its end.

    Returns:
        float64, shape (n,): milliseconds, NaN where there is none; and the rows that could not be read,
        int64, in order.
    """
    read = np.full(len(column.values), np.nan)
    unreadable = np.zeros(len(read), dtype=np.bool_)
    for place, value in enumerate(column.values):
        if value is None or value == "" or value != value:
            continue
        try:
            read[place] = _moment(value, zone, end)
        except (ValueError, OverflowError):
            unreadable[place] = True
    return read[column.codes], np.flatnonzero(unreadable[column.codes])


def _moment(value: Any, zone: tzinfo, end: bool) -> float:
    if isinstance(value, bool):
        raise ValueError("a boolean is no moment")
    if isinstance(value, (int, float)):
        if 1000 <= value <= 9999 and value == int(value):
            return _period(int(value), None, zone, end)
        milliseconds = float(value)
        return milliseconds if abs(milliseconds) >= _MILLISECONDS_FROM else milliseconds * 1000.0
    if not isinstance(value, str):
        raise ValueError("neither text nor a number")
    text = value.strip()
    coarse = _YEAR_OR_MONTH.fullmatch(text)
    if coarse is not None:
        return _period(int(coarse["year"]), int(coarse["month"]) if coarse["month"] else None, zone, end)
    if len(text) <= len("2024-12-31"):
        day = date.fromisoformat(text)
        return _milliseconds(datetime.combine(day + _DAY if end else day, time(), zone))
    parsed = datetime.fromisoformat(text)
    return _milliseconds(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone))


def _period(year: int, month: int | None, zone: tzinfo, end: bool) -> float:
    start = datetime(year, month or 1, 1, tzinfo=zone)
    if end:
        start = start.replace(year=year + 1) if month in (None, 12) else start.replace(month=(month or 1) + 1)
        start = start.replace(month=1) if month == 12 else start
    return _milliseconds(start)


def _milliseconds(moment: datetime) -> float:
    return moment.timestamp() * 1000.0
