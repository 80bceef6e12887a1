"""Delimited text, fast where it can be and exact everywhere.

Files are read in blocks that end at a line end. A block that has no quotes and as many rows as lines
goes through Arrow's parser, about ten times as fast as Python's. Any other block (quoted fields, blank
lines, wrong numbers of columns, bytes that are not UTF-8) goes through the ``csv`` module record by
record, so that each problem is reported with its line and costs only its own row. A :class:`Dialect` is for
files without a header, with another quoting, or with ``::`` between the columns.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from recserve.data.arrays import Int64Array
from recserve.errors import DataError
from recserve.store.ingest.columns.header import distinct_names
from recserve.store.ingest.problems import RowProblem

_BLOCK_BYTES = 8 << 20
_LONGEST_FIELD = 1 << 24  # characters; as long as no quote is found, so much is read in search of it

_DELIMITERS = (",", "\t", ";", "|", "::")
_UNIT = "\x1f"  # stands for `::`, as parsers want a delimiter of one character


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        delimiter: Between the columns; None for the commonest candidate of the first line.
        header: Names of the columns of a file that has none; None if the first line has them.
        quoted: Whether fields may stand in double quotes; None if the header tells.
        escape: Character before a quote that is part of a field, beside doubling it.
    """

    delimiter: str | None = None
    header: tuple[str, ...] | None = None
    quoted: bool | None = None
    escape: str | None = None


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file.

    Attributes:
        columns: Cells by column name, arrays of equal length; empty cells are null.
        lines: Line number of each row, int64, shape (N,).
        problems: Rows of this part of the file that could not be split into columns, or hold nothing.
    """

    columns: dict[str, pa.Array]
    lines: Int64Array
    problems: list[RowProblem]


class DelimitedFile:
    """A CSV file whose header has been read.

    Args:
        file: Opened for reading bytes, UTF-8.
        name: What problems call it.
        wanted: Columns that are read; None for all. Others may have no name, or the same one.
        dialect: How it is written.
        encoding: What it was in before; named where a row could not be decoded.

    Raises:
        DataError: The file has no header that makes sense.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        wanted: Collection[str] | None = None,
        dialect: Dialect | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._file = file
        self._name = name
        self._wanted = wanted
        self._dialect = dialect or Dialect()
        self._encoding = encoding.upper()
        self._line = 1  # number of the next line
        self._held = b""  # the first line, where it is no header
        self.header = self._read_header()

    def _read_header(self) -> list[str]:
        line = b""
        while not line.strip():
            line = self._file.readline()
            if not line:
                raise DataError(f"{self._name} is empty")
            self._line += 1
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\x00"
        if "\x00" in text:
            raise DataError(f"{self._name} is not a CSV file: its first line is not {self._encoding} text")
        if "\r" in text.rstrip("\r\n"):
            raise DataError(
                f"{self._name} ends its lines with CR alone, as old Macs did; save it with LF or CRLF"
            )
        self.delimiter = self._dialect.delimiter or max(_DELIMITERS, key=text.count)
        self._parsed = _UNIT if self.delimiter == "::" else self.delimiter
        # Between tabs a quote is text (12" vinyl), unless whoever wrote the file quotes names of columns.
        told = self.delimiter not in ("\t", "::") or '"' in text
        self._quoting = told if self._dialect.quoted is None else self._dialect.quoted
        try:
            names = next(self._reader([text.replace("::", _UNIT) if self._parsed == _UNIT else text]))
        except csv.Error as error:
            raise DataError(f"{self._name} has no readable header: {error}") from None
        if self._dialect.header is not None:
            self._held = line
            self._line -= 1
            return self._given_header(len(names), self._dialect.header)
        return distinct_names([name.strip() for name in names], self._name, self._wanted)

    def _given_header(self, columns: int, header: tuple[str, ...]) -> list[str]:
        if len(header) != columns:
            raise DataError(
                f"{self._name}: the first line has {columns} columns, but {len(header)} are named: "
                f"{', '.join(header)}"
            )
        return list(header)

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self._parsed,
            quoting=csv.QUOTE_MINIMAL if self._quoting else csv.QUOTE_NONE,
            escapechar=self._dialect.escape,
            strict=True,
        )

    def blocks(self) -> Iterator[Block]:
        """All rows after the header."""
        while chunk := self._held + self._file.read(_BLOCK_BYTES) + self._file.readline():
            self._held = b""
            if self._parsed == _UNIT:
                chunk = chunk.replace(b"::", _UNIT.encode())
            yield self._without_blanks(self._parse_fast(chunk) or self._parse_exactly(chunk))

    def _without_blanks(self, block: Block) -> Block:
        """The block without rows of which every cell is empty, which are counted as such."""
        columns = block.columns.values()
        if not len(block.lines) or not all(column.null_count for column in columns):
            return block
        filled = ~np.logical_and.reduce([column.is_null().to_numpy(False) for column in columns])
        blanks = (_blank(self._name, int(line)) for line in block.lines[~filled])
        kept = {name: column.filter(pa.array(filled)) for name, column in block.columns.items()}
        return Block(kept, block.lines[filled], [*block.problems, *blanks])

    def _parse_fast(self, chunk: bytes) -> Block | None:
        """The block by way of Arrow; None unless its rows are exactly its lines."""
        escape = self._dialect.escape
        if escape is not None and escape.encode() in chunk:
            return None
        if (self._quoting and b'"' in chunk) or chunk.count(b"\r") != chunk.count(b"\r\n"):
            return None
        n_lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(chunk),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=self.header, use_threads=False, block_size=len(chunk) + 1
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._parsed,
                    quote_char=False,
                    invalid_row_handler=lambda row: "skip",
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return None
        if len(table) != n_lines:
            return None
        lines = np.arange(self._line, self._line + n_lines, dtype=np.int64)
        self._line += n_lines
        columns = {name: table[name].combine_chunks() for name in self.header}
        return Block({name: _single(column) for name, column in columns.items()}, lines, [])

    def _parse_exactly(self, chunk: bytes) -> Block:
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[RowProblem] = []
        feed = _Lines(chunk, self._file, self._line)
        reader = self._reader(feed)
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        while not feed.finished:
            start = feed.begin_record()
            reason = None
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                reason = _plain(str(error))
            else:
                if not row:
                    continue
                # A cell of blanks is a cell, as it is to Arrow; a line of blanks is an empty one.
                if not any(row) or (len(row) == 1 < len(self.header) and not row[0].strip()):
                    problems.append(_blank(self._name, start))
                    continue
                if len(row) > len(self.header) and not any(row[len(self.header) :]):
                    del row[len(self.header) :]  # a spreadsheet's empty cells to the right
                if len(row) != len(self.header):
                    reason = f"{len(row)} columns instead of {len(self.header)}"
                elif not _is_unicode(row):
                    reason = f"not {self._encoding}"
            if reason is None:
                rows.append(row)
                lines.append(start)
                continue
            # A quote that is never closed swallows lines that may be good: give them back.
            feed.give_back_all_but_first()
            if feed.last_line_is_cut:
                reason += " (the file ends in the middle of this line)"
            problems.append(RowProblem(self._name, start, reason))
        self._line = feed.next_line
        cells = zip(*rows, strict=True) if rows else [()] * len(self.header)
        columns = {
            name: pa.array([cell or None for cell in column], pa.string())
            for name, column in zip(self.header, cells, strict=True)
        }
        return Block(columns, np.array(lines, dtype=np.int64), problems)


class _Lines:
    """Feeds a ``csv.reader`` and knows which lines the current record took.

    The lines of ``chunk`` come first; further lines of ``file`` are taken only to finish a record.
    """

    def __init__(self, chunk: bytes, file: BinaryIO, first_line: int) -> None:
        self._waiting = deque(chunk.splitlines(keepends=True))
        self._file = file
        self._record: list[bytes] = []
        self.next_line = first_line

    @property
    def finished(self) -> bool:
        """Whether every line taken so far belongs to a record that was begun."""
        return not self._waiting

    @property
    def last_line_is_cut(self) -> bool:
        """Whether the record's only line is the last one of the file and lacks its line end."""
        return not self._record[-1].endswith((b"\n", b"\r"))

    def begin_record(self) -> int:
        """Forget the lines of the record before; returns the number of the next line."""
        self._record.clear()
        return self.next_line

    def give_back_all_but_first(self) -> None:
        """Read all lines of the current record but its first one again."""
        again = self._record[1:]
        del self._record[1:]
        self._waiting.extendleft(reversed(again))
        self.next_line -= len(again)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._file.readline()
        if not line:
            raise StopIteration
        self.next_line += 1
        self._record.append(line)
        return line.decode("utf-8", "surrogateescape")


def _blank(name: str, line: int) -> RowProblem:
    return RowProblem(name, line, "no cell of the row holds anything", "blank")


def _single(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, also where ``combine_chunks`` of an empty column leaves a chunked one."""
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _is_unicode(row: list[str]) -> bool:
    try:
        return all(cell.isascii() or cell.encode() is not None for cell in row)
    except UnicodeEncodeError:
        return False


def _plain(message: str) -> str:
    if "unexpected end of data" in message:
        return "a quoted field is never closed"
    if "field limit" in message:
        return f"a field is longer than {csv.field_size_limit():,} characters (an unclosed quote?)"
    return message
