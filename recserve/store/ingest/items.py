"""Item files as canonical Arrow tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from recserve.errors import DataError, InvalidRequestError
from recserve.store.ingest.formats import ItemLayout, Reading, Table, recognise_items
from recserve.store.ingest.problems import RowProblem, columns_hint, conclude, quoted
from recserve.store.ingest.sources import open_file, open_parquet, open_table, parquet_batches, read_objects
from recserve.store.sql.queries.rows import check_id, dump_json

ITEM_SCHEMA = pa.schema({"item_id": pa.string(), "attributes": pa.string()})

LIST_COLUMNS = frozenset(
    {"genres", "categories", "tags", "keywords", "topics", "labels", "actors", "authors"}
)
"""Columns whose text is a list separated by ``|``."""

TEXT_COLUMNS = frozenset({"title", "name", "text", "description", "summary", "caption"})
"""Columns that stay text even where all cells look like numbers."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")

_Row = tuple[int, "dict[str, Any] | RowProblem"]


def read_items(
    path: Path, strict: bool = False, layout: ItemLayout | None = None
) -> tuple[pa.Table, list[RowProblem]]:
    """Read items from a CSV, Parquet, JSON or Excel file.

    The column ``item_id`` is needed; every other column becomes an attribute, absent where a cell is
    empty. Text in columns called genres, categories, tags and so on (:data:`LIST_COLUMNS`) is split
    at ``|`` into a list. A CSV column of which every cell is a plain number becomes numbers, unless
    its name says that it is text (:data:`TEXT_COLUMNS`). A file with just ``item_id`` and
    ``attributes`` (a JSON object) is canonical already.

    Args:
        path: The file.
        strict: Refuse the whole file if any row is bad.
        layout: How the file is read; default: as it is recognised.

    Returns:
        Canonical items in the order of the file (see :class:`recserve.Tables`), and what was left
        out. Of rows with the same id the last one counts; the others are reported as warnings.

    Raises:
        DataError: The file cannot be read, lacks ``item_id``, holds no usable row, or ``strict``.
    """
    problems: list[RowProblem] = []
    found: dict[str, tuple[int, str]] = {}
    layout = layout or recognise_items(path, Reading())
    for line, row in layout.items(_rows(path, layout), str(path)):
        if isinstance(row, RowProblem):
            problems.append(row)
            continue
        try:
            item_id, attributes = _item(row)
        except InvalidRequestError as error:
            problems.append(RowProblem(str(path), line, error.message))
            continue
        if item_id in found:
            replaced = found.pop(item_id)[0]
            reason = f"item_id {quoted(item_id)} occurs again in line {line}, which replaces this one"
            problems.append(RowProblem(str(path), replaced, reason, "warning"))
        found[item_id] = (line, attributes)
    problems.sort(key=lambda problem: problem.line)
    conclude(str(path), len(found), problems, strict)
    table = pa.table([list(found), [text for _, text in found.values()]], schema=ITEM_SCHEMA)
    return table, problems


def _item(row: dict[str, Any]) -> tuple[str, str]:
    item_id: object = row.get("item_id")
    if isinstance(item_id, float) and item_id.is_integer():
        item_id = int(item_id)
    if isinstance(item_id, int) and not isinstance(item_id, bool):
        item_id = str(item_id)
    if item_id is None or (isinstance(item_id, str) and not item_id.strip()):
        raise InvalidRequestError("item_id is empty")
    if not isinstance(item_id, str):
        raise InvalidRequestError(f"item_id {quoted(item_id)} is neither text nor a whole number")
    check_id(item_id, "item_id")
    if set(row) == {"item_id", "attributes"}:
        attributes = _given_attributes(row["attributes"])
    else:
        attributes = {
            name: _attribute(name, value)
            for name, value in row.items()
            if name != "item_id" and not _is_empty(value)
        }
    return item_id, dump_json(attributes, "attributes")


def _given_attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise InvalidRequestError("attributes is not a JSON object")
    return value


def _attribute(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in LIST_COLUMNS:
        return [part.strip() for part in value.split("|") if part.strip()]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _rows(path: Path, layout: ItemLayout) -> Iterator[_Row]:
    with open_file(path, layout.form.encoding) as (file, kind):
        if kind == "jsonl":
            for line, row in read_objects(file, str(path)):
                yield line, row if isinstance(row, RowProblem) else layout.row(row)
        elif kind == "parquet":
            parquet = open_parquet(file, path)
            names = parquet.schema_arrow.names
            _check_header(layout.names(names), path)
            for first, batch in parquet_batches(parquet, names, path):
                for line, row in enumerate(batch.to_pylist(), start=first):
                    yield line, layout.row({name: _plain(value) for name, value in row.items()})
        else:
            table = layout.table(open_table(file, kind, path, layout.form))
            _check_header(table.header, path)
            yield from _text_rows(table) if layout.combines else _typed_rows(table, layout)


def _check_header(header: list[str], path: Path) -> None:
    if "item_id" not in header:
        raise DataError(f"{path} has no column 'item_id'{columns_hint('item_id', header)}", field="item_id")


def _text_rows(table: Table) -> Iterator[_Row]:
    """Rows as they come, for files that are larger than what is made of them."""
    for block in table.blocks():
        yield from ((problem.line, problem) for problem in block.problems)
        cells = [column.to_pylist() for column in block.columns.values()]
        for line, values in zip(block.lines.tolist(), zip(*cells, strict=True), strict=True):
            yield line, dict(zip(block.columns, values, strict=True))


def _typed_rows(table: Table, layout: ItemLayout) -> Iterator[_Row]:
    """Rows with numbers where a whole column is numbers."""
    lines: list[int] = []
    cells: dict[str, list[str | None]] = {name: [] for name in table.header}
    for block in table.blocks():
        yield from ((problem.line, problem) for problem in block.problems)
        lines.extend(block.lines.tolist())
        for name, column in block.columns.items():
            cells[name].extend(column.to_pylist())
    columns = [_typed(name, layout.cells(cells.pop(name))) for name in table.header]
    for line, values in zip(lines, zip(*columns, strict=True), strict=True):
        yield line, dict(zip(table.header, values, strict=True))


def _typed(name: str, cells: list[str | None]) -> list[Any]:
    """Numbers if all of a column's cells are plain numbers, else the text as it is."""
    if name == "item_id" or name in TEXT_COLUMNS or name in LIST_COLUMNS:
        return list(cells)
    if not all(cell is None or _NUMBER.fullmatch(cell) for cell in cells):
        return list(cells)
    whole = all(cell is None or "." not in cell for cell in cells)
    convert = int if whole else float
    return [None if cell is None else convert(cell) for cell in cells]


def _plain(value: Any) -> Any:
    """A Parquet value as JSON has it: times as ISO 8601 text, decimals as numbers."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
