"""Every row of any file is stored, or counted with a reason: the sums match to the row."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve.data.dataset import Tables
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.errors import DataError
from recserve.store import Store, open_store
from recserve.store.ingest import (
    FileReport,
    empty_tables,
    import_tables,
    not_in_catalogue,
    read_events,
    read_items,
    with_bare_items,
)
from recserve.store.ingest.formats import Reading, recognise_events

NAMES = ["user_id", "item_id", "event", "value", "rating", "timestamp", "event_id", "title", "genres", ""]
GOOD = {"user_id": "u", "item_id": "i", "timestamp": "1600000000", "event": "view"}

_text = st.text(st.characters(codec="utf-8"), max_size=12)
_cells = st.one_of(
    st.sampled_from(
        ["", " ", "0", "10", "10.0", " 1 ", "nan", "2020", "20200201", "1600000000", "5", "rating"]
    ),
    _text,
)


def check(report: FileReport, table: pa.Table) -> None:
    """Rows that were taken and rows that were not are all rows; each that was not has a reason."""
    lost = report.count("error") + report.count("blank") + report.count("replaced")
    assert report.rows == report.taken + lost
    assert report.taken == len(table)
    assert all(problem.reason and problem.line > 0 for problem in report.listed("error", "blank", "note"))
    listed = len(report.listed("error", "blank", "replaced"))
    assert listed == lost


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all examples."""
    with open_store(None, tmp_path_factory.mktemp("store")) as opened:
        yield opened


def check_stored(store: Store, items: pa.Table | None, events: pa.Table | None) -> None:
    """Everything that was taken can be stored, and is then there."""
    nothing = empty_tables()
    tables = Tables(nothing.items if items is None else items, nothing.events if events is None else events)
    tables = with_bare_items(tables, not_in_catalogue(store, tables).item_ids)
    import_tables(store, tables)
    assert import_tables(store, tables).new_events == 0
    ids = tables.items["item_id"].to_pylist()
    assert set(store.items(ids)) == set(ids)
    assert not not_in_catalogue(store, tables).events


def attempt(read: Callable[[], tuple[pa.Table, FileReport]]) -> tuple[pa.Table, FileReport] | None:
    """The answer, or None if the file is refused by one line."""
    try:
        return read()
    except DataError as error:
        message = error.message
    assert "\n" not in message
    return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    header=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8),
    rows=st.lists(st.lists(_cells, min_size=1, max_size=10), max_size=8),
    delimiter=st.sampled_from(",;\t"),
)
def test_any_table_of_strings(
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    header: list[str],
    rows: list[list[str]],
    delimiter: str,
) -> None:
    folder = tmp_path_factory.mktemp("strings")
    header = [*GOOD, *(name for name in header if name not in GOOD)]
    # One good row at the end: a file without any is refused as a whole.
    lines = [*rows, [GOOD.get(name, "") for name in header]]
    # Of a record with a wrong number of columns each line counts: a quote may never be closed.
    lines = [
        row if len(row) == len(header) else [re.sub("[\r\n]", "", cell) for cell in row] for row in lines
    ]
    if delimiter == "\t":
        lines = [[re.sub("[\t\r\n]", "", cell) for cell in row] for row in lines]
        text = "".join("\t".join(row) + "\n" for row in [header, *lines])
        lines = [row for row in lines if row != [""]]  # a line with nothing at all is no row
    else:
        written = io.StringIO()
        csv.writer(written, delimiter=delimiter).writerows([header, *lines])
        text = written.getvalue()
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8", newline="")
    count = len(lines)

    events = attempt(lambda: read_events(path, DEFAULT_EVENT_TYPES))
    if events is not None:
        check(events[1], events[0])
        assert events[1].rows == count
    items = attempt(lambda: read_items(path))
    if items is not None:
        check(items[1], items[0])
        assert items[1].rows == count
    # Only columns of one name, where both are read, are a reason to refuse the file.
    repeated = {name for name in header if name and header.count(name) > 1}
    assert (events is None) <= bool(repeated & {"value", "rating", "event_id"})
    assert (items is None) == bool(repeated)
    check_stored(store, items and items[0], events and events[0])


def _array(kind: pa.DataType, cells: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
    return st.lists(st.none() | cells, min_size=3, max_size=3).map(lambda some: pa.array(some, kind))


_FAR = 2**52  # seconds in a file are milliseconds
_WHOLE = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 5, 2020, 43831])
_FLOAT = st.floats() | st.sampled_from([10.0, 1.6e9, float("nan"), 1e20])
_COLUMNS = st.one_of(
    *(_array(kind, _WHOLE) for kind in (pa.int32(), pa.int64(), pa.float64())),
    _array(pa.float64(), _FLOAT),
    _array(pa.float32(), st.floats(width=32)),
    _array(pa.uint64(), st.integers(0, 2**64 - 1)),
    _array(
        pa.decimal128(38, 4),
        st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20),
    ),
    *(_array(kind, _text) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(_array(kind, st.binary(max_size=8)) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    _array(pa.binary(4), st.binary(min_size=4, max_size=4)),
    _array(pa.string(), _text).map(lambda column: column.dictionary_encode()),
    _array(pa.bool_(), st.booleans()),
    _array(pa.date32(), st.dates()),
    _array(pa.time64("us"), st.times()),
    *(
        _array(pa.timestamp(unit, zone), st.integers(-_FAR, _FAR) | st.just(1_600_000_000))
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "Mars/Phobos")
    ),
    _array(pa.duration("s"), st.integers(0, 2**40)),
    _array(pa.list_(pa.float64()), st.lists(_FLOAT, max_size=3)),
    _array(pa.list_(pa.binary()), st.lists(st.binary(max_size=3), max_size=2)),
    _array(pa.struct({"a": pa.float64(), "b": pa.binary()}), st.fixed_dictionaries({"a": _FLOAT})),
    _array(pa.map_(pa.string(), pa.int64()), st.dictionaries(_text, st.integers(-9, 9), max_size=2)),
    st.just(pa.nulls(3)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    columns=st.dictionaries(
        st.sampled_from(["user_id", "item_id", "value", "timestamp", "a", "b", ""]), _COLUMNS
    )
)
def test_any_arrow_type(
    store: Store, tmp_path_factory: pytest.TempPathFactory, columns: dict[str, pa.Array]
) -> None:
    folder = tmp_path_factory.mktemp("arrow")
    good = {"user_id": ["u"] * 3, "item_id": ["i", "j", "k"], "timestamp": [1_600_000_000] * 3}
    table = pa.table({**good, **columns})
    pq.write_table(table, folder / "file.parquet")

    events = attempt(lambda: read_events(folder / "file.parquet", DEFAULT_EVENT_TYPES))
    items = attempt(lambda: read_items(folder / "file.parquet"))
    for found in (events, items):
        if found is not None:
            check(found[1], found[0])
            assert found[1].rows == 3
    if items is not None:
        taken = sum(len(json.loads(text)) for text in items[0]["attributes"].to_pylist())
        notes = sum(
            count for (severity, kind), count in items[1].counts.items() if severity == "note" and ":" in kind
        )
        if items[1].taken == 3:
            attributes = [table[name] for name in table.column_names if name != "item_id"]
            assert taken + notes == sum(map(filled, attributes))
    check_stored(store, items and items[0], events and events[0])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    columns=st.dictionaries(
        st.sampled_from(
            ["user_id", "parent_asin", "asin", "rating", "timestamp", "feedback_type", "item_id"]
        ),
        _COLUMNS,
    ),
    form=st.sampled_from(["amazon", "gorse"]),
    timeless=st.booleans(),
)
def test_any_arrow_type_under_a_format(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, pa.Array], form: str, timeless: bool
) -> None:
    good: dict[str, Any] = {"user_id": ["u"] * 3, "timestamp": [1_600_000_000] * 3}
    if form == "amazon":
        good |= {"parent_asin": ["a", None, ""], "asin": ["x", "y", "z"], "rating": [1, 2, 3]}
    else:
        good |= {"item_id": ["i", "j", "k"], "feedback_type": ["read", "star", "like"]}
    path = tmp_path_factory.mktemp("formats") / "file.parquet"
    pq.write_table(pa.table(good | columns), path)
    reading = Reading(format=form, times=("none",) if timeless else ())
    found = attempt(lambda: read_events(path, DEFAULT_EVENT_TYPES, layout=recognise_events(path, reading)))
    if found is not None:
        check(found[1], found[0])
        assert found[1].rows == 3


def filled(column: pa.ChunkedArray) -> int:
    """Cells that hold something: no null, no NaN, no empty text."""
    kind = column.type
    if pa.types.is_floating(kind):
        return sum(cell.is_valid and not math.isnan(cell.as_py()) for cell in column)
    if pa.types.is_dictionary(kind) or "string" in str(kind) or "binary" in str(kind):
        return sum(cell.is_valid and cell.as_py() not in ("", b"") for cell in column)
    return len(column) - int(column.null_count)
