"""Delimited text files of a data source: typed columns by name, and one clear line where a file is bad."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recserve.config import nearest
from recserve.errors import DataError

_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()
_KINDS = {_TEXT: "text", _WHOLE: "whole number", _NUMBER: "number"}


@dataclass(frozen=True)
class DelimitedFile:
    """Format of one delimited text file in UTF-8, such as CSV.

    Attributes:
        name: Name of the file in its folder.
        columns: Type of each wanted column by its name: ``pa.string()``, ``pa.int64()`` or ``pa.float64()``.
            The file may have others.
        optional: Columns that may be missing, and whose cells may be empty; they are null there. All others
            need a value in each row.
        delimiter: Between two cells.
        quoted: Whether cells in double quotes may hold delimiters and line breaks.
        feeds: Whether lines end with line feeds alone: carriage returns within cells are read as blanks.
        header: Names of all columns of a file whose first line is data; empty where that names them.
    """

    name: str
    columns: Mapping[str, pa.DataType]
    optional: frozenset[str] = frozenset()
    delimiter: str = ","
    quoted: bool = True
    feeds: bool = False
    header: tuple[str, ...] = ()

    def read(self, folder: Path) -> pa.Table:
        """The wanted columns of all rows.

        Args:
            folder: Where the file lies.

        Returns:
            A column for each of :attr:`columns`, in their order; at least one row.

        Raises:
            DataError: The file is missing, empty or damaged, lacks a column, or holds a cell of another type.
                The message names file, row (from 1, the header not counted) and column, and says how to mend
                it.
        """
        path = folder / self.name
        header = self.header or self._header(path)
        present = [name for name in self.columns if name in header]
        try:
            table = self._parse(path, header, {name: self.columns[name] for name in present})
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis(path, header, present, error) from None
        if not len(table):
            raise DataError(f"{path} has no rows; it needs at least one with {self._listed()}")
        self._check_cells(path, table)
        for name in self.columns:
            if name not in header:
                table = table.append_column(name, pa.nulls(len(table), self.columns[name]))
        return table.select(list(self.columns))

    def dialect(self) -> type[csv.Dialect]:
        """Delimiter and quoting of the file for the module :mod:`csv`."""

        class Own(csv.excel):
            delimiter = self.delimiter
            lineterminator = "\n"
            quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE

        return Own

    def write(self, folder: Path, rows: Iterable[Sequence[object]]) -> None:
        """Write the file, as a made-up sample does.

        Args:
            folder: An existing folder.
            rows: A value for each of :attr:`columns`, in their order.
        """
        with (folder / self.name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, self.dialect())
            if not self.header:
                writer.writerow(self.columns)
            writer.writerows(rows)

    def exists(self, folder: Path) -> bool:
        """Whether the folder has the file."""
        return (folder / self.name).is_file()

    def _header(self, path: Path) -> tuple[str, ...]:
        """Names that stand in the first line; every one that is needed is among them."""
        try:
            with path.open("rb") as file:
                line = file.readline()
        except OSError as error:
            raise self._unreadable(path, error) from None
        if not line.strip():
            raise DataError(f"{path} is empty; its first line must name {self._listed()}")
        text = _utf8(path, line).removeprefix("\ufeff").strip("\r\n")
        names = [name.strip() for name in next(csv.reader([text], self.dialect()))]
        for name in self.columns:
            if name not in names and name not in self.optional:
                raise DataError(
                    f"{path} has no column {name!r}{nearest(name, names)}; "
                    "correct the name in its first line, or add the column",
                    field=name,
                )
        return tuple(names)

    def _unreadable(self, path: Path, error: OSError) -> DataError:
        if isinstance(error, FileNotFoundError):
            return DataError(f"{path} does not exist; put a file there with {self._listed()}")
        return DataError(f"cannot read {path}: {error.strerror or error}")

    def _listed(self) -> str:
        needed = [name for name in self.columns if name not in self.optional]
        return f"the column{'s' * (len(needed) > 1)} {', '.join(needed)}"

    def _parse(
        self, path: Path, header: Sequence[str], types: Mapping[str, pa.DataType], **parsing: Any
    ) -> pa.Table:
        stray = self.feeds and re.sub(rb"\r(?!\n)", b" ", path.read_bytes())
        return pyarrow.csv.read_csv(
            pa.BufferReader(stray) if stray else path,
            pyarrow.csv.ReadOptions(
                column_names=list(header),
                skip_rows=0 if self.header else 1,
                # Rows are numbered only where they are read in order.
                use_threads=not parsing,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                **parsing,
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=list(types), column_types=types, null_values=[""], strings_can_be_null=True
            ),
        )

    def _diagnosis(
        self, path: Path, header: Sequence[str], present: Sequence[str], error: Exception
    ) -> DataError:
        """What is wrong with a file that could not be parsed: read once more, as text."""
        if isinstance(error, OSError):
            return self._unreadable(path, error)
        _utf8(path, path.read_bytes())
        first_bad: list[pyarrow.csv.InvalidRow] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            first_bad.append(row)
            return "skip"

        try:
            cells = self._parse(path, header, dict.fromkeys(present, _TEXT), invalid_row_handler=skip)
        except pa.ArrowException as again:
            return DataError(f"{path} is damaged: {' '.join(str(again).split())[:200]}")
        if first_bad:
            row = first_bad[0]
            place = f", row {row.number - (not self.header)}" if row.number else ""
            return DataError(
                f"{path}{place} has {row.actual_columns} cells instead of {row.expected_columns}: "
                f"{row.text[:60]!r}; correct or remove the row"
            )
        for name in present:
            for row_number, cell in enumerate(cells[name].to_pylist(), start=1):
                if cell is not None and not _fits(cell, self.columns[name]):
                    return self._bad_cell(path, row_number, name, f"{cell[:60]!r} is no")
        return DataError(f"{path} is damaged: {' '.join(str(error).split())[:200]}")

    def _bad_cell(self, path: Path, row: int, name: str, what: str) -> DataError:
        return DataError(
            f"{path}, row {row}, column {name!r}: {what} {_KINDS[self.columns[name]]}; "
            "correct the cell or remove the row",
            field=name,
        )

    def _check_cells(self, path: Path, table: pa.Table) -> None:
        for name in table.schema.names:
            column = table[name]
            if column.null_count and name not in self.optional:
                row = pc.index(column.is_null(), True).as_py() + 1
                raise self._bad_cell(path, row, name, "the cell is empty and needs a")
            if column.type == _NUMBER:
                finite = pc.is_finite(column).fill_null(True)
                if not pc.all(finite).as_py():
                    row = pc.index(finite, False).as_py() + 1
                    raise self._bad_cell(path, row, name, f"{column[row - 1].as_py()} is no finite")


def _fits(cell: str, kind: pa.DataType) -> bool:
    try:
        pa.array([cell]).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _utf8(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start + 1:,}); save it with the encoding UTF-8"
        ) from None
