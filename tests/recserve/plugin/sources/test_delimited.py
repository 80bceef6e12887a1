"""Delimited files of data sources: whatever is wrong with one is said in a line that names the place."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from recserve import DataError, DelimitedFile

PLAYS = DelimitedFile(
    "plays.csv",
    {"user": pa.string(), "count": pa.int64(), "share": pa.float64(), "note": pa.string()},
    optional=frozenset({"note"}),
)
GOOD = 'user,other,share,count,note\n1,x,0.5,3,"a, ""b""\nc"\n2,y,1,4,\n'


def read(folder: Path, content: str | bytes, file: DelimitedFile = PLAYS) -> pa.Table:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / file.name).write_bytes(data)
    return file.read(folder)


@pytest.mark.parametrize("content", [GOOD, "\ufeff" + GOOD, GOOD.replace("\n2", "\r\n2")])
def test_wanted_columns_are_read_with_their_types(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content)
    assert table.schema.types == [pa.string(), pa.int64(), pa.float64(), pa.string()]
    assert table.to_pylist()[0] == {"user": "1", "count": 3, "share": 0.5, "note": 'a, "b"\nc'}
    assert table["note"].to_pylist()[1] is None


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    assert read(tmp_path, "user,share,count\n1,0.5,3\n")["note"].to_pylist() == [None]


def test_a_file_without_a_header_and_without_quotes(tmp_path: Path) -> None:
    columns = {"user": pa.string(), "items": pa.string()}
    file = DelimitedFile("pairs.tsv", columns, delimiter="\t", quoted=False, header=("user", "items"))
    assert read(tmp_path, 'a\t"1 2\n', file).to_pylist() == [{"user": "a", "items": '"1 2'}]
    with pytest.raises(DataError, match="row 2 has 1 cells instead of 2: 'b'; correct or remove the row"):
        read(tmp_path, "a\t1\nb\n", file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "plays.csv is empty; its first line must name the columns user, count, share"),
        ("user,share,count\n", "plays.csv has no rows; it needs at least one with the columns user, count"),
        ("usr,share,count\n1,1,1\n", r"has no column 'user'; did you mean 'usr'\? .*correct the name"),
        (
            "user,share,count\n1,1,many\n",
            "row 1, column 'count': 'many' is no whole number; correct",
        ),
        ("user,share,count\n1,1,1\n1,1,2.5\n", "row 2, column 'count': '2.5' is no whole number"),
        ("user,share,count\n1,1,1\n1,much,2\n", "row 2, column 'share': 'much' is no number"),
        ("user,share,count\n1,nan,1\n", "row 1, column 'share': nan is no finite number"),
        ("user,share,count\n1,1,1\n1,,2\n", "row 2, column 'share': the cell is empty and needs a number"),
        ("user,share,count\n,1,1\n", "row 1, column 'user': the cell is empty and needs a text"),
        ("user,share,count\n1,1,1\n1,1\n", "row 2 has 2 cells instead of 3: '1,1'; correct or remove"),
        ("user,share,count\n1,1,9223372036854775808\n", "'9223372036854775808' is no whole number"),
        (b"user,share,count\nM\xfcller,1,1\n", r"is not UTF-8 text \(byte 19\); save it"),
        (b"\xff\xfeuser", r"is not UTF-8 text \(byte 1\); save it"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as failure:
        read(tmp_path, content)
    assert str(tmp_path / "plays.csv") in failure.value.message
    assert "\n" not in failure.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plays\.csv does not exist; put a file there with the columns user"):
        PLAYS.read(tmp_path)
    (tmp_path / "plays.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*plays\.csv: Is a directory"):
        PLAYS.read(tmp_path)
