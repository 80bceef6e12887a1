"""Item files as canonical Arrow tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.data.arrays import FloatArray, Int64Array
from recserve.errors import DataError, InvalidRequestError
from recserve.store.ingest.columns import id_column
from recserve.store.ingest.columns.cells import (
    CellError,
    id_cell,
    json_cell,
    list_cell,
    parse_json,
)
from recserve.store.ingest.columns.header import UNNAMED, distinct_names
from recserve.store.ingest.columns.vectors import VectorCells, arrow_cells, check_header
from recserve.store.ingest.files.sources import (
    Objects,
    open_file,
    open_parquet,
    open_table,
    parquet_batches,
    read_objects,
)
from recserve.store.ingest.formats import (
    ItemLayout,
    Reading,
    Table,
    recognise_items,
    recognise_users,
    text_rows,
)
from recserve.store.ingest.problems import FileReport, Findings, RowProblem, columns_hint, conclude, quoted
from recserve.store.sql.queries.rows import dump_json

ITEM_SCHEMA = pa.schema({"item_id": pa.string(), "attributes": pa.string()})

LIST_COLUMNS = frozenset(
    {"genres", "categories", "tags", "keywords", "topics", "labels", "actors", "authors"}
)
"""Columns whose text is a list, separated by ``|`` or as JSON or Python write it."""

TEXT_COLUMNS = frozenset({"title", "name", "text", "description", "summary", "caption"})
"""Columns that stay text even where all cells look like numbers."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")
_BATCH_ROWS = 100_000


@dataclass(frozen=True)
class ItemBlock:
    """Some consecutive rows of a file.

    Attributes:
        lines: Line number of each row, int64, shape (N,).
        ids: What stands in the column of ids.
        rows: All other cells by name.
        problems: Rows of this part of the file that could not be read.
    """

    lines: Int64Array
    ids: pa.Array
    rows: Sequence[dict[str, Any]]
    problems: Sequence[RowProblem] = ()


def read_items(
    path: Path,
    strict: bool = False,
    layout: ItemLayout | None = None,
    vectors: VectorCells | None = None,
) -> tuple[pa.Table, FileReport]:
    """Read items from a CSV, Parquet, JSON or Excel file.

    The column ``item_id`` is needed; every other column becomes an attribute, absent where a cell is
    empty or is nothing that JSON has. Text in columns called genres, categories, tags and so on
    (:data:`LIST_COLUMNS`) is split at ``|`` into a list. A CSV column of which every cell is a plain number
    becomes numbers, unless its name says that it is text (:data:`TEXT_COLUMNS`). A file with just
    ``item_id`` and ``attributes`` (a JSON object) is canonical already.

    A column ``vectors.NAME`` holds vectors of a named space, arrays of numbers, and a column ``vectors``
    objects of such arrays, where they are asked for; so are arrays in a column called as the space.

    Args:
        path: The file.
        strict: Refuse the whole file if any row is bad.
        layout: How the file is read; default: as it is recognised.
        vectors: Keeps the vectors of named spaces; None takes such columns for attributes.

    Returns:
        Canonical items in the order of the file (see :class:`recserve.Tables`), and what became of each
        row. Of rows with the same id the last one counts.

    Raises:
        DataError: The file cannot be read, lacks ``item_id``, holds no usable row, or ``strict``.
    """
    return _read(path, "items", strict, layout or recognise_items(path, Reading()), vectors)


def read_users(
    path: Path, strict: bool = False, layout: ItemLayout | None = None
) -> tuple[pa.Table, FileReport]:
    """Read users from a file of any kind, as :func:`read_items` reads items; their ids are ``user_id``.

    Returns:
        Columns ``user_id`` and ``attributes`` (a JSON object), and what became of each row.

    Raises:
        DataError: The file cannot be read, lacks ``user_id``, holds no usable row, or ``strict``.
    """
    return _read(path, "users", strict, layout or recognise_users(path, Reading()), None)


def _read(
    path: Path, what: str, strict: bool, layout: ItemLayout, vectors: VectorCells | None
) -> tuple[pa.Table, FileReport]:
    report = FileReport(str(path), what)
    key = layout.key
    found: dict[str, tuple[int, str]] = {}
    if vectors is not None:
        check_header(layout.names(layout.header), vectors.spaces, path)
    else:
        vectors = VectorCells({})
    for block in item_blocks(path, layout, vectors.spaces):
        for row_id, line, attributes in _read_block(block, key, report, vectors):
            if row_id in found:
                report.replace(key, row_id, found.pop(row_id)[0], line)
            found[row_id] = (line, attributes)
    conclude(report, strict)
    schema = pa.schema({key: pa.string(), "attributes": pa.string()})
    return pa.table([list(found), [text for _, text in found.values()]], schema=schema), report


def _read_block(
    block: ItemBlock, key: str, report: FileReport, vectors: VectorCells
) -> Iterator[tuple[str, int, str]]:
    """Id, line and attributes (a JSON object) of each good row, whose vectors are kept."""
    for problem in block.problems:
        report.count_row(problem)
    findings = Findings(report, block.lines)
    ids = id_column(block.ids, key, findings)
    texts: dict[int, str] = {}
    named: dict[int, dict[str, FloatArray]] = {}
    for row in np.flatnonzero(findings.good).tolist():
        try:
            named[row] = vectors.take(block.rows[row])
            attributes, lost = _attributes(block.rows[row])
            texts[row] = dump_json(attributes, "attributes")
        except InvalidRequestError as error:
            findings.reject_row(row, error.message, error.message)
            continue
        except CellError as error:
            findings.reject_row(row, error.kind, error.reason)
            continue
        for cell in lost:
            findings.note_row(row, cell.kind, cell.reason)
    findings.finish()
    names, lines = ids.to_pylist(), block.lines.tolist()
    for row, text in texts.items():
        vectors.keep(names[row], named[row])
        yield names[row], lines[row], text


def _attributes(cells: dict[str, Any]) -> tuple[dict[str, Any], list[CellError]]:
    """The attributes of a row, and cells that have to be left out."""
    canonical = set(cells) == {"attributes"}
    attributes: dict[str, Any] = {}
    lost: list[CellError] = []
    for name, value in (_given_attributes(cells["attributes"]) if canonical else cells).items():
        try:
            if canonical:
                attributes[name] = json_cell(value)
            elif not _is_empty(value):
                _check_named(name, value)
                attributes[name] = _attribute(name, json_cell(value))
        except CellError as error:
            lost.append(CellError(f"{name}: {error.reason}", f"{name}: {error.kind}"))
    return attributes, lost


def _given_attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise InvalidRequestError("attributes is not a JSON object")
    return value


def _check_named(name: str, value: Any) -> None:
    if UNNAMED.fullmatch(name):
        raise CellError(f"{quoted(value)} stands in a column without a name", "a column without a name")


def _attribute(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in LIST_COLUMNS:
        return list_cell(value)
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or value == "" or value == b""


def item_blocks(path: Path, layout: ItemLayout, spaces: Mapping[str, int]) -> Iterator[ItemBlock]:
    """The rows of a file; cells of Parquet columns ``vectors.NAME`` of these spaces are arrays."""
    with open_file(path, layout.form.encoding) as (file, kind):
        if kind == "jsonl":
            yield from _object_blocks(layout.objects(read_objects(file, str(path))), path, layout.key)
        elif kind == "parquet":
            yield from _parquet_blocks(open_parquet(file, path), path, layout, spaces)
        else:
            table = layout.table(open_table(file, kind, path, layout.form))
            _check_header(table.header, layout.key, path)
            if layout.combine is None:
                yield _table_block(table, layout)
            else:
                yield from _object_blocks(layout.combine(text_rows(table), str(path)), path, layout.key)


def _check_header(header: list[str], key: str, path: Path) -> None:
    if key not in header:
        hint = f"{columns_hint(key, header)}; say which column it is with --map {key}=COLUMN"
        raise DataError(f"{path} has no column {key!r}{hint}", field=key)


def _object_blocks(objects: Objects, path: Path, key: str) -> Iterator[ItemBlock]:
    while part := list(islice(objects, _BATCH_ROWS)):
        lines: list[int] = []
        ids: list[str | None] = []
        rows: list[dict[str, Any]] = []
        problems: list[RowProblem] = []
        for line, row in part:
            if isinstance(row, RowProblem):
                problems.append(row)
                continue
            try:
                ids.append(id_cell(row.pop(key, None), key))
            except CellError as error:
                problems.append(RowProblem(str(path), line, error.reason, kind=error.kind))
                continue
            lines.append(line)
            rows.append(row)
        yield ItemBlock(np.array(lines, dtype=np.int64), pa.array(ids, pa.string()), rows, problems)


def _parquet_blocks(
    parquet: pq.ParquetFile, path: Path, layout: ItemLayout, spaces: Mapping[str, int]
) -> Iterator[ItemBlock]:
    header = layout.renamed(distinct_names(parquet.schema_arrow.names, str(path)))
    _check_header(header, layout.key, path)
    place = header.index(layout.key)
    names = [name for name in header if name != layout.key]
    for first, batch in parquet_batches(parquet, None, path):
        columns = [
            arrow_cells(name, column, spaces)
            for number, (name, column) in enumerate(zip(header, batch.columns, strict=True))
            if number != place
        ]
        cells = zip(*columns, strict=True) if columns else [()] * len(batch)
        lines = np.arange(first, first + len(batch), dtype=np.int64)
        rows = [layout.attributes(dict(zip(names, row, strict=True))) for row in cells]
        yield ItemBlock(lines, batch.column(place), rows)


def _table_block(file: Table, layout: ItemLayout) -> ItemBlock:
    """All rows at once: what a column holds is known at the end only."""
    lines: list[Int64Array] = [np.empty(0, dtype=np.int64)]
    ids: list[pa.Array] = [pa.array([], pa.string())]
    cells: dict[str, list[str | None]] = {name: [] for name in file.header if name != layout.key}
    problems: list[RowProblem] = []
    for block in file.blocks():
        problems += block.problems
        lines.append(block.lines)
        ids.append(block.columns[layout.key])
        for name in cells:
            cells[name].extend(block.columns[name].to_pylist())
    names = list(cells)
    columns = [_typed(name, layout.cells(cells.pop(name))) for name in names]
    every = np.concatenate(lines)
    rows = zip(*columns, strict=True) if columns else [()] * len(every)
    attributes = [layout.attributes(dict(zip(names, row, strict=True))) for row in rows]
    return ItemBlock(every, pa.concat_arrays(ids), attributes, problems)


def _typed(name: str, cells: list[str | None]) -> list[Any]:
    """Numbers if all of a column's cells are plain numbers, else the text as it is."""
    if name in TEXT_COLUMNS or name in LIST_COLUMNS:
        return list(cells)
    if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
        return list(cells)
    whole = all(cell is None or "." not in cell for cell in cells)
    convert = int if whole else float
    return [None if cell is None else convert(cell) for cell in cells]
