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
from recserve.store.ingest.delimited import DelimitedFile
from recserve.store.ingest.problems import FileReport, Findings, RowProblem, columns_hint, conclude, quoted
from recserve.store.ingest.sources import open_file, open_parquet, parquet_batches, read_objects
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


def read_items(path: Path, strict: bool = False) -> tuple[pa.Table, FileReport]:
    """Read items from a CSV, Parquet or JSON lines file.

    The column ``item_id`` is needed; every other column becomes an attribute, absent where a cell is
    empty or is nothing that JSON has. Text in columns called genres, categories, tags and so on
    (:data:`LIST_COLUMNS`) is split at ``|`` into a list. A CSV column of which every cell is a plain number
    becomes numbers, unless its name says that it is text (:data:`TEXT_COLUMNS`). A file with just
    ``item_id`` and ``attributes`` (a JSON object) is canonical already.

    Args:
        path: The file.
        strict: Refuse the whole file if any row is bad.

    Returns:
        Canonical items in the order of the file (see :class:`recserve.Tables`), and what became of each
        row. Of rows with the same id the last one counts.

    Raises:
        DataError: The file cannot be read, lacks ``item_id``, holds no usable row, or ``strict``.
    """
    report = FileReport(str(path), "items")
    found: dict[str, tuple[int, str]] = {}
    rows = _rows(path)
    while part := list(islice(rows, _BATCH_ROWS)):
        for item_id, line, attributes in _items(part, report):
            if item_id in found:
                replaced = found.pop(item_id)[0]
                reason = f"item_id {quoted(item_id)} occurs again in line {line}, which replaces this one"
                report.add(RowProblem(str(path), replaced, reason, "replaced", "item_id occurs again"))
                report.taken -= 1
            found[item_id] = (line, attributes)
    conclude(report, strict)
    table = pa.table([list(found), [text for _, text in found.values()]], schema=ITEM_SCHEMA)
    return table, report


def _items(part: Sequence[_Row], report: FileReport) -> Iterator[tuple[str, int, str]]:
    """Id, line and attributes (a JSON object) of each good row."""
    lines: list[int] = []
    ids: list[str | None] = []
    rows: list[dict[str, Any]] = []
    for line, row in part:
        if isinstance(row, RowProblem):
            report.count_row(row)
            continue
        try:
            ids.append(id_cell(row.pop("item_id", None), "item_id"))
        except CellError as error:
            report.count_row(RowProblem(report.file, line, error.reason, kind=error.kind))
            continue
        lines.append(line)
        rows.append(row)
    findings = Findings(report, np.array(lines, dtype=np.int64))
    names = id_column(pa.array(ids, pa.string()), "item_id", findings).to_pylist()
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


def _rows(path: Path) -> Iterator[_Row]:
    with open_file(path) as (file, kind):
        if kind == "jsonl":
            yield from read_objects(file, str(path))
        elif kind == "parquet":
            parquet = open_parquet(file, path)
            names = distinct_names(parquet.schema_arrow.names, str(path))
            _check_header(names, path)
            for first, batch in parquet_batches(parquet, None, path):
                columns = [python_cells(column) for column in batch.columns]
                for line, row in enumerate(zip(*columns, strict=True), start=first):
                    yield line, dict(zip(names, row, strict=True))
        else:
            delimited = DelimitedFile(file, str(path))
            _check_header(delimited.header, path)
            yield from _csv_rows(delimited)


def _check_header(header: list[str], path: Path) -> None:
    if "item_id" not in header:
        raise DataError(f"{path} has no column 'item_id'{columns_hint('item_id', header)}", field="item_id")


def _csv_rows(file: DelimitedFile) -> Iterator[_Row]:
    lines: list[int] = []
    cells: dict[str, list[str | None]] = {name: [] for name in file.header}
    for block in file.blocks():
        yield from ((problem.line, problem) for problem in block.problems)
        lines.extend(block.lines.tolist())
        for name, column in block.columns.items():
            cells[name].extend(column.to_pylist())
    columns = [_typed(name, cells.pop(name)) for name in file.header]
    for line, values in zip(lines, zip(*columns, strict=True), strict=True):
        yield line, dict(zip(file.header, values, strict=True))


def _typed(name: str, cells: list[str | None]) -> list[Any]:
    """Numbers if all of a column's cells are plain numbers, else the text as it is."""
    if name == "item_id" or name in TEXT_COLUMNS or name in LIST_COLUMNS:
        return list(cells)
    if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
        return list(cells)
    whole = all(cell is None or "." not in cell for cell in cells)
    convert = int if whole else float
    return [None if cell is None else convert(cell) for cell in cells]
