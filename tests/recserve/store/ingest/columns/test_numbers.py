"""Numbers of every Arrow type and spelling; what is none costs its own row and says why."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from recserve.errors import DataError
from recserve.store.ingest import FileReport
from recserve.store.ingest.columns.numbers import blank, number_column
from recserve.store.ingest.problems import Findings


def numbers(column: pa.Array) -> tuple[list[float], FileReport]:
    """Numbers of the good rows, and what was found."""
    report = FileReport("f", "events")
    findings = Findings(report, np.arange(1, len(column) + 1))
    found = number_column(column, "value", findings)
    findings.finish()
    return found[findings.good].tolist(), report


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 20], pa.int8()),
        pa.array([1.0, 20.0], pa.float32()),
        pa.array(np.array([1, 20], np.float16)),
        pa.array([Decimal("1.00"), Decimal("20.00")], pa.decimal128(38, 2)),
        pa.array(["1", " 20 "]),
        pa.array(["+1", "2e1"]),
        pa.array(["1.", "20.0"], pa.large_string()),
        pa.array([b"1", b"20"]),
        pa.array(["1", "20"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_the_same_numbers_in_every_type(column: pa.Array) -> None:
    found, report = numbers(column)
    assert found == [1.0, 20.0]
    assert report.taken == 2


def test_empty_cells_are_no_numbers_but_no_mistakes() -> None:
    found, report = numbers(pa.array(["", None, "  ", "3"]))
    assert np.isnan(found[:3]).all()
    assert found[3] == 3.0
    assert report.taken == 4
    assert np.isnan(numbers(pa.array([np.nan, 1.0]))[0][0]), "NaN among floats says that there is no value"
    assert blank(pa.array(["", " ", None, "x"])).tolist() == [True, True, True, False]


def test_what_is_no_number_costs_its_row() -> None:
    found, report = numbers(pa.array(["1", "many", "1,5", "nan", "inf", "0x1F", "2"]))
    assert found == [1.0, 2.0]
    kinds = {kind: count for (_, kind), count in report.counts.items()}
    assert kinds == {"value is not a number": 3, "value is not a finite number": 2}
    assert report.example("error", "value is not a number").reason == "value 'many' is not a number"
    assert report.example("error", "value is not a number").line == 2
    assert numbers(pa.array([1.0, np.inf]))[0] == [1.0]


def test_a_column_of_something_else_is_refused_as_a_whole() -> None:
    with pytest.raises(DataError, match="column 'value' holds bool, not numbers"):
        numbers(pa.array([True, False]))
