"""Rows of any items file as ids and attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from recserve.store.ingest.delimited import Block
from recserve.store.ingest.formats.known import ITEM_FORMATS
from recserve.store.ingest.formats.model import ItemColumns, Row, Rows
from recserve.store.ingest.formats.reading import (
    Reading,
    chosen_columns,
    plain_spelling,
    recognise,
    shown_sources,
)
from recserve.store.ingest.problems import RowProblem
from recserve.store.ingest.sources import Form

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.,][0-9]+)?")


class Table(Protocol):
    """A delimited file or spreadsheet."""

    header: list[str]

    def blocks(self) -> Iterator[Block]:
        """All rows after the header."""
        ...


@dataclass(frozen=True)
class ItemLayout:
    """How one items file is read.

    Attributes:
        form: How it is written.
        columns: What its columns become.
        title: The known format, None for a plain file.
        notes: What an import should say, a phrase each.
    """

    form: Form
    columns: ItemColumns
    title: str | None
    notes: tuple[str, ...]

    @property
    def combines(self) -> bool:
        """Whether an item is made of several rows, which are read as text, one by one."""
        return self.columns.combine is not None

    def names(self, header: Sequence[str]) -> list[str]:
        """The names that columns get, in the order of the file, without those that are not stored."""
        theirs = {name for names in self.columns.sources.values() for name in names}
        gone = theirs | self.columns.skipped
        ours = [ours for ours, names in self.columns.sources.items() if set(names) & set(header)]
        return [*ours, *(name for name in header if name not in gone and name not in ours)]

    def table(self, table: Table) -> Table:
        """A delimited file or spreadsheet under these names."""
        return _Renamed(table, self)

    def row(self, row: Row) -> Row:
        """An object or a row of a Parquet file under these names."""
        if not self.columns.sources and not self.columns.skipped:
            return row
        return {name: _first(row, self.columns.sources.get(name, (name,))) for name in self.names(list(row))}

    def items(self, rows: Rows, file: str) -> Rows:
        """Items out of rows that have these names."""
        if self.columns.combine is not None:
            rows = self.columns.combine(rows, file)
        return self._converted(rows) if self.columns.convert else rows

    def cells(self, cells: list[str | None]) -> list[str | None]:
        """A column of text, with decimal points where all of it is numbers with decimal commas."""
        if not self.columns.decimal_comma or not any(cell is not None and "," in cell for cell in cells):
            return cells
        if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
            return cells
        return [None if cell is None else cell.replace(",", ".") for cell in cells]

    def _converted(self, rows: Rows) -> Rows:
        convert = self.columns.convert
        assert convert is not None
        for line, row in rows:
            if isinstance(row, RowProblem):
                yield line, row
            else:
                yield line, {name: value for name, value in convert(row).items() if value != []}


class _Renamed:
    """A table whose columns have other names."""

    def __init__(self, table: Table, layout: ItemLayout) -> None:
        self._table = table
        self._sources = layout.columns.sources
        self.header = layout.names(table.header)

    def blocks(self) -> Iterator[Block]:
        """All rows after the header."""
        for block in self._table.blocks():
            columns = {name: self._column(block.columns, name) for name in self.header}
            yield Block(columns, block.lines, block.problems)

    def _column(self, columns: Mapping[str, pa.Array], name: str) -> pa.Array:
        found = [columns[one] for one in self._sources.get(name, (name,)) if one in columns]
        return pc.coalesce(*found) if len(found) > 1 else found[0]


def recognise_items(path: Path, reading: Reading) -> ItemLayout:
    """Tell how an items file is to be read.

    Raises:
        DataError: It cannot be read, or is not what was said of it.
    """
    known = recognise(path, reading, ITEM_FORMATS, ("item_id",))
    header = known.header
    columns = known.format.columns_of(header) if known.format else ItemColumns(_plain(header))
    sources = {ours: theirs for ours, theirs in columns.sources.items() if set(theirs) & set(header)}
    sources |= chosen_columns(reading, header, None)
    skipped = columns.skipped & set(header)
    columns = replace(columns, sources=sources, skipped=skipped, decimal_comma=known.delimiter in (";", "\t"))
    said = [shown_sources(sources), f"not stored: {', '.join(sorted(skipped))}" if skipped else ""]
    notes = (*known.notes, *(note for note in said if note))
    return ItemLayout(known.form, columns, known.format.title if known.format else None, notes)


def _plain(header: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The column of ids where it is spelled otherwise."""
    others = [name for name in header if plain_spelling(name) in ("itemid", "item")]
    return {"item_id": (others[0],)} if "item_id" not in header and len(others) == 1 else {}


def _first(row: Row, names: Sequence[str]) -> Any:
    """The first of these values that is not empty."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
