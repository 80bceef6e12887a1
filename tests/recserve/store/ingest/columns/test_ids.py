"""Ids are one thing, whatever the format and the type they come in."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recserve import DataError
from recserve.store.ingest import FileReport
from recserve.store.ingest.columns import id_column
from recserve.store.ingest.columns.cells import CellError, id_cell
from recserve.store.ingest.problems import Findings


def ids(column: pa.Array) -> tuple[list[str | None], FileReport]:
    """Good ids of a column (None for the others), and what was found."""
    report = FileReport("f", "events")
    findings = Findings(report, np.arange(1, len(column) + 1))
    found = id_column(column, "user_id", findings).to_pylist()
    findings.finish()
    return [one if good else None for one, good in zip(found, findings.good, strict=True)], report


@pytest.mark.parametrize(
    "column",
    [
        pa.array([10, 7]),
        pa.array([10, 7], pa.uint8()),
        pa.array([10.0, 7.0]),
        pa.array([10.0, 7.0], pa.float32()),
        pa.array(np.array([10, 7], np.float16)),
        pa.array([Decimal("10.00"), Decimal("7.00")], pa.decimal128(38, 2)),
        pa.array([Decimal(10), Decimal(7)], pa.decimal256(50, 0)),
        pa.array(["10", "7"]),
        pa.array(["10.0", "7.00"]),
        pa.array([" 10 ", "\t7\u00a0"]),
        pa.array(["10", "7"], pa.large_string()),
        pa.array(["10", "7"], pa.string_view()),
        pa.array([b"10", b"7"]),
        pa.array([b"10", b"7"], pa.large_binary()),
        pa.array([b"10", b"7"], pa.binary_view()),
        pa.array(["10", "7"]).dictionary_encode(),
        pa.array([10.0, 7.0]).dictionary_encode(),
        pa.array([b"10", b"7"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_the_same_id_in_every_type(column: pa.Array) -> None:
    found, report = ids(column)
    assert found == ["10", "7"]
    assert report.taken == 2


def test_other_texts_stay_as_they_are() -> None:
    texts = ["007", "007.0", "1e3", "1.5", "v1.0", "none", "Nan", "NA", "12E10", "-3", "0x1F", "a b", "+4"]
    found, report = ids(pa.array(texts))
    assert found == texts
    assert not report.counts


def test_what_is_changed_is_counted_and_said() -> None:
    _, report = ids(pa.array(["10.0", "11.0", " a", "e\u0301", "\u00e9", "b"]))
    assert report.counts == {
        ("note", "user_id written with a point, such as 10.0, was read as the whole number"): 2,
        ("note", "blanks around user_id were removed"): 1,
        ("note", "user_id was brought into Unicode's form C (NFC)"): 1,
    }
    texts = [str(problem) for problem in report.listed("note")]
    assert texts[0] == "f:1: user_id '10.0' was read as '10'"
    assert ids(pa.array(["e\u0301"]))[0] == ["\u00e9"]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array(["a", None]), "user_id is empty"),
        (pa.array(["a", ""]), "user_id is empty"),
        (pa.array(["a", "  "]), "user_id is empty"),
        (pa.array(["a", "nan"]), "user_id is empty: 'nan' stands for no value"),
        (pa.array(["a", "NaN"]), "user_id is empty: 'NaN' stands for no value"),
        *(
            (pa.array(["a", word]), f"user_id is empty: {word!r} stands for no value")
            for word in ("null", "NULL", "None", "<NA>", "NaT", "#N/A", "\\N")
        ),
        (pa.array(["a", "1.23457E+15"]), "user_id '1.23457E+15' is a number without its last digits"),
        (pa.array(["a", "1e+16"]), "user_id '1e+16' is a number without its last digits"),
        (pa.array(["a", "x" * 10_001]), "user_id 'xxx"),
        (pa.array(["a", "x\x00"]), "user_id holds a NUL character"),
        (pa.array([1.0, float("nan")]), "user_id is empty"),
        (pa.array([1.0, float("inf")]), "user_id inf is too large"),
        (pa.array([1.0, -float("inf")]), "user_id -inf is too large"),
        (pa.array([1.0, 1e20]), "user_id 1e+20 is too large for an id that is kept as a float"),
        (pa.array([1.0, 2.0**53]), "user_id 9007199254740992.0 is too large"),
        (pa.array([1.0, 2.5]), "user_id 2.5 is not a whole number; write such ids as text"),
        (pa.array([Decimal("1.0"), Decimal("2.5")]), "user_id 2.5 is not a whole number"),
        (pa.array([b"a", b"\xff"]), "user_id is not UTF-8 text"),
    ],
)
def test_what_is_no_id_costs_its_own_row(column: pa.Array, reason: str) -> None:
    found, report = ids(column)
    assert found[0] in ("a", "1")
    (problem,) = report.problems
    assert problem.line == 2
    assert problem.reason.startswith(reason)
    assert (report.rows, report.taken) == (2, 1)


def test_the_longest_id_is_as_long_as_over_http() -> None:
    assert ids(pa.array(["ü" * 10_000]))[0] == ["ü" * 10_000]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["a"]]),
        pa.array([{"a": 1}]),
        pa.array([True]),
        pa.array([1], pa.timestamp("s")),
        pa.array([1], pa.duration("s")),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_that_cannot_hold_ids(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'user_id' holds .*, which is no id; write ids as text"):
        ids(column)


def test_a_column_of_nothing() -> None:
    found, report = ids(pa.nulls(2))
    assert found == [None, None]
    assert report.counts == {("error", "user_id is empty"): 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, "10"), (10.0, "10"), (Decimal("10.00"), "10"), ("10", "10"), (b"10", "10"), (None, None),
        ("", None), (b"", None), (float("nan"), None), (np.float32(10), "10"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ],
)  # fmt: skip
def test_single_ids(value: Any, expected: str | None) -> None:
    assert id_cell(value, "item_id") == expected


@pytest.mark.parametrize("value", [True, [1], {}, 2.5, 1e20, float("inf"), Decimal("2.5"), b"\xff"])
def test_single_values_that_are_no_ids(value: Any) -> None:
    with pytest.raises(CellError, match="item_id"):
        id_cell(value, "item_id")
