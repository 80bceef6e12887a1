from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import DataError
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.store.ingest import EVENT_SCHEMA, RowProblem, read_events, with_event_ids

NOW = 1_800_000_000_000
TYPES = DEFAULT_EVENT_TYPES


def read(path: Path, **options: object) -> tuple[list[dict[str, object]], list[RowProblem]]:
    table, report = read_events(path, TYPES, now_ms=NOW, **options)  # type: ignore[arg-type]  # as given
    assert table.schema == EVENT_SCHEMA
    assert report.rows == report.taken + report.count("error") + report.count("blank")
    assert report.taken == len(table)
    return table.drop_columns(["event_id", "text", "context"]).to_pylist(), report.problems


def write(folder: Path, text: str | bytes, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def row(user: str, item: str, event: str, value: float | None, timestamp: int) -> dict[str, object]:
    return {"user_id": user, "item_id": item, "event": event, "value": value, "timestamp": timestamp}


def test_csv_with_all_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "timestamp,event,user_id,item_id,value,extra\n"
        "1700000000,view,u1,i1,,x\n"
        "1700000000123,rating,u2,i2,4.5,y\n"
        "2023-11-14T22:13:20.5Z,purchase,u3,i3,1,z\n",
    )
    assert read(path) == (
        [
            row("u1", "i1", "view", None, 1_700_000_000_000),
            row("u2", "i2", "rating", 4.5, 1_700_000_000_123),
            row("u3", "i3", "purchase", 1.0, 1_700_000_000_500),
        ],
        [],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("99999999", 99_999_999_000),
        ("1700000000.25", 1_700_000_000_250),
        ("+1.7e9", 1_700_000_000_000),
        ("100000000000", 100_000_000_000),
        ("2023-11-14", 1_699_920_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13:20+02:00", 1_699_992_800_000),
        ("2023-11-14t22:13:20z", 1_700_000_000_000),
        (" 1700000000 ", 1_700_000_000_000),
    ],
)
def test_times(tmp_path: Path, text: str, expected: int) -> None:
    rows, problems = read(write(tmp_path, f"user_id,item_id,timestamp\nu,i,{text}\n"))
    assert not problems
    assert rows[0]["timestamp"] == expected


def test_event_type_defaults(tmp_path: Path) -> None:
    plain = read(write(tmp_path, "user_id,item_id,timestamp\nu,i,1\n"))[0]
    assert plain == [row("u", "i", "view", None, 1000)]
    rated = read(write(tmp_path, "user_id,item_id,rating,timestamp\nu,i,3,1\nu,j,,1\n"))[0]
    assert rated == [row("u", "i", "rating", 3.0, 1000), row("u", "j", "view", None, 1000)]
    mixed = read(write(tmp_path, "user_id,item_id,event,value,timestamp\nu,i,,2,1\nu,j,,,1\n"))[0]
    assert [one["event"] for one in mixed] == ["rating", "view"]


BAD = """user_id,item_id,event,value,timestamp
u,good,view,,1700000000
u,i
u,i,view,,1700000000,more
,i,view,,1700000000
u,,view,,1700000000
u,i,veiw,,1700000000
u,i,rating,nan,1700000000
u,i,rating,-inf,1700000000
u,i,rating,four,1700000000
u,i,view,,yesterday
u,i,view,,
u,i,view,,1900000000
u,i,view,,1e30
u,good,rating,5,1700000000
"""

REASONS = {
    3: "2 columns instead of 5",
    4: "6 columns instead of 5",
    5: "user_id is empty",
    6: "item_id is empty",
    7: "unknown event type 'veiw'; did you mean 'view'",
    8: "value 'nan' is not a finite number",
    9: "value '-inf' is not a finite number",
    10: "value 'four' is not a number",
    11: "timestamp 'yesterday' is not a time",
    12: "timestamp is empty",
    13: "timestamp '1900000000' is in the future",
    14: "timestamp '1e30' is not a time",
}


def check_bad(path: Path, shift: int = 0) -> None:
    rows, problems = read(path)
    assert [one["item_id"] for one in rows] == ["good", "good"]
    assert [problem.line - shift for problem in problems] == list(REASONS)
    for problem, reason in zip(problems, REASONS.values(), strict=True):
        assert problem.reason.startswith(reason)
        assert problem.severity == "error"
        assert str(problem).startswith(f"{path}:{problem.line}: ")


def test_each_bad_row_is_reported_and_the_good_ones_load(tmp_path: Path) -> None:
    check_bad(write(tmp_path, BAD))


def test_line_numbers_hold_with_windows_line_ends_blank_lines_and_a_mark(tmp_path: Path) -> None:
    check_bad(write(tmp_path, BAD.replace("\n", "\r\n")))
    check_bad(write(tmp_path, "\n\n" + BAD), shift=2)
    check_bad(write(tmp_path, "\ufeff" + BAD))
    check_bad(write(tmp_path, BAD.replace("u,i,view,,yesterday", '"u","i",view,,yesterday')))


def test_strict_refuses_all(tmp_path: Path) -> None:
    path = write(tmp_path, BAD)
    with pytest.raises(DataError, match=r"events\.csv:3: .*12 bad rows.*nothing was loaded") as refusal:
        read(path, strict=True)
    assert "\n" not in refusal.value.message
    good = write(tmp_path, "user_id,item_id,timestamp\nu,i,1\n", "good.csv")
    assert len(read(good, strict=True)[0]) == 1


def test_a_half_written_last_line(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, "user_id,item_id,timestamp\nu,i,1\nu,j,2\nu,k"))
    assert len(rows) == 2
    assert problems[0].line == 4
    assert problems[0].reason.startswith("2 columns instead of 3 (the file ends in the middle")


def test_bytes_that_are_not_utf8_cost_their_own_row_only(tmp_path: Path) -> None:
    lines = [b"user_id,item_id,timestamp", b"u,\xff\xfe,1", "ü,日本,2".encode(), b"caf\xe9,i,3"]
    rows, problems = read(write(tmp_path, b"\n".join(lines)))
    assert rows == [row("ü", "日本", "view", None, 2000)]
    assert [(one.line, one.reason.split(" (")[0]) for one in problems] == [(2, "not UTF-8"), (4, "not UTF-8")]


def test_an_unclosed_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    body = "".join(f"u,i{n},{n}\n" for n in range(5))
    rows, problems = read(write(tmp_path, f'user_id,item_id,timestamp\nu,"broken,7\n{body}u,last,9\n'))
    assert len(rows) == 6
    assert [problem.line for problem in problems] == [2]
    assert "never closed" in problems[0].reason


def test_quoted_fields_may_hold_anything(tmp_path: Path) -> None:
    text = 'user_id,item_id,timestamp\n"a,b","say ""hi""\nto me",1\nu,after,2\nu,bad\n'
    rows, problems = read(write(tmp_path, text))
    assert [(one["user_id"], one["item_id"]) for one in rows] == [
        ("a,b", 'say "hi"\nto me'),
        ("u", "after"),
    ]
    assert [problem.line for problem in problems] == [5]


def test_nul_characters_are_refused_by_row(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, "user_id,item_id,timestamp\nu,a\x00b,1\nu,i,1\n"))
    assert len(rows) == 1
    assert problems[0].line == 2
    assert "NUL" in problems[0].reason


def test_other_delimiters(tmp_path: Path) -> None:
    for delimiter in "\t;":
        text = "user_id,item_id,timestamp\nu,i,1\n".replace(",", delimiter)
        assert read(write(tmp_path, text, "events.tsv"))[0] == [row("u", "i", "view", None, 1000)]


def test_without_timestamps_the_order_of_the_file_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "user_id,item_id\n" + "".join(f"u,i{n}\n" for n in range(5)))
    with pytest.raises(DataError, match="'timestamp'"):
        read(path)
    rows, _ = read(path, require_timestamp=False)
    assert [one["item_id"] for one in rows] == [f"i{n}" for n in range(5)]
    times = [one["timestamp"] for one in rows]
    assert times == sorted(set(times))  # type: ignore[type-var]  # they are ints


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", b"", "is empty"),
        ("e.csv", b"\n\n", "is empty"),
        ("e.csv", b"user_id,item_id,timestamp\n", "holds no rows"),
        ("e.csv", b"user_id,item_id,timestamp\nu,i\n", "no usable row.*2: 2 columns"),
        ("e.csv", b"user_key,item_id,timestamp\nu,i,1\n", "no column 'user_id'; did you mean 'user_key'"),
        ("e.csv", b"user_id,user_id,item_id,timestamp\n", "two columns called 'user_id'"),
        ("e.csv", bytes(range(256)) * 9, "not a CSV file"),
        ("e.jsonl", b"", "is empty"),
        ("e.jsonl", bytes(range(128, 256)) * 9, "holds no usable row"),
        ("e.jsonl", b'[{"user_id": "u"}', "not a complete JSON array"),
        ("e.jsonl", b"[\n{}\n]", "no column 'user_id'"),
        ("e.jsonl", b"[1, 2]", "holds no usable row"),
        ("e.jsonl", b'{"person": "u"}', "no column 'user_id'"),
        ("e.parquet", b"", "not a complete Parquet file"),
        ("e.parquet", b"PAR1 but no more", "not a complete Parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read(write(tmp_path, content, name))
    assert "\n" not in refusal.value.message
    assert name in refusal.value.message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*nothing\.csv"):
        read(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)


def test_json_lines(tmp_path: Path) -> None:
    objects: list[object] = [
        {"user_id": 7, "item_id": "i", "value": 3, "timestamp": 1_700_000_000},
        {"item_id": 1, "user_id": "ü 🎬", "timestamp": "2023-11-14", "event": "click"},
        {"user_id": "u", "item_id": ["i"], "timestamp": 1},
        {"user_id": "u", "item_id": True, "timestamp": 1},
        [1],
        {"user_id": "u", "timestamp": 1},
        {"user_id": "u", "item_id": "i", "timestamp": None},
    ]
    lines = [json.dumps(one) for one in objects]
    text = "\n".join([*lines[:2], "", *lines[2:], '{"user_id": "cut'])
    rows, problems = read(write(tmp_path, text, "e.jsonl"))
    assert rows == [
        row("7", "i", "rating", 3.0, 1_700_000_000_000),
        row("ü 🎬", "1", "click", None, 1_699_920_000_000),
    ]
    assert [(one.line, one.reason.split()[0]) for one in problems] == [
        (4, "item_id"),
        (5, "item_id"),
        (6, "[1]"),
        (7, "item_id"),
        (8, "timestamp"),
        (9, "not"),
    ]


def test_parquet_of_many_types(tmp_path: Path) -> None:
    moment = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    table = pa.table(
        {
            "user_id": pa.array([1, 2, None], pa.int64()),
            "item_id": pa.array(["a", "b", "c"]).dictionary_encode(),
            "rating": pa.array([1, None, 3], pa.float32()),
            "timestamp": pa.array([moment] * 3, pa.timestamp("us", "Europe/Paris")),
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    rows, problems = read(tmp_path / "e.parquet")
    assert rows == [
        row("1", "a", "rating", 1.0, 1_700_000_000_000),
        row("2", "b", "view", None, 1_700_000_000_000),
    ]
    assert [(one.line, one.reason) for one in problems] == [(3, "user_id is empty")]


def test_parquet_ids_that_pandas_made_floats(tmp_path: Path) -> None:
    table = pa.table({"user_id": [1.0, None], "item_id": ["i", "i"], "timestamp": [1, 2]})
    pq.write_table(table, tmp_path / "e.parquet")
    assert read(tmp_path / "e.parquet")[0] == [row("1", "i", "view", None, 1000)]


def test_parquet_columns_that_are_no_text_or_number(tmp_path: Path) -> None:
    for column in ({"user_id": [["u"]]}, {"timestamp": [[1]]}, {"value": [{"a": 1}]}):
        table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1], **column})
        pq.write_table(table, tmp_path / "e.parquet")
        with pytest.raises(DataError, match="holds"):
            read(tmp_path / "e.parquet")


def test_values_have_the_scale_of_their_type(tmp_path: Path) -> None:
    lines = [
        "a,rating,0",
        "a,rating,10",
        "a,rating,-1",
        "a,rating,7",
        "a,rating,1e308",
        "a,rating, 5 ",
        "a,view,7",
    ]
    text = "user_id,item_id,event,value,timestamp\n" + "".join(f"u,{line},1600000000\n" for line in lines)
    rows, problems = read(write(tmp_path, text))
    assert [(one["event"], one["value"]) for one in rows] == [("rating", 5.0), ("view", 7.0)]
    assert [one.line for one in problems] == [2, 3, 4, 5, 6]
    assert problems[1].reason == (
        "value 10 is off the scale of 'rating', which runs from 0.5 to 5; set events.rating.value_range in "
        "recserve.yaml"
    )


def test_value_and_rating(tmp_path: Path) -> None:
    text = "user_id,item_id,value,rating,timestamp\nu,a,3,3,1\nu,b,,4,1\nu,c,3,4,1\nu,d,,,1\n"
    rows, problems = read(write(tmp_path, text))
    assert [(one["event"], one["value"]) for one in rows] == [
        ("rating", 3.0),
        ("rating", 4.0),
        ("view", None),
    ]
    assert [(one.line, one.reason) for one in problems] == [
        (4, "value 3 and rating 4 differ; give one of them")
    ]


def test_parquet_values_of_many_types(tmp_path: Path) -> None:
    rows = {"user_id": ["u", "u"], "item_id": ["i", "j"], "timestamp": [1_600_000_000] * 2}
    for column in (
        pa.array([4.0, float("nan")]),
        pa.array([4, None], pa.int8()),
        pa.array([Decimal("4.00"), None], pa.decimal128(10, 2)),
        pa.array(["4", ""]),
        pa.array([b" 4 ", b""]),
        pa.array(["4", None], pa.string_view()),
        pa.array([4.0, None]).dictionary_encode(),
        pa.array([4.0, None], pa.float16()),
    ):
        pq.write_table(pa.table({**rows, "value": column}), tmp_path / "e.parquet")
        found, problems = read(tmp_path / "e.parquet")
        assert problems == [], column.type
        assert [one["value"] for one in found] == [4.0, None], column.type
        assert [one["event"] for one in found] == ["rating", "view"]
    pq.write_table(pa.table({**rows, "value": pa.array([True, False])}), tmp_path / "e.parquet")
    with pytest.raises(DataError, match="column 'value' holds bool, not numbers"):
        read(tmp_path / "e.parquet")


def test_value_and_rating_of_other_types(tmp_path: Path) -> None:
    rows = {"user_id": ["u", "u"], "item_id": ["i", "j"], "timestamp": [1_600_000_000] * 2}
    pq.write_table(pa.table({**rows, "value": [4.0, None], "rating": ["", "3"]}), tmp_path / "e.parquet")
    assert [one["value"] for one in read(tmp_path / "e.parquet")[0]] == [4.0, 3.0]


def test_a_spreadsheets_empty_cells(tmp_path: Path) -> None:
    for text in (
        "user_id,item_id,timestamp,,\nu,i,1600000000,,\n",
        "user_id,item_id,timestamp\nu,i,1600000000,,\n",
        "user_id,item_id,timestamp,,\nu,i,1600000000,note,\n,,,,\n,,,,,,\n",
        "user_id,item_id,timestamp,x,x\nu,i,1600000000,a,b\n",
        ",user_id,item_id,timestamp\n0,u,i,1600000000\n",
    ):
        rows, problems = read(write(tmp_path, text), strict=True)
        assert (rows, problems) == ([row("u", "i", "view", None, 1_600_000_000_000)], [])


def test_many_bad_rows_are_all_counted(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp\n" + "u,i,soon\n" * 5000 + "u,i,1600000000\n"
    table, report = read_events(write(tmp_path, text), TYPES)
    assert (report.rows, report.taken, len(table), report.count("error")) == (5001, 1, 1, 5000)
    assert len(report.problems) == 1000


def test_blanks_around_names_of_event_types(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, "user_id, item_id, event, timestamp\nu, i, like, 1600000000\n"))
    assert rows == [row("u", "i", "like", None, 1_600_000_000_000)]
    assert problems == []


def test_files_without_a_known_suffix_are_told_by_their_content(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1]})
    pq.write_table(table, tmp_path / "parquet")
    write(tmp_path, '{"user_id": "u", "item_id": "i", "timestamp": 1}', "json")
    write(tmp_path, "user_id,item_id,timestamp\nu,i,1\n", "csv")
    for name in ("parquet", "json", "csv"):
        assert read(tmp_path / name)[0] == [row("u", "i", "view", None, 1000)]


def test_event_ids_depend_on_content_only(tmp_path: Path) -> None:
    lines = ["u,i,3,1700000000", "u,i,3.0,1700000000000", "u,i,,1700000000", "v,i,3,1700000000"]
    header = "user_id,item_id,value,timestamp\n"

    def ids(order: list[int]) -> list[str]:
        text = header + "\n".join(lines[n] for n in order)
        found = with_event_ids(read_events(write(tmp_path, text), TYPES)[0])
        return found["event_id"].to_pylist()  # type: ignore[no-any-return]  # Arrow has no types

    first = ids([0, 1, 2, 3])
    assert len(set(first)) == 4
    assert first[1] == first[0] + "-1"  # the same event again, written differently
    assert ids([3, 0, 1, 2]) == [first[3], *first[:3]]


def test_given_event_ids_are_kept(tmp_path: Path) -> None:
    text = "event_id,user_id,item_id,timestamp\nmine,u,i,1\n,u,i,1\n"
    table = with_event_ids(read_events(write(tmp_path, text), TYPES)[0])
    mine, made = table["event_id"].to_pylist()
    assert mine == "mine"
    assert len(made) == 32


_cell = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=9)


def as_id(text: str) -> str:
    """Without blanks and a point behind a whole number, in form C; empty if it is no id."""
    inner = unicodedata.normalize("NFC", re.sub(r"^(0|-?[1-9][0-9]*)\.0+$", r"\1", text.strip()))
    words = ("nan", "NaN", "NaT", "null", "NULL", "None", "<NA>", "#N/A", "\\N")
    return "" if inner in words or re.fullmatch(r"-?[0-9](\.[0-9]+)?[eE]\+[0-9]+", inner) else inner


@settings(max_examples=60, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(_cell, _cell, st.none() | st.integers(1, 5), st.integers(10**9, 1_800_000_000)), min_size=1
    ),
    quote=st.booleans(),
)
def test_both_ways_of_reading_agree(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, int | None, int]], quote: bool
) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(["user_id", "item_id", "value", "timestamp"])
    writer.writerows(drawn)
    path = write(tmp_path_factory.mktemp("agree"), text.getvalue())
    expected = [
        row(as_id(user), as_id(item), "view" if value is None else "rating", value, time * 1000)
        for user, item, value, time in drawn
        if as_id(user) and as_id(item)
    ]
    if not expected:
        with pytest.raises(DataError):
            read(path)
        return
    rows, problems = read(path)
    assert rows == expected
    assert [one.line for one in problems] == [
        line for line, (user, item, *_) in enumerate(drawn, 2) if not (as_id(user) and as_id(item))
    ]


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"u{n},i{n},{n}" for n in range(500)]
    lines[100] = "broken"
    lines[200] = '"u200","two\nlines",200'
    lines[300] = '"unclosed,i,300'
    lines[400] = ""
    path = write(tmp_path, "user_id,item_id,timestamp\n" + "\n".join(lines))
    whole = read(path)
    assert [problem.line for problem in whole[1]] == [102, 303]
    for size in (1, 10, 64, 1000):
        monkeypatch.setattr("recserve.store.ingest.files.delimited._BLOCK_BYTES", size)
        assert read(path) == whole


def test_texts_are_read_with_an_item_and_without(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "user_id,item_id,value,timestamp,text\n"
        'u,,,1,"space\topera  with robots"\n'
        "u,i,5,2,fine\n"
        "u,i,,3,\n"
        "u,,,4, \n"
        f"u,,,5,{'字' * 10_001}\n",
    )
    table, report = read_events(path, TYPES, now_ms=NOW)
    assert [(each["item_id"], each["event"], each["text"]) for each in table.to_pylist()] == [
        ("", "search", "space opera with robots"),
        ("i", "rating", "fine"),
        ("i", "view", None),
        ("", "search", "字" * 10_000),
    ]
    assert [(problem.line, problem.kind) for problem in report.problems] == [(5, "neither item_id nor text")]
    assert report.counts["note", "text was cut to 10,000 characters"] == 1


def test_a_file_of_words_alone_needs_no_items(tmp_path: Path) -> None:
    path = write(tmp_path, "user_id,timestamp,text\nu,1,a\nu,1,b\nu,1,a\n")
    table = with_event_ids(read_events(path, TYPES, now_ms=NOW)[0])
    ids = table["event_id"].to_pylist()
    assert table["item_id"].to_pylist() == ["", "", ""]
    assert len(set(ids)) == 3
    assert ids[2] == f"{ids[0]}-1"


def test_a_text_beside_an_item_is_no_part_of_the_events_id(tmp_path: Path) -> None:
    bare = write(tmp_path, "user_id,item_id,timestamp\nu,i,1\n", "bare.csv")
    full = write(tmp_path, "user_id,item_id,timestamp,text\nu,i,1,fine\n", "full.csv")
    found = [with_event_ids(read_events(path, TYPES, now_ms=NOW)[0])["event_id"] for path in (bare, full)]
    assert found[0] == found[1]


def test_contexts_are_flat_objects_or_left_out(tmp_path: Path) -> None:
    said = '{"device": "phone", "fast": true}'
    quoted_said = said.replace('"', '""')
    cells = f'"{quoted_said}"', "", "home", '"{""a"": [1]}"'
    rows = "".join(f"u,{item},1700000000,{cell}\n" for item, cell in zip("abcd", cells, strict=True))
    text = f"user_id,item_id,timestamp,context\n{rows}"
    table, report = read_events(write(tmp_path, text), TYPES, now_ms=NOW)
    assert table["context"].to_pylist() == [said, None, None, None]
    assert (report.taken, report.count("note")) == (4, 2)
    assert "home" not in report.problems[0].reason
    objects = [
        {"user_id": "u", "item_id": "a", "timestamp": 1, "context": {"fast": True, "device": "phone"}},
        {"user_id": "u", "item_id": "b", "timestamp": 1},
        {"user_id": "u", "item_id": "c", "timestamp": 1, "context": ["home"]},
    ]
    lines = "".join(json.dumps(one) + "\n" for one in objects)
    table, report = read_events(write(tmp_path, lines, "events.jsonl"), TYPES, now_ms=NOW)
    assert table["context"].to_pylist() == [said, None, None]
    pq.write_table(pa.Table.from_pylist(objects[:2]), tmp_path / "events.parquet")
    table, report = read_events(tmp_path / "events.parquet", TYPES, now_ms=NOW)
    assert (table["context"].to_pylist(), report.problems) == ([said, None], [])
