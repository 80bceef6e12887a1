from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recserve import DataError, Event, Item, Tables
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.store import Counts, open_store
from recserve.store.ingest import (
    EVENT_SCHEMA,
    ITEM_SCHEMA,
    ImportSummary,
    RowProblem,
    empty_tables,
    import_tables,
    read_events,
    read_items,
)


def read(path: Path, strict: bool = False) -> tuple[dict[str, Any], list[RowProblem]]:
    table, report = read_items(path, strict)
    assert table.schema == ITEM_SCHEMA
    lost = report.count("error") + report.count("blank") + report.count("replaced")
    assert report.rows == report.taken + lost
    assert report.taken == len(table)
    found = {one["item_id"]: json.loads(one["attributes"]) for one in table.to_pylist()}
    return found, report.listed("error", "replaced", "note")


def write(folder: Path, text: str, name: str = "items.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_columns_become_attributes(tmp_path: Path) -> None:
    text = (
        "item_id,title,year,price,genres,code,note\n"
        '1,"Toy, Story",1995,3.5,Animation|Comedy,007,\n'
        "2,300,,4,,012,a|b\n"
        "3,,2006,1,Drama,9,\n"
    )
    assert read(write(tmp_path, text)) == (
        {
            "1": {
                "title": "Toy, Story", "year": 1995, "price": 3.5, "code": "007",
                "genres": ["Animation", "Comedy"],
            },
            "2": {"title": "300", "price": 4.0, "code": "012", "note": "a|b"},
            "3": {"year": 2006, "price": 1.0, "genres": ["Drama"], "code": "9"},
        },
        [],
    )  # fmt: skip


def test_items_of_nothing_but_an_id(tmp_path: Path) -> None:
    assert read(write(tmp_path, "item_id\na\nb\n"))[0] == {"a": {}, "b": {}}
    assert read(write(tmp_path, "item_id,title\na,\n"))[0] == {"a": {}}


def test_a_title_that_is_a_number_stays_a_title(tmp_path: Path) -> None:
    assert read(write(tmp_path, "item_id,title\na,1984\n"))[0] == {"a": {"title": "1984"}}


def test_of_duplicate_ids_the_last_one_counts(tmp_path: Path) -> None:
    text = "item_id,title\na,first\nb,B\na,second\na,third\n"
    found, problems = read(write(tmp_path, text), strict=True)
    assert found == {"b": {"title": "B"}, "a": {"title": "third"}}
    assert [(one.line, one.severity) for one in problems] == [(2, "replaced"), (4, "replaced")]
    assert "line 4" in problems[0].reason


def test_bad_rows(tmp_path: Path) -> None:
    path = write(tmp_path, 'item_id,title\na,A\n,nameless\nb\n"c\x00",C\n  ,blank\nd,D\n')
    found, problems = read(path)
    assert list(found) == ["a", "d"]
    assert [one.line for one in problems] == [3, 4, 5, 6]
    with pytest.raises(DataError, match=r"items\.csv:3: item_id is empty \(4 bad rows"):
        read(path, strict=True)


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    objects: list[dict[str, object]] = [
        {"item_id": 1, "title": "A", "tags": ["x", "y"], "nested": {"deep": [1, None]}, "gone": None},
        {"item_id": "2", "genres": "Drama|Comedy", "price": 0, "free": False, "empty": ""},
        {"item_id": 3.5},
        {"title": "no id"},
    ]
    path = write(tmp_path, "\n".join(json.dumps(one) for one in objects), "items.jsonl")
    found, problems = read(path)
    assert found == {
        "1": {"title": "A", "tags": ["x", "y"], "nested": {"deep": [1, None]}},
        "2": {"genres": ["Drama", "Comedy"], "price": 0, "free": False},
    }
    assert [one.line for one in problems] == [3, 4]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "item_id": [1, 2],
            "title": ["A", None],
            "genres": [["Drama"], []],
            "released": [datetime.date(1995, 1, 2), None],
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
            "score": [float("nan"), 0.5],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    assert read(tmp_path / "items.parquet")[0] == {
        "1": {"title": "A", "genres": ["Drama"], "released": "1995-01-02", "price": 1.5},
        "2": {"genres": [], "score": 0.5},
    }


def test_attributes_that_json_does_not_know(tmp_path: Path) -> None:
    columns = {
        "image": [b"\xff\xd8\xff", b"ok"],
        "length": pa.array([datetime.timedelta(seconds=90), None]),
        "opens": [datetime.time(9, 0), None],
        "price": [1.0, float("inf")],
        "vector": [[1.0, 2.0], [1.0, float("nan")]],
        "name_of_spark": [b"A", b"B"],
    }
    pq.write_table(pa.table({"item_id": ["x", "y"], **columns}), tmp_path / "items.parquet")
    found, problems = read(tmp_path / "items.parquet")
    assert found == {
        "x": {"opens": "09:00:00", "price": 1.0, "vector": [1.0, 2.0], "name_of_spark": "A"},
        "y": {"vector": [1.0, None], "name_of_spark": "B"},
    }
    assert [(one.line, one.severity, one.kind) for one in problems] == [
        (1, "note", "image: left out, as JSON has no bytes"),
        (1, "note", "length: left out, as JSON has no durations"),
        (2, "note", "image: left out, as JSON has no bytes"),
        (2, "note", "price: left out, as JSON has no infinity"),
    ]


def test_a_row_of_empty_cells_is_no_bad_row(tmp_path: Path) -> None:
    found, problems = read(write(tmp_path, "item_id,title,,\na,A,,\n,,,\n,,,,\n  \nb,B,,\n"), strict=True)
    assert list(found) == ["a", "b"]
    assert problems == []


def test_what_stands_in_a_column_without_a_name_is_counted(tmp_path: Path) -> None:
    found, problems = read(write(tmp_path, ",item_id,title,\n0,a,A,x\n1,b,B,\n"))
    assert found == {"a": {"title": "A"}, "b": {"title": "B"}}
    assert [(one.line, one.severity) for one in problems] == [(2, "note"), (2, "note"), (3, "note")]
    assert problems[0].reason == "Unnamed: 0: 0 stands in a column without a name"


def test_between_tabs_quotes_are_text(tmp_path: Path) -> None:
    titles = ['"Strange Al" Jankov', '12" Mix', '"Unclosed', 'closing"', "plain"]
    text = "item_id\ttitle\n" + "".join(f"a{n}\t{title}\n" for n, title in enumerate(titles))
    found, problems = read(write(tmp_path, text, "items.tsv"))
    assert [one["title"] for one in found.values()] == titles
    assert problems == []
    # Who quotes names of columns quotes cells as well.
    found, _ = read(write(tmp_path, '"item_id"\t"title"\n"a"\t"12"" Mix\tB"\n', "items.tsv"))
    assert found == {"a": {"title": '12" Mix\tB'}}


def test_very_long_fields(tmp_path: Path) -> None:
    long = "word " * 100_000
    for text in (f'"{long}, and more"', long):
        found, problems = read(write(tmp_path, f"item_id,text\na,{text}\nb,B\n"))
        assert (list(found), problems) == (["a", "b"], [])
        assert len(found["a"]["text"]) >= len(long)


def test_json_lines_as_python_writes_them(tmp_path: Path) -> None:
    lines = [
        '{"item_id": "a", "price": NaN, "sizes": [1, NaN]}',
        '{"item_id": "b", "price": Infinity, "year": 2000}',
        '{"item_id": NaN, "price": 1}',
        '{"item_id": 12345678901234567890123, "price": 1}',
        '{"item_id": "c", "note": "NaN", "": 1}',
        '{"item_id": "d", "broken": NaN',
        "{}",
    ]
    found, problems = read(write(tmp_path, "\n".join(lines), "items.jsonl"))
    assert found == {"a": {"sizes": [1, None]}, "b": {"year": 2000}, "c": {"note": "NaN"}}
    assert [(one.line, one.severity, one.reason.split(":")[0]) for one in problems] == [
        (2, "note", "price"),
        (3, "error", "item_id is empty"),
        (4, "error", "item_id 1.2345678901234568e+22 is too large for an id that is kept as a float"),
        (5, "note", ""),
        (6, "error", "not valid JSON"),
        (7, "error", "item_id is empty"),
    ]


def test_parquet_of_further_types(tmp_path: Path) -> None:
    columns = {
        "item_id": pa.array([Decimal(1), Decimal(2)], pa.decimal128(38, 0)),
        "year": pa.array([Decimal(1995), None], pa.decimal128(38, 0)),
        "exact": pa.array([Decimal("0.1"), Decimal("123456789012345678.123")], pa.decimal128(38, 3)),
        "brand": pa.array(["A", "B"]).dictionary_encode(),
        "view": pa.array(["A", None], pa.string_view()),
        "when": pa.array([1_600_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
        "far": pa.array([2**60, 0], pa.timestamp("ms")),
        "size": pa.array([{"w": 1.5, "h": float("nan")}, None]),
        "photo": pa.array([{"bytes": b"\xff", "path": "x.jpg"}, None]),
        "half": pa.array([1.5, None], pa.float16()),
        "nothing": pa.nulls(2),
        "sold": [True, False],
    }
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    found, problems = read(tmp_path / "items.parquet")
    assert found == {
        "1": {
            "year": 1995, "exact": 0.1, "brand": "A", "view": "A", "size": {"w": 1.5, "h": None},
            "when": "2020-09-13T12:26:40.123456+00:00", "half": 1.5, "sold": True,
        },
        "2": {"brand": "B", "far": "1970-01-01T00:00:00", "sold": False},
    }  # fmt: skip
    assert [(one.line, one.reason.split(":")[0]) for one in problems] == [
        (1, "far"),
        (1, "photo"),
        (2, "exact"),
    ]


def test_two_parquet_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["x"]), pa.array(["y"])], ["item_id", "t", "t"])
    pq.write_table(table, tmp_path / "items.parquet")
    with pytest.raises(DataError, match="two columns called 't'"):
        read(tmp_path / "items.parquet")


def test_canonical_tables_are_read_as_they_are(tmp_path: Path) -> None:
    table = pa.table({"item_id": ["a", "b"], "attributes": ['{"genres": "x|y"}', "[1]"]})
    pq.write_table(table, tmp_path / "items.parquet")
    found, problems = read(tmp_path / "items.parquet")
    assert found == {"a": {"genres": "x|y"}}
    assert [one.line for one in problems] == [2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.csv", "", "is empty"),
        ("i.csv", "item_id,title\n", "holds no rows"),
        ("i.csv", "item_key,title\na,A\n", "no column 'item_id'; did you mean 'item_key'"),
        ("i.jsonl", "\n", "is empty"),
        ("i.jsonl", "nonsense", "no usable row"),
        ("i.parquet", "nonsense", "not a complete Parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read(write(tmp_path, text, name))
    assert name in refusal.value.message
    assert "\n" not in refusal.value.message


def test_importing_twice_stores_once(tmp_path: Path) -> None:
    events_path = write(
        tmp_path,
        "user_id,item_id,rating,timestamp\n"
        + "".join(f"u{n % 7},i{n % 11},{n % 5 + 1},{1_600_000_000 + n // 3}\n" for n in range(25_000))
        + "u0,i0,1,1600000000\n" * 3,  # exact repetitions are events of their own
        "events.csv",
    )
    items_path = write(tmp_path, "item_id,title\n" + "".join(f"i{n},Item {n}\n" for n in range(11)))
    tables = Tables(read_items(items_path)[0], read_events(events_path, DEFAULT_EVENT_TYPES)[0])
    seen: list[tuple[int, int]] = []
    with open_store(None, tmp_path) as store:
        first = import_tables(store, tables, lambda *step: seen.append(step))
        assert first == ImportSummary(items=11, events=25_003, new_events=25_003)
        assert import_tables(store, tables) == ImportSummary(items=11, events=25_003, new_events=0)
        assert store.counts() == Counts(users=7, items=11, events=25_003)
        assert store.items(["i3"]) == {"i3": Item("i3", {"title": "Item 3"})}
        again = Tables(store.snapshot(events=False).items, store.events_after(0, 30_000)[0])
        assert import_tables(store, again) == ImportSummary(11, 25_003, 0)
    assert seen[0] == (11, 25_014)
    assert seen[-1] == (25_014, 25_014)


def test_nothing_to_import(tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store:
        assert import_tables(store, empty_tables()) == ImportSummary(0, 0, 0)


def test_a_summary_reads_like_a_sentence() -> None:
    assert str(ImportSummary(11, 25_003, 25_003)) == "11 items and 25,003 events imported"
    assert str(ImportSummary(0, 5, 2)) == "0 items and 2 events imported (3 were there already)"


def test_importing_keeps_given_ids_and_empty_values(tmp_path: Path) -> None:
    columns = [
        ["e1", ""],
        ["u", "u"],
        ["i", "i"],
        ["view", "rating"],
        [None, 2.0],
        [5, 6],
        [None, "a b"],
        [None, '{"device": "phone"}'],
    ]
    tables = Tables(pa.table([["i"], ["{}"]], schema=ITEM_SCHEMA), pa.table(columns, schema=EVENT_SCHEMA))
    with open_store(None, tmp_path) as store:
        assert import_tables(store, tables).new_events == 2
        first, second = store.histories(["u"], 9)["u"]
    assert first == Event("u", "i", "view", 5, None, "e1")
    assert second.event_id
    assert (first.text, second.text) == (None, "a b")
    assert (first.context, second.context) == (None, '{"device": "phone"}')


def test_maps_are_objects_and_the_index_of_pandas_is_no_attribute(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.int64())
    table = pa.table(
        {
            "item_id": ["a", "b"],
            "sizes": pa.array([[("s", 1), ("m", 2)], [("s", 1), ("s", 2)]], kind),
            "__index_level_0__": [7, 9],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    found, problems = read(tmp_path / "items.parquet")
    assert found == {"a": {"sizes": {"s": 1, "m": 2}}, "b": {}}
    kinds = sorted(problem.kind for problem in problems)
    assert kinds[:2] == ["__index_level_0__: a column without a name"] * 2
    assert kinds[2].startswith("sizes: left out, as JSON has no such map<string, int64")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("\"['Action', 'Sci-Fi']\"", ["Action", "Sci-Fi"]),
        ('"[""A"", ""B|C""]"', ["A", "B|C"]),
        ("[]", []),
        ("[live] | 'x'", ["[live]", "'x'"]),
        ("[live]", ["[live]"]),
    ],
)
def test_lists_as_pandas_and_json_write_them(tmp_path: Path, cell: str, expected: list[str]) -> None:
    assert read(write(tmp_path, f"item_id,genres\na,{cell}\n"))[0] == {"a": {"genres": expected}}
