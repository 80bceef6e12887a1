"""Times: what is doubtful is refused and named, with what to do."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recserve import DataError
from recserve.store.ingest import FileReport
from recserve.store.ingest.columns import time_column
from recserve.store.ingest.problems import Findings

NOW = 1_800_000_000_000
MOMENT = 1_600_000_000_000


def times(column: pa.Array) -> tuple[list[int], FileReport]:
    """Times of the good rows, and what was found."""
    report = FileReport("f", "events")
    findings = Findings(report, np.arange(1, len(column) + 1))
    found = time_column(column, "timestamp", findings, NOW)
    findings.finish()
    return found[findings.good].tolist(), report


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (-1, "lies before 1970"),
        (-1_600_000_000_000, "lies before 1970"),
        (20200201, "looks like a date without dashes: write it as 2020-01-31"),
        (202002012359, "looks like a date without dashes"),
        (20200201235959, "looks like a date without dashes"),
        (2019, "looks like a year: write a date"),
        (1999, "looks like a year"),
        (43831, "looks like a spreadsheet's day number: format the column as a date"),
        (43831.5, "looks like a spreadsheet's day number"),
        (18262, "looks like a number of days: multiply it by 86,400"),
        (202001, "looks like a year and a month: write a date"),
        (2458849.5, "looks like a Julian day number: subtract 2,440,587.5"),
        (1_600_000_000_000_000, "looks like microseconds: divide by 1,000"),
        (1_600_000_000_000_000_000, "looks like nanoseconds: divide by 1,000,000"),
        (1e30, "is not a time: use seconds or milliseconds since 1970, or ISO 8601"),
        (1_900_000_000, "is in the future"),
    ],
)
def test_numbers_that_are_likely_something_else(number: float, reason: str) -> None:
    columns = [pa.array([1_600_000_000, number]), pa.array(["1600000000", str(number)])]
    if isinstance(number, int):
        columns.append(pa.array([Decimal(1_600_000_000), Decimal(number)], pa.decimal128(38, 0)))
    for column in columns:
        found, report = times(column)
        assert found == [MOMENT]
        (problem,) = report.problems
        assert problem.line == 2
        assert reason in problem.reason


def test_whole_columns_of_them() -> None:
    for numbers in ([20200201, 20200202, 20200203], [2018, 2019, 2020, 2021], [43831, 43832, 43900, 44000]):
        found, report = times(pa.array(numbers))
        assert found == []
        assert report.count("error") == len(numbers)


def test_steps_are_an_order_and_it_is_said_how_they_are_read() -> None:
    found, report = times(pa.array(range(100_000)))
    assert found == [number * 1000 for number in range(100_000)]
    assert report.counts == {("note", "timestamp lies before March 1973"): 100_000}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_typed_moments(unit: str, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    numbers = [1_600_000_000 * per_second, None, -per_second, 1_900_000_000 * per_second]
    found, report = times(pa.array(numbers, pa.timestamp(unit, zone)))
    assert found == [MOMENT]
    empty, early, late = (problem.reason for problem in report.problems)
    assert empty == "timestamp is empty"
    assert early.startswith("timestamp 1969-12-31 23:59:59")
    assert late.endswith("is in the future")


def test_moments_that_no_calendar_reaches_are_named() -> None:
    column = pa.array([1_600_000_000, 2**62, -(2**62)], pa.timestamp("s"))
    found, report = times(column)
    assert found == [MOMENT]
    assert [problem.line for problem in report.problems] == [2, 3]


def test_dates_and_texts_of_other_types() -> None:
    day = 1_577_836_800_000
    for column in (
        pa.array([date(2020, 1, 1)]),
        pa.array([date(2020, 1, 1)], pa.date64()),
        pa.array(["2020-01-01"]).dictionary_encode(),
        pa.array(["2020-01-01"], pa.string_view()),
        pa.array(["2020-01-01"], pa.large_string()),
        pa.array([b"2020-01-01T00:00:00Z"]),
        pa.array([" 2020-01-01 "]),
    ):
        assert times(column)[0] == [day], column.type


@pytest.mark.parametrize("cell", ["1969-12-31", "1969-12-31T23:59:59Z"])
def test_texts_before_1970(cell: str) -> None:
    _, report = times(pa.array([cell]))
    assert report.problems[0].reason == f"timestamp {cell!r} lies before 1970, where times begin"


@pytest.mark.parametrize(
    "cell", ["01/02/2020", "2020-02", "2020-02-30", "nan", "inf", "soon", "0001-01-01T00:00+14:00"]
)
def test_texts_that_are_no_times(cell: str) -> None:
    found, report = times(pa.array(["2020-01-01", cell]))
    assert len(found) == 1
    assert report.problems[0].line == 2


@pytest.mark.parametrize(
    "column",
    [pa.array([True]), pa.array([[1]]), pa.array([1], pa.duration("s")), pa.array([1], pa.time32("s"))],
    ids=lambda column: str(column.type),
)
def test_columns_that_cannot_hold_times(column: Any) -> None:
    with pytest.raises(DataError, match=r"column 'timestamp' holds .*, not times"):
        times(column)
