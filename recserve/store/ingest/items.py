"""Item files as canonical Arrow tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recserve.errors import DataError, InvalidRequestError
from recserve.store.ingest.columns import id_column
from recserve.store.ingest.columns.cells import CellError, id_cell, json_cell, parse_json, python_cells
from recserve.store.ingest.columns.header import UNNAMED, distinct_names
from recserve.store.ingest.formats import (
    ItemLayout,
    Reading,
    Table,
    recognise_items,
    recognise_users,
    text_rows,
)
from recserve.store.ingest.problems import FileReport, Findings, RowProblem, columns_hint, conclude, quoted
from recserve.store.ingest.sources import (
    open_file,
    open_parquet,
    open_table,
    parquet_batches,
    read_objects,
)
from recserve.store.sql.queries.rows import dump_json

ITEM_SCHEMA = pa.schema({"item_id": pa.string(), "attributes": pa.string()})

LIST_COLUMNS = frozenset(
    {"genres", "categories", "tags", "keywords", "topics", "labels", "actors", "authors"}
)
"""Columns whose text is a list separated by ``|``."""

TEXT_COLUMNS = frozenset({"title", "name", "text", "description", "summary", "caption"})
"""Columns that stay text even where all cells look like numbers."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")
_BATCH_ROWS = 100_000


_Row = tuple[int, "dict[str, Any] | RowProblem"]


def read_items(
    path: Path, strict: bool = False, layout: ItemLayout | None = None
) -> tuple[pa.Table, FileReport]:
    """Read items from a CSV, Parquet, JSON or Excel file.

    The column ``item_id`` is needed; every other column becomes an attribute, absent where a cell is
    empty or is nothing that JSON has. Text in columns called genres, categories, tags and so on
    (:data:`LIST_COLUMNS`) is split at ``|`` into a list. A CSV column of which every cell is a plain number
    becomes numbers, unless its name says that it is text (:data:`TEXT_COLUMNS`). A file with just
    ``item_id`` and ``attributes`` (a JSON object) is canonical already.

    Args:
        path: The file.
        strict: Refuse the whole file if any row is bad.
        layout: How the file is read; default: as it is recognised.

    Returns:
        Canonical items in the order of the file (see :class:`recserve.Tables`), and what became of each
        row. Of rows with the same id the last one counts.

    Raises:
        DataError: The file cannot be read, lacks ``item_id``, holds no usable row, or ``strict``.
    """
    return _read(path, "items", strict, layout or recognise_items(path, Reading()))


def read_users(
    path: Path, strict: bool = False, layout: ItemLayout | None = None
) -> tuple[pa.Table, FileReport]:
    """Read users from a file of any kind, as :func:`read_items` reads items; their ids are ``user_id``.

    Returns:
        Columns ``user_id`` and ``attributes`` (a JSON object), and what became of each row.

    Raises:
        DataError: The file cannot be read, lacks ``user_id``, holds no usable row, or ``strict``.
    """
    return _read(path, "users", strict, layout or recognise_users(path, Reading()))


def _read(path: Path, what: str, strict: bool, layout: ItemLayout) -> tuple[pa.Table, FileReport]:
    report = FileReport(str(path), what)
    key = layout.key
    found: dict[str, tuple[int, str]] = {}
    rows = _rows(path, layout)
    while part := list(islice(rows, _BATCH_ROWS)):
        for row_id, line, attributes in _identified(part, key, report):
            if row_id in found:
                replaced = found.pop(row_id)[0]
                reason = f"{key} {quoted(row_id)} occurs again in line {line}, which replaces this one"
                report.add(RowProblem(str(path), replaced, reason, "replaced", f"{key} occurs again"))
                report.taken -= 1
            found[row_id] = (line, attributes)
    conclude(report, strict)
    schema = pa.schema({key: pa.string(), "attributes": pa.string()})
    return pa.table([list(found), [text for _, text in found.values()]], schema=schema), report


def _identified(part: Sequence[_Row], key: str, report: FileReport) -> Iterator[tuple[str, int, str]]:
    """Id, line and attributes (a JSON object) of each good row."""
    lines: list[int] = []
    ids: list[str | None] = []
    rows: list[dict[str, Any]] = []
    for line, row in part:
        if isinstance(row, RowProblem):
            report.count_row(row)
            continue
        try:
            ids.append(id_cell(row.pop(key, None), key))
        except CellError as error:
            report.count_row(RowProblem(report.file, line, error.reason, kind=error.kind))
            continue
        lines.append(line)
        rows.append(row)
    findings = Findings(report, np.array(lines, dtype=np.int64))
    names = id_column(pa.array(ids, pa.string()), key, findings).to_pylist()
    texts: dict[int, str] = {}
    for place in np.flatnonzero(findings.good).tolist():
        try:
            attributes, lost = _attributes(rows[place])
            texts[place] = dump_json(attributes, "attributes")
        except InvalidRequestError as error:
            findings.reject_row(place, error.message, error.message)
            continue
        for cell in lost:
            findings.note_row(place, cell.kind, cell.reason)
    findings.finish()
    for place, text in texts.items():
        yield names[place], lines[place], text


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
        return [part.strip() for part in value.split("|") if part.strip()]
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or value == "" or value == b""


def _rows(path: Path, layout: ItemLayout) -> Iterator[_Row]:
    with open_file(path, layout.form.encoding) as (file, kind):
        if kind == "jsonl":
            yield from layout.objects(read_objects(file, str(path)))
        elif kind == "parquet":
            parquet = open_parquet(file, path)
            names = layout.renamed(distinct_names(parquet.schema_arrow.names, str(path)))
            _check_header(names, layout.key, path)
            for first, batch in parquet_batches(parquet, None, path):
                columns = [python_cells(column) for column in batch.columns]
                for line, row in enumerate(zip(*columns, strict=True), start=first):
                    yield line, layout.row(dict(zip(names, row, strict=True)))
        else:
            table = layout.table(open_table(file, kind, path, layout.form))
            _check_header(table.header, layout.key, path)
            if layout.combine is None:
                yield from _typed_rows(table, layout)
            else:
                yield from layout.combine(text_rows(table), str(path))


def _check_header(header: list[str], key: str, path: Path) -> None:
    if key not in header:
        hint = f"{columns_hint(key, header)}; say which column it is with --map {key}=COLUMN"
        raise DataError(f"{path} has no column {key!r}{hint}", field=key)


def _typed_rows(table: Table, layout: ItemLayout) -> Iterator[_Row]:
    """All rows once the file is read: whether a column is numbers is known at the end only."""
    lines: list[int] = []
    cells: dict[str, list[str | None]] = {name: [] for name in table.header}
    for block in table.blocks():
        yield from ((problem.line, problem) for problem in block.problems)
        lines.extend(block.lines.tolist())
        for name, column in block.columns.items():
            cells[name].extend(column.to_pylist())
    text = {layout.key, *TEXT_COLUMNS, *LIST_COLUMNS}
    columns = [
        list(cells.pop(name)) if name in text else _typed(layout.cells(cells.pop(name)))
        for name in table.header
    ]
    for line, values in zip(lines, zip(*columns, strict=True), strict=True):
        yield line, layout.row(dict(zip(table.header, values, strict=True)))


def _typed(cells: list[str | None]) -> list[Any]:
    """Numbers if all of a column's cells are plain numbers, else the text as it is."""
    if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
        return list(cells)
    whole = all(cell is None or "." not in cell for cell in cells)
    convert = int if whole else float
    return [None if cell is None else convert(cell) for cell in cells]
