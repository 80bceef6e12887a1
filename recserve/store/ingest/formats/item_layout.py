"""Rows of any items or users file as ids and attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from recserve.store.ingest.files.delimited import Block
from recserve.store.ingest.files.sources import Form
from recserve.store.ingest.formats.known import ITEM_FORMATS, USER_FORMATS
from recserve.store.ingest.formats.model import AMBIGUOUS_COMMA, Format, ItemColumns, Row, Rows
from recserve.store.ingest.formats.reading import (
    Reading,
    chosen_columns,
    columns_there,
    plain_spelling,
    recognise,
    shown_sources,
)
from recserve.store.ingest.problems import RowProblem

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.,][0-9]+)?")
_HEAD_OBJECTS = 1000  # each object says itself what it has; this is to recognise the format


class Table(Protocol):
    """A delimited file or spreadsheet."""

    header: list[str]

    def blocks(self) -> Iterator[Block]:
        """All rows after the header."""
        ...


@dataclass(frozen=True)
class ItemLayout:
    """How one items file is read, or one of users.

    Attributes:
        key: Name of the column of ids.
        form: How it is written.
        columns: What its columns become.
        title: The known format, None for a plain file.
        header: The columns of the file.
        notes: What an import should say, a phrase each.
    """

    key: str
    form: Form
    columns: ItemColumns
    title: str | None
    header: Sequence[str]
    notes: tuple[str, ...]

    @property
    def combine(self) -> Callable[[Rows, str], Rows] | None:
        """What makes items of several rows each, which are read as text, one by one."""
        return self.columns.combine

    def names(self, header: Sequence[str]) -> list[str]:
        """The names that columns get, in the order of the file, without those that are not stored."""
        theirs = {name for names in self.columns.sources.values() for name in names}
        gone = theirs | self.columns.skipped
        ours = [ours for ours, names in self.columns.sources.items() if set(names) & set(header)]
        return [*ours, *(name for name in header if name not in gone and name not in ours)]

    def shown_columns(self, full: bool) -> list[str]:
        """What columns become, for people, a phrase each; also those that keep their names if ``full``."""
        if not full:
            return [shown_sources(self.columns.sources, False)]
        kept = [name for name in self.names(self.header) if name not in self.columns.sources]
        return [shown_sources({**self.columns.sources, **{name: (name,) for name in kept}}, True)]

    def table(self, table: Table) -> Table:
        """A delimited file or spreadsheet under these names."""
        return _Renamed(table, self)

    def renamed(self, header: Sequence[str]) -> list[str]:
        """The name of each column of a Parquet file; of several for one name the first gets it."""
        ours: dict[str, str] = {}
        for name, theirs in self.columns.sources.items():
            found = next((spelling for spelling in theirs if spelling in header), None)
            if found is not None:
                ours[found] = name
        return [ours.get(name, name) for name in header]

    def objects(self, objects: Rows) -> Rows:
        """JSON objects with an id and attributes."""
        plain = not self.columns.sources and not self.columns.skipped and self.columns.convert is None
        return objects if plain else self._converted(objects)

    def attributes(self, cells: Row) -> Row:
        """The attributes out of the other cells of a row."""
        if self.columns.convert is None and not self.columns.skipped:
            return cells
        kept = {name: cell for name, cell in cells.items() if name not in self.columns.skipped}
        return {name: value for name, value in self._made(kept).items() if value != []}

    def cells(self, cells: list[str | None]) -> list[str | None]:
        """A column of text, with decimal points where all of it is numbers with decimal commas."""
        commas = [cell for cell in cells if cell is not None and "," in cell]
        if not self.columns.decimal_comma or all(map(AMBIGUOUS_COMMA.fullmatch, commas)):
            return cells
        if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
            return cells
        return [None if cell is None else cell.replace(",", ".") for cell in cells]

    def _made(self, cells: Row) -> Row:
        return self.columns.convert(cells) if self.columns.convert else cells

    def _converted(self, objects: Rows) -> Rows:
        for line, row in objects:
            if isinstance(row, RowProblem):
                yield line, row
                continue
            cells = {
                name: _first(row, self.columns.sources.get(name, (name,))) for name in self.names(list(row))
            }
            key = cells.pop(self.key, None)
            yield line, {**self.attributes(cells), self.key: key}


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
        found = [columns[source] for source in self._sources.get(name, (name,)) if source in columns]
        return pc.coalesce(*found) if len(found) > 1 else found[0]


def recognise_items(path: Path, reading: Reading) -> ItemLayout:
    """Tell how an items file is to be read.

    Raises:
        DataError: It cannot be read, or is not what was said of it.
    """
    return _recognise(path, reading, ITEM_FORMATS, "item")


def recognise_users(path: Path, reading: Reading) -> ItemLayout:
    """Tell how a users file is to be read.

    Raises:
        DataError: It cannot be read, or is not what was said of it.
    """
    return _recognise(path, reading, USER_FORMATS, "user")


def _recognise(path: Path, reading: Reading, formats: Sequence[Format[ItemColumns]], what: str) -> ItemLayout:
    key = f"{what}_id"
    known = recognise(path, reading, formats, (key,), _HEAD_OBJECTS)
    header = known.header
    columns = known.format.columns_of(header) if known.format else ItemColumns(_plain(header, what))
    sources = columns_there(columns.sources, header) | chosen_columns(reading, header, None)
    skipped = columns.skipped & set(header)
    columns = replace(columns, sources=sources, skipped=skipped, decimal_comma=known.delimiter in (";", "\t"))
    notes = (*known.notes, *([f"not stored: {', '.join(sorted(skipped))}"] if skipped else []))
    return ItemLayout(key, known.form, columns, known.format.title if known.format else None, header, notes)


def _plain(header: Sequence[str], what: str) -> dict[str, tuple[str, ...]]:
    """The column of ids where it is spelled otherwise."""
    key = f"{what}_id"
    others = [name for name in header if plain_spelling(name) in (f"{what}id", what)]
    return {key: (others[0],)} if key not in header and len(others) == 1 else {}


def _first(row: Row, names: Sequence[str]) -> Any:
    """The first of these values that is not empty."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def text_rows(table: Table) -> Rows:
    """Rows as they come, for files that are larger than what is made of them."""
    for block in table.blocks():
        yield from ((problem.line, problem) for problem in block.problems)
        cells = [column.to_pylist() for column in block.columns.values()]
        for line, values in zip(block.lines.tolist(), zip(*cells, strict=True), strict=True):
            yield line, dict(zip(block.columns, values, strict=True))
