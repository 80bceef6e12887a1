"""Files of four kinds as blocks of columns, or as objects, with line numbers."""

from __future__ import annotations

import ast
import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.errors import DataError
from recserve.store.ingest.columns.cells import CellError, id_cell, parse_json, scalar_cell
from recserve.store.ingest.columns.header import distinct_names
from recserve.store.ingest.files.delimited import Block, DelimitedFile, Dialect
from recserve.store.ingest.files.encodings import UTF8, as_utf8
from recserve.store.ingest.files.opening import DAMAGE, content_path, is_workbook, unpacked
from recserve.store.ingest.files.spreadsheet import Spreadsheet
from recserve.store.ingest.problems import RowProblem, quoted

Kind = Literal["csv", "jsonl", "parquet", "xlsx"]

_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Form:
    """How a file is written, beside its kind.

    Attributes:
        encoding: Of its text.
        dialect: Of a delimited file.
    """

    encoding: str = UTF8
    dialect: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True)
class Source:
    """An open file.

    Attributes:
        header: Names of its columns (of JSON lines: the wanted ones).
        blocks: Its rows.
        sparse: Whether rows may have further columns, as JSON lines may have further keys.
    """

    header: list[str]
    blocks: Iterator[Block]
    sparse: bool = False


@contextmanager
def open_file(path: Path, encoding: str = UTF8) -> Iterator[tuple[BinaryIO, Kind]]:
    """Open a file, unpacked and its text in UTF-8, and tell its kind, by its suffix or else by how it begins.

    Raises:
        DataError: It cannot be opened, or reading it fails.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is a pipe or a device, but a file is read several times; write it to a file")
    try:
        with path.open("rb") as file:
            content = unpacked(file, str(path))
            kind: Kind = "xlsx" if is_workbook(content) else _kind(path, content)
            yield as_utf8(content, encoding) if kind in ("csv", "jsonl") else content, kind
    except FileNotFoundError:
        raise DataError(f"no file {path}; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name a CSV, Parquet or JSON lines file in it") from None
    except DAMAGE as error:
        cause = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(f"cannot read {path}: {cause or type(error).__name__}") from None


def open_table(
    file: BinaryIO, kind: Kind, path: Path, form: Form, wanted: Collection[str] | None = None
) -> DelimitedFile | Spreadsheet:
    """The wanted columns (None for all) of a delimited file or of a spreadsheet."""
    if kind == "xlsx":
        return Spreadsheet(file, str(path), wanted)
    return DelimitedFile(file, str(path), wanted, form.dialect, form.encoding)


@contextmanager
def open_source(path: Path, wanted: Collection[str], form: Form) -> Iterator[Source]:
    """Open a file as blocks of the wanted columns (blocks may hold others too).

    Raises:
        DataError: The file is missing, empty, or not what its format asks for.
    """
    with open_file(path, form.encoding) as (file, kind):
        if kind in ("csv", "xlsx"):
            table = open_table(file, kind, path, form, wanted)
            yield Source(table.header, table.blocks())
        elif kind == "parquet":
            yield parquet_source(open_parquet(file, path), str(path), wanted)
        else:
            names = sorted(wanted)
            yield Source(names, _object_blocks(read_objects(file, str(path)), str(path), names), sparse=True)


def parquet_source(parquet: pq.ParquetFile, name: str, wanted: Collection[str]) -> Source:
    """The wanted columns of a Parquet file.

    Raises:
        DataError: Two of them have the same name.
    """
    header = distinct_names(parquet.schema_arrow.names, name, wanted)
    return Source(header, _parquet_blocks(parquet, [name for name in header if name in wanted], name))


Objects = Iterator[tuple[int, "dict[str, Any] | RowProblem"]]
"""Line number and object, or what is wrong with the line."""


def read_objects(file: BinaryIO, name: str) -> Objects:
    """The object of each line that is not blank, or what is wrong with it.

    Of a file that is one JSON array, the objects of the array and their places, counted from 1. Lines may
    also be dictionaries as Python writes them.

    Raises:
        DataError: The file begins like a JSON array, but is not valid JSON.
    """
    begun = False
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        if not begun and line.lstrip().startswith(b"["):
            yield from _array(line + file.read(), name)
            return
        begun = True
        try:
            value = _parsed(line)
        except ValueError as error:
            reason = f"not valid JSON: {str(error).partition(':')[0]}"
            yield number, RowProblem(name, number, reason, kind="not valid JSON")
            continue
        yield number, value if isinstance(value, dict) else _no_object(name, number, value)


def _array(text: bytes, name: str) -> Objects:
    try:
        values = parse_json(text)
    except ValueError as error:
        raise DataError(f"{name} is not a complete JSON array: {error}") from None
    for number, value in enumerate(values, start=1):
        yield number, value if isinstance(value, dict) else _no_object(name, number, value)


def _no_object(name: str, number: int, value: Any) -> RowProblem:
    return RowProblem(name, number, f"{quoted(value)} is not a JSON object", kind="not a JSON object")


def _parsed(line: bytes) -> Any:
    """The value of a line.

    Raises:
        ValueError: It is neither JSON nor a dictionary as Python writes it.
    """
    try:
        return parse_json(line)
    except ValueError:
        if not line.lstrip().startswith(b"{'"):
            raise
    try:
        value = ast.literal_eval(line.decode().strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a Python dictionary") from None
    return {str(key): cell for key, cell in value.items()} if isinstance(value, dict) else value


def object_keys(objects: Objects, name: str) -> list[str]:
    """The keys that any of the objects has, in the order in which they come first.

    Raises:
        DataError: None of the rows is an object.
    """
    keys: dict[str, None] = {}
    usable, first = False, None
    for _, value in objects:
        first = first or value
        if isinstance(value, dict):
            usable = True
            keys.update(dict.fromkeys(value))
    if not usable:
        raise DataError(f"{name} is empty" if first is None else f"{name} holds no usable row: {first}")
    return list(keys)


def open_parquet(
    file: BinaryIO | pa.NativeFile, path: Path | str, *, may_be_empty: bool = False
) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: It is not one, or only the first part of one, or holds no rows but must.
    """
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _is_damaged(path, error) from None
    if parquet.metadata.num_rows == 0 and not may_be_empty:
        raise DataError(f"{path} holds no rows")
    return parquet


def parquet_batches(
    parquet: pq.ParquetFile, columns: list[str] | None, path: Path | str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Number of the first row (counted from 1) and rows of each batch; None for all columns.

    Raises:
        DataError: The file is damaged.
    """
    first = 1
    try:
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield first, batch
            first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _is_damaged(path, error) from None


def _parquet_blocks(parquet: pq.ParquetFile, columns: list[str], name: str) -> Iterator[Block]:
    for first, batch in parquet_batches(parquet, columns, name):
        lines = np.arange(first, first + len(batch), dtype=np.int64)
        yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), lines, [])


def _object_blocks(objects: Objects, name: str, wanted: list[str]) -> Iterator[Block]:
    while part := list(islice(objects, _BATCH_ROWS)):
        problems: list[RowProblem] = []
        lines: list[int] = []
        rows: list[list[str | None]] = []
        for number, value in part:
            if isinstance(value, RowProblem):
                problems.append(value)
                continue
            try:
                rows.append([_cell(value.get(key), key) for key in wanted])
                lines.append(number)
            except CellError as error:
                problems.append(RowProblem(name, number, error.reason, kind=error.kind))
        cells = zip(*rows, strict=True) if rows else [()] * len(wanted)
        columns = {key: pa.array(column, pa.string()) for key, column in zip(wanted, cells, strict=True)}
        yield Block(columns, np.array(lines, dtype=np.int64), problems)


def _cell(value: object, key: str) -> str | None:
    """A JSON value as it would stand in a CSV file."""
    if key == "context" and value is not None and not isinstance(value, str):
        return orjson.dumps(value, default=str).decode()
    return id_cell(value, key) if key.endswith("_id") else scalar_cell(value, key)


def _kind(path: Path, file: io.BufferedReader) -> Kind:
    start = file.peek(4096)
    if start.startswith(b"PAR1"):
        return "parquet"
    named = _SUFFIXES.get(content_path(path).suffix.lower())
    if named is not None:
        return named
    return "jsonl" if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) else "csv"


def _is_damaged(path: Path | str, error: Exception) -> DataError:
    cause = " ".join(str(error).split())[:200]
    return DataError(f"{path} is not a complete Parquet file; write it again ({cause})")
