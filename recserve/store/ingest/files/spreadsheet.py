"""Excel workbooks (.xlsx): the first sheet as blocks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

import numpy as np
import pyarrow as pa

from recserve.errors import DataError
from recserve.store.ingest.columns.header import distinct_names
from recserve.store.ingest.files.delimited import Block
from recserve.store.ingest.problems import RowProblem

_BLOCK_ROWS = 50_000


class Spreadsheet:
    """The first sheet of a workbook, its first row that is not empty being the header.

    Args:
        file: Opened for reading bytes.
        name: What problems call it.
        wanted: Columns that are read; None for all. Others may have no name, or the same one.

    Raises:
        DataError: The optional dependency is missing, or the file holds no sheet with a header.
    """

    def __init__(self, file: BinaryIO, name: str, wanted: Collection[str] | None = None) -> None:
        try:
            from openpyxl import load_workbook
        except ImportError:
            raise DataError(f"{name}: Excel files need an extra: pip install 'recserve[xlsx]'") from None
        try:
            sheets = load_workbook(file, read_only=True, data_only=True).worksheets
        except (ParseError, LookupError, ValueError, OSError) as error:
            raise _is_damaged(name, error) from None
        self.sheets: list[str] = [sheet.title for sheet in sheets]
        for sheet in sheets[:1]:
            sheet.reset_dimensions()  # some programs write a size that is wrong; what is beyond it was lost
        self._rows = _filled_rows(sheets[0].iter_rows(values_only=True), name) if sheets else iter(())
        first = next(self._rows, None)
        if first is None:
            raise DataError(f"{name} is empty")
        names = [(_text(cell) or "").strip() for cell in first[1][: _width(first[1])]]
        self.header = distinct_names(names, name, wanted)
        self._name = name

    def blocks(self) -> Iterator[Block]:
        """All rows after the header; lines are rows of the sheet."""
        width = len(self.header)
        while rows := list(islice(self._rows, _BLOCK_ROWS)):
            fit = [(line, _padded(cells, width)) for line, cells in rows if _width(cells) <= width]
            columns = {
                name: pa.array([_text(cells[place]) for _, cells in fit], pa.string())
                for place, name in enumerate(self.header)
            }
            problems = [
                RowProblem(self._name, line, f"{_width(cells)} columns instead of {width}")
                for line, cells in rows
                if _width(cells) > width
            ]
            yield Block(columns, np.array([line for line, _ in fit], dtype=np.int64), problems)


def _filled_rows(rows: Iterator[tuple[Any, ...]], name: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Number and cells of each row that is not empty.

    Raises:
        DataError: The sheet is damaged.
    """
    try:
        yield from ((number, cells) for number, cells in enumerate(rows, start=1) if _width(cells))
    except (ParseError, LookupError, ValueError) as error:
        raise _is_damaged(name, error) from None


def _is_damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{name} is not a complete Excel workbook: {error}")


def _width(cells: tuple[Any, ...]) -> int:
    """Number of cells up to the last one that is not empty."""
    return max(
        (place for place, cell in enumerate(cells, start=1) if cell is not None and cell != ""), default=0
    )


def _padded(cells: tuple[Any, ...], width: int) -> tuple[Any, ...]:
    return cells + (None,) * (width - len(cells))


def _text(cell: Any) -> str | None:
    """A cell as it would stand in a CSV file."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, (datetime, date, time)) else str(cell)
