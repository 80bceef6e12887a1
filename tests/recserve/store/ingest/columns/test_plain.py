"""Arrow's many types become few, and what was said of cells stays true."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest

from recserve.store.ingest import FileReport
from recserve.store.ingest.columns.plain import plain, text_of_bytes, trimmed, whole_decimals
from recserve.store.ingest.problems import Findings


def findings(rows: int) -> tuple[Findings, FileReport]:
    report = FileReport("f", "items")
    return Findings(report, np.arange(1, rows + 1)), report


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array(["a"], pa.large_string()), pa.string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array(["a"]).dictionary_encode(), pa.string()),
        (pa.array([b"a"], pa.binary(1)), pa.large_binary()),
        (pa.array([b"a"], pa.binary_view()), pa.large_binary()),
        (pa.array(np.array([1], np.float16)), pa.float64()),
        (pa.nulls(1), pa.string()),
        (pa.array([1], pa.int16()), pa.int16()),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_how_cells_are_stored_does_not_matter(column: pa.Array, kind: pa.DataType) -> None:
    found = plain(column)
    assert found.type == kind
    assert len(found) == 1


def test_uuids_are_text() -> None:
    one = uuid.UUID(int=7)
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes, None], pa.binary(16)))
    assert plain(column).to_pylist() == [str(one), None]


def test_bytes_that_are_no_text_cost_their_row() -> None:
    found, report = findings(3)
    text = text_of_bytes(pa.array([b"caf\xc3\xa9", b"caf\xe9", None]), "title", found)
    found.finish()
    assert text.to_pylist() == ["café", None, None]
    assert found.good.tolist() == [True, False, True]
    assert report.count("error") == 1


def test_blanks_around_text_are_removed_and_said() -> None:
    found, report = findings(4)
    assert trimmed(pa.array(["a", " b\u00a0", "  ", None]), "user_id", found).to_pylist() == [
        "a",
        "b",
        None,
        None,
    ]
    found.finish()
    assert report.counts == {("note", "blanks around user_id were removed"): 1}


def test_decimals_that_are_whole_lose_their_fraction() -> None:
    column = pa.array(["7.00", "7.50", "-3.0"]).cast(pa.decimal128(5, 2))
    assert whole_decimals(column).to_pylist() == ["7", "7.50", "-3"]
