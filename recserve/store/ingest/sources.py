"""Files of four kinds as blocks of columns, or as objects, with line numbers."""

from __future__ import annotations

import ast
import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.errors import DataError
from recserve.store.ingest.delimited import Block, DelimitedFile, Dialect
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
_HEAD_OBJECTS = 1000


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
        header: Names of its columns (of JSON lines: the keys of the first object).
        blocks: Its rows.
    """

    header: list[str]
    blocks: Iterator[Block]


@contextmanager
def open_file(path: Path, encoding: str = UTF8) -> Iterator[tuple[BinaryIO, Kind]]:
    """Open a file, unpacked and its text in UTF-8, and tell its kind, by its suffix or else by how it begins.

    Raises:
        DataError: It cannot be opened, or reading it fails.
    """
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


def open_table(file: BinaryIO, kind: Kind, path: Path, form: Form) -> DelimitedFile | Spreadsheet:
    """The rows of a delimited file or of a spreadsheet."""
    if kind == "xlsx":
        return Spreadsheet(file, str(path))
    return DelimitedFile(file, str(path), form.dialect, form.encoding)


@contextmanager
def open_source(path: Path, wanted: Collection[str], form: Form = Form()) -> Iterator[Source]:
    """Open a file as blocks of the wanted columns (blocks may hold others too).

    Raises:
        DataError: The file is missing, empty, or not what its format asks for.
    """
    with open_file(path, form.encoding) as (file, kind):
        if kind in ("csv", "xlsx"):
            table = open_table(file, kind, path, form)
            yield Source(table.header, table.blocks())
        elif kind == "parquet":
            parquet = open_parquet(file, path)
            header = parquet.schema_arrow.names
            columns = [name for name in header if name in wanted]
            yield Source(header, _parquet_blocks(parquet, columns, path))
        else:
            first, objects = _first_object(read_objects(file, str(path)), str(path))
            yield Source(first, _object_blocks(objects, str(path), sorted(wanted)))


_Objects = Iterator[tuple[int, "dict[str, Any] | RowProblem"]]


def read_objects(file: BinaryIO, name: str) -> _Objects:
    """Line number and object (or what is wrong) of each line that is not blank.

    Of a file that is one JSON array, the objects of the array and their places, counted from 1. Lines may
    also be dictionaries as Python writes them.

    Raises:
        DataError: The file begins like a JSON array, but is not valid JSON.
    """
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        if number == 1 and line.lstrip().startswith(b"["):
            yield from _array(line + file.read(), name)
            return
        try:
            value = _parsed(line)
        except ValueError as error:
            yield number, RowProblem(name, number, f"not valid JSON: {str(error).partition(':')[0]}")
            continue
        yield number, value if isinstance(value, dict) else _no_object(name, number, value)


def _array(text: bytes, name: str) -> _Objects:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{name} is not a complete JSON array: {error}") from None
    for number, value in enumerate(values, start=1):
        yield number, value if isinstance(value, dict) else _no_object(name, number, value)


def _no_object(name: str, number: int, value: Any) -> RowProblem:
    return RowProblem(name, number, f"{quoted(value)} is not a JSON object")


def _parsed(line: bytes) -> Any:
    """The value of a line.

    Raises:
        ValueError: It is neither JSON nor a dictionary as Python writes it.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if not line.lstrip().startswith(b"{'"):
            raise
    try:
        return ast.literal_eval(line.decode().strip())
    except (SyntaxError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a Python dictionary") from None


def _first_object(objects: _Objects, name: str) -> tuple[list[str], _Objects]:
    """Keys of the first objects, and all objects from the start.

    Raises:
        DataError: None of the first rows is an object.
    """
    head = list(islice(objects, _HEAD_OBJECTS))
    keys = dict.fromkeys(key for _, value in head if isinstance(value, dict) for key in value)
    if not keys and not any(isinstance(value, dict) for _, value in head):
        wrong = f"{name} holds no usable row: {head[0][1]}" if head else f"{name} is empty"
        raise DataError(wrong)
    return list(keys), chain(head, objects)


def open_parquet(file: BinaryIO, path: Path) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: It is not one, or only the first part of one.
    """
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _is_damaged(path, error) from None
    if parquet.metadata.num_rows == 0:
        raise DataError(f"{path} holds no rows")
    return parquet


def parquet_batches(
    parquet: pq.ParquetFile, columns: list[str], path: Path
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Number of the first row (counted from 1) and rows of each batch.

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


def _parquet_blocks(parquet: pq.ParquetFile, columns: list[str], path: Path) -> Iterator[Block]:
    for first, batch in parquet_batches(parquet, columns, path):
        lines = np.arange(first, first + len(batch), dtype=np.int64)
        yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), lines, [])


def _object_blocks(objects: _Objects, name: str, wanted: list[str]) -> Iterator[Block]:
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
            except ValueError as error:
                problems.append(RowProblem(name, number, str(error)))
        cells = zip(*rows, strict=True) if rows else [()] * len(wanted)
        columns = {key: pa.array(column, pa.string()) for key, column in zip(wanted, cells, strict=True)}
        yield Block(columns, np.array(lines, dtype=np.int64), problems)


def _cell(value: object, key: str) -> str | None:
    """A JSON value as it would stand in a CSV file."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} {quoted(value)} is neither text nor a number")
    return str(value)


def _kind(path: Path, file: io.BufferedReader) -> Kind:
    start = file.peek(4096)
    if start.startswith(b"PAR1"):
        return "parquet"
    named = _SUFFIXES.get(content_path(path).suffix.lower())
    if named is not None:
        return named
    return "jsonl" if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) else "csv"


def _is_damaged(path: Path, error: Exception) -> DataError:
    cause = " ".join(str(error).split())[:200]
    return DataError(f"{path} is not a complete Parquet file; write it again ({cause})")
