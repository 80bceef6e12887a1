"""The fast way and the exact way through a delimited file give the same rows, and count every line."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recserve.errors import DataError
from recserve.store.ingest.files.delimited import Block, DelimitedFile, Dialect

CELL = st.text(
    st.characters(codec="utf-8", exclude_characters='"\r\n\x00,', exclude_categories=("Cs",)), max_size=5
)


def opened(text: str | bytes, dialect: Dialect | None = None) -> DelimitedFile:
    content = text if isinstance(text, bytes) else text.encode()
    return DelimitedFile(io.BytesIO(content), "f.csv", dialect=dialect)


def rows(blocks: list[Block]) -> list[tuple[int, tuple[str | None, ...]]]:
    """Line and cells of each row; an empty cell is the same as none."""
    found = []
    for block in blocks:
        cells = zip(*(column.to_pylist() for column in block.columns.values()), strict=True)
        found += [
            (line, tuple(c or None for c in row))
            for line, row in zip(block.lines.tolist(), cells, strict=True)
        ]
    return found


@example([("", "\x0c")])
@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_quoting_every_cell_changes_no_row(table: list[tuple[str, str]]) -> None:
    bare = "a,b\n" + "".join(f"{left},{right}\n" for left, right in table)
    quoted = "a,b\n" + "".join(f'"{left}","{right}"\n' for left, right in table)
    assert rows(list(opened(bare).blocks())) == rows(list(opened(quoted).blocks()))


def test_quotes_may_hold_delimiters_and_lines() -> None:
    blocks = list(opened('id,title\n1,"a, ""b"""\n2,"two\nlines"\n3,c\n').blocks())
    assert rows(blocks) == [(2, ("1", 'a, "b"')), (3, ("2", "two\nlines")), (5, ("3", "c"))]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "::"])
def test_the_delimiter_is_recognised_by_the_header(delimiter: str) -> None:
    file = opened(f"a{delimiter}b\n1{delimiter}2\n")
    assert file.delimiter == delimiter
    assert rows(list(file.blocks())) == [(2, ("1", "2"))]


def test_a_bad_row_costs_itself_only_and_names_its_line() -> None:
    (block,) = opened(b'a,b\n1,2\n1,2,3\n\n,\n"open,1\n5,6\n7,caf\xe9\n8,9').blocks()
    assert rows([block]) == [(2, ("1", "2")), (7, ("5", "6")), (9, ("8", "9"))]
    assert [(problem.line, problem.severity) for problem in block.problems] == [
        (3, "error"), (5, "blank"), (6, "error"), (8, "error"),
    ]  # fmt: skip
    assert block.problems[0].reason == "3 columns instead of 2"
    assert "a quoted field is never closed" in block.problems[2].reason
    assert block.problems[3].reason == "not UTF-8"


def test_a_file_without_a_header_is_read_under_the_names_that_are_given() -> None:
    file = opened("1|x\n2|y\n", Dialect("|", ("id", "name"), quoted=False))
    assert file.header == ["id", "name"]
    assert rows(list(file.blocks())) == [(1, ("1", "x")), (2, ("2", "y"))]
    with pytest.raises(DataError, match="the first line has 2 columns, but 1 are named: id"):
        opened("1|x\n", Dialect("|", ("id",)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\n \n", "is empty"), (b"\xff\xfe\x00,", "is not a CSV file")],
)
def test_what_has_no_header_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        opened(content)
