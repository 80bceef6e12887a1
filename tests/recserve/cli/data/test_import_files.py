"""Ways in which files are written: compressions, encodings, delimiters, JSON and Excel."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from recserve.errors import DataError
from tests.support.importing import imported, write

EVENTS = "user_id,item_id,event,value,timestamp\nu1,i1,view,,1600000000\nu2,i2,rating,4.5,1600000001\n"
ROWS = [("u1", "i1", None), ("u2", "i2", 4.5)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def zstandard(data: bytes) -> bytes:
    codec = pa.Codec("zstd")
    half = len(data) // 2
    # Two frames, as parallel compressors write them.
    return b"".join(codec.compress(part).to_pybytes() for part in (data[:half], data[half:]))


def zipped(data: bytes, *names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names or ("events.csv",):
            archive.writestr(name, data)
    return made.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "events.csv.gz": gzip.compress,
    "events.csv.zst": zstandard,
    "events.csv.bz2": bz2.compress,
    "events.csv.xz": lzma.compress,
    "events.csv.zip": zipped,
    "events": gzip.compress,  # told by its content, whatever its name
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_files(home: Path, tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, COMPRESSIONS[name](EVENTS.encode()))
    assert imported(home, "--events", path).values() == ROWS


def test_compressed_json_is_told_by_the_name_inside(home: Path, tmp_path: Path) -> None:
    rows = b'{"user_id": "u1", "item_id": "i1", "timestamp": 1600000000}\n'
    path = write(tmp_path, "events.jsonl.gz", gzip.compress(rows))
    assert imported(home, "--events", path).values() == [("u1", "i1", None)]


@pytest.mark.parametrize("name", ["events.csv.gz", "events.csv.bz2", "events.csv.xz", "events.csv.zst"])
def test_files_that_were_cut_off_are_refused(home: Path, tmp_path: Path, name: str) -> None:
    whole = COMPRESSIONS[name](EVENTS.encode() * 50)
    path = write(tmp_path, name, whole[: len(whole) - 9])
    with pytest.raises(DataError, match=rf"cannot read .*{name}"):
        imported(home, "--events", path)


def test_archives_of_several_files_are_refused(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "all.zip", zipped(EVENTS.encode(), "a.csv", "b.csv"))
    with pytest.raises(DataError, match="archive of 2 files; unpack it"):
        imported(home, "--events", path)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("local", 6), 1, "is encrypted, password required"),
        (("local", 8), 9, "compression method is not supported"),
    ],
)
def test_archives_that_cannot_be_unpacked_are_refused(
    home: Path, tmp_path: Path, place: tuple[str, int], value: int, reason: str
) -> None:
    archive = bytearray(zipped(EVENTS.encode()))
    _, offset = place
    archive[offset] = value  # flags or method of the file's header, and of the directory's entry
    archive[archive.find(b"PK\x01\x02") + offset + 2] = value
    with pytest.raises(DataError, match=rf"cannot read .*{reason}.*unpack it"):
        imported(home, "--events", write(tmp_path, "e.zip", bytes(archive)))


def test_zstandard_of_several_threads_begins_with_a_frame_to_skip(home: Path, tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"
    path = write(tmp_path, "e.csv.zst", skippable + zstandard(EVENTS.encode()))
    assert imported(home, "--events", path).values() == ROWS


def test_pipes_are_refused_at_once(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.csv")  # nobody writes: opening it would wait for ever
    with pytest.raises(DataError, match=r"events\.csv is a pipe or a device"):
        imported(home, "--events", tmp_path / "events.csv")


@pytest.mark.parametrize("quote", ["", '"'])
def test_line_ends_of_old_macs_are_named(home: Path, tmp_path: Path, quote: str) -> None:
    text = EVENTS.replace("\n", "\r").replace("user_id", f"{quote}user_id{quote}")
    with pytest.raises(DataError, match=r"ends its lines with CR alone"):
        imported(home, "--events", write(tmp_path, "e.csv", text))


CHINESE = [
    ("p1", "华为手机 Mate 60 旗舰智能手机"),
    ("p2", "小米空气净化器，家用除甲醛"),
    ("p3", "新疆若羌灰枣 500克"),
    ("p4", "四川凉山丑苹果"),
]
TRADITIONAL = [
    ("p1", "臺灣高山烏龍茶 茶葉禮盒"),
    ("p2", "紅豆湯圓（冷凍）"),
    ("p3", "無線藍牙耳機"),
    ("p4", "繁體中文小說"),
]
EUROPEAN = [("p1", "Crème brûlée à la vanille"), ("p2", "Größe Übermut Straße"), ("p3", "El niño – “señor”")]
CAPITALS = [("p1", "ÄRZTE"), ("p2", "ÅNGSTRÖM"), ("p3", "Äpfel und Ähren")]


@pytest.mark.parametrize(
    ("encoding", "rows", "said"),
    [
        ("utf-8-sig", CHINESE, None),
        ("utf-16", CHINESE, "read as utf-16"),
        ("utf-16-le", EUROPEAN, "read as utf-16-le"),
        ("utf-32", CHINESE, "read as utf-32"),
        ("utf-16-be", EUROPEAN, "read as utf-16-be"),
        ("gbk", CHINESE, "read as gb18030"),
        ("gb18030", [*CHINESE, ("p5", "㐂𠀀 生僻字")], "read as gb18030"),
        ("big5", TRADITIONAL, "read as big5"),
        ("windows-1252", EUROPEAN, "read as windows-1252"),
        ("windows-1252", CAPITALS, "read as windows-1252"),
        ("latin-1", EUROPEAN[:2], "read as windows-1252"),
    ],
)
def test_encodings_are_recognised_and_said(
    home: Path, tmp_path: Path, encoding: str, rows: list[tuple[str, str]], said: str | None
) -> None:
    text = "item_id,title\n" + "".join(f"{item},{title}\n" for item, title in rows)
    done = imported(home, "--items", write(tmp_path, "items.csv", text.encode(encoding)))
    assert {item: attributes["title"] for item, attributes in done.items.items()} == dict(rows)
    assert said in done.said if said else "read as" not in done.said


def test_an_encoding_can_be_said(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", "item_id,title\np1,日本語の本\n".encode("shift_jis"))
    done = imported(home, "--items", path, "--encoding", "shift_jis")
    assert done.items == {"p1": {"title": "日本語の本"}}
    assert "read as shift_jis" in done.said
    with pytest.raises(DataError, match="unknown encoding 'gb2399'"):
        imported(home, "--items", path, "--encoding", "gb2399")


def test_bytes_that_an_encoding_does_not_have_cost_their_own_row_only(home: Path, tmp_path: Path) -> None:
    text = (
        "item_id,title\n".encode("gbk")
        + "p1,好书\np2,".encode("gbk")
        + b"\xff\xff\n"
        + "p3,好茶\n".encode("gbk")
    )
    done = imported(
        home, "--items", write(tmp_path, "items.csv", text), "--encoding", "gbk", "--allow-bad", "0.5"
    )
    assert done.items == {"p1": {"title": "好书"}, "p3": {"title": "好茶"}}
    assert "items.csv:3: not GBK" in done.said


def test_an_encoding_far_into_a_file_is_seen(home: Path, tmp_path: Path) -> None:
    plain = "".join(f"p{n},Plain title number {n}\n" for n in range(60_000))
    text = f"item_id,title\n{plain}q,Crème brûlée\n".encode("latin-1")
    assert len(text) > 1 << 20
    done = imported(home, "--items", write(tmp_path, "items.csv", text))
    assert done.items["q"] == {"title": "Crème brûlée"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::"])
def test_delimiters(home: Path, tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path, "events.csv", EVENTS.replace(",", delimiter))
    assert imported(home, "--events", path).values() == ROWS


def test_semicolons_with_decimal_commas(home: Path, tmp_path: Path) -> None:
    events = write(
        tmp_path, "e.csv", "user_id;item_id;rating;timestamp\nu;a;4,5;1600000000\nu;b;3;1600000000\n"
    )
    items = write(tmp_path, "i.csv", "item_id;title;price;weight\na;A, and more;1234,50;1\nb;B;-0,5;2\n")
    done = imported(home, "--events", events, "--items", items)
    assert done.values() == [("u", "a", 4.5), ("u", "b", 3.0)]
    assert done.items == {
        "a": {"title": "A, and more", "price": 1234.5, "weight": 1},
        "b": {"title": "B", "price": -0.5, "weight": 2},
    }


def test_json_arrays_and_lines(home: Path, tmp_path: Path) -> None:
    rows = [
        {"user_id": "u1", "item_id": "i1", "timestamp": 1600000000},
        {"user_id": "", "item_id": "i9", "timestamp": 1600000000},
        {"user_id": "u2", "item_id": "i2", "rating": 4.5, "timestamp": 1600000001},
    ]
    path = write(tmp_path, "events.json", "\ufeff" + json.dumps(rows, indent=2))
    done = imported(home, "--events", path, "--allow-bad", "0.5")
    assert done.values() == ROWS
    assert "events.json:2: user_id is empty" in done.said
    path = write(tmp_path, "lines.json", "\ufeff" + "\n".join(map(json.dumps, rows)))
    assert imported(tmp_path / "other", "--events", path, "--allow-bad", "0.5").values() == ROWS


def test_a_number_with_a_comma_and_three_digits_is_not_guessed_at(home: Path, tmp_path: Path) -> None:
    header = "user_id\titem_id\tevent\tvalue\ttimestamp\n"
    rows = "u\ta\tplay\t1,234\t1600000000\nu\tb\tplay\t0,125\t1600000000\n"
    events = write(tmp_path, "e.tsv", header + rows)
    items = write(tmp_path, "i.tsv", "item_id\tsold\tweight\na\t1,234\t1,234\nb\t12\t1,5\n")
    done = imported(home, "--events", events, "--items", items, "--allow-bad", "0.5")
    assert done.values() == [("u", "b", 0.125)]
    assert "value '1,234 (1.234 or 1234?)' is not a number" in done.said
    assert done.items == {"a": {"sold": "1,234", "weight": 1.234}, "b": {"sold": "12", "weight": 1.5}}


def test_keys_that_come_late_in_a_file_are_read(home: Path, tmp_path: Path) -> None:
    row: dict[str, object] = {"user_id": "u", "item_id": "i", "timestamp": 1600000000}
    rows = [*[row] * 1500, {**row, "event": "rating", "value": 4}, {**row, "event": "play", "secs": 7}]
    path = write(tmp_path, "e.jsonl", "\n".join(map(json.dumps, rows)))
    done = imported(home, "--events", path, "--map", "rating=secs")
    assert done.types == {"view": 1500, "rating": 1, "play": 1}
    assert [event["value"] for event in done.events if event["event"] != "view"] == [7.0, 4.0]


def test_an_array_after_blank_lines(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "e.json", '\n\n[{"user_id": "u", "item_id": "i", "timestamp": 1600000000}]')
    assert imported(home, "--events", path).values() == [("u", "i", None)]


def test_odd_dictionaries_of_python_cost_their_own_row(home: Path, tmp_path: Path) -> None:
    lines = ["{'item_id': 'a', 1: 'x', 'set': {1}}", "{'item_id': 'b', []: 1}", "{'item_id': 'c'}"]
    done = imported(home, "--items", write(tmp_path, "i.jsonl", "\n".join(lines)), "--allow-bad", "0.5")
    assert done.items == {"a": {"1": "x"}, "c": {}}
    assert "i.jsonl:2: not valid JSON: neither JSON nor a Python dictionary" in done.said
    assert "set: left out, as JSON has no set" in done.said


def workbook(path: Path, rows: list[list[object]], *further: str) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Data"
    for row in rows:
        sheet.append(row)
    for name in further:
        book.create_sheet(name)
    book.save(path)
    return path


def test_excel(home: Path, tmp_path: Path) -> None:
    events = workbook(
        tmp_path / "events.xlsx",
        [
            ["user_id", "item_id", "rating", "timestamp"],
            [1, "i1", 3, datetime(2020, 9, 13, 12, 26, 40)],
            [None, None, None, None],
            ["u2", "i2", 4.5, "2020-09-13T12:26:41Z"],
            ["u3", None, 4.5, "2020-09-13T12:26:41Z"],
            ["u4", "i2", 4.5, "2020-09-13T12:26:41Z", "more"],
        ],
        "Notes",
    )
    items = workbook(tmp_path / "items.xlsx", [["item_id", "title", "price"], ["i1", "茶", 2.5], [2, "B", 3]])
    done = imported(home, "--events", events, "--items", items, "--allow-bad", "0.5")
    assert done.values() == [("1", "i1", 3.0), ("u2", "i2", 4.5)]
    assert [event["timestamp"] for event in done.events] == [1600000000000, 1600000001000]
    assert done.items == {"i1": {"title": "茶", "price": 2.5}, "2": {"title": "B", "price": 3}}
    assert "the first sheet, 'Data', is read; the other 1 are not" in done.said
    assert "events.xlsx:5: item_id is empty" in done.said
    assert "events.xlsx:6: 5 columns instead of 4" in done.said


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """The workbook with another text of its first sheet."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("sheet1.xml") else content)
    return path


@pytest.mark.parametrize("size", [b"A1", b"A1:D2", b"A1:B9"])
def test_rows_beyond_the_size_that_a_workbook_gives_itself(home: Path, tmp_path: Path, size: bytes) -> None:
    rows = [["user_id", "item_id", "rating", "timestamp"], *(["u", n, 3, 1600000000] for n in range(5))]
    path = rewritten(
        workbook(tmp_path / "e.xlsx", rows),
        lambda sheet: sheet.replace(b'<dimension ref="A1:D6"', b'<dimension ref="' + size + b'"'),
    )
    assert len(imported(home, "--events", path).events) == 5


def test_a_damaged_sheet_is_refused(home: Path, tmp_path: Path) -> None:
    path = rewritten(workbook(tmp_path / "i.xlsx", [["item_id"], ["a"]]), lambda sheet: sheet[:-30])
    with pytest.raises(DataError, match=r"i\.xlsx is not a complete Excel workbook"):
        imported(home, "--items", path)


def test_excel_without_its_extra(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "items.xlsx", [["item_id"], ["a"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"Excel files need an extra: pip install 'recserve\[xlsx\]'"):
        imported(home, "--items", path)
