"""Files of three formats as blocks of columns, or as objects, with line numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.errors import DataError
from recserve.store.ingest.columns.cells import CellError, id_cell, parse_json, scalar_cell
from recserve.store.ingest.columns.header import distinct_names
from recserve.store.ingest.delimited import Block, DelimitedFile
from recserve.store.ingest.problems import RowProblem, quoted

Format = Literal["csv", "jsonl", "parquet"]

_SUFFIXES: dict[str, Format] = {
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
class Source:
    """An open file.

    Attributes:
        header: Names of its columns (of JSON lines: the keys of the first object).
        blocks: Its rows.
        sparse: Whether rows may have further columns, as JSON lines may have further keys.
    """

    header: list[str]
    blocks: Iterator[Block]
    sparse: bool = False


@contextmanager
def open_file(path: Path) -> Iterator[tuple[BinaryIO, Format]]:
    """Open a file and tell its format, by its suffix or else by how it begins.

    Raises:
        DataError: It cannot be opened, or reading it fails.
    """
    try:
        with path.open("rb") as file:
            yield file, _SUFFIXES.get(path.suffix.lower()) or _sniff(file)
    except FileNotFoundError:
        raise DataError(f"no file {path}; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name a CSV, Parquet or JSON lines file in it") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


@contextmanager
def open_source(path: Path, wanted: Collection[str]) -> Iterator[Source]:
    """Open a file as blocks of the wanted columns (blocks may hold others too).

    Raises:
        DataError: The file is missing, empty, or not what its format asks for.
    """
    with open_file(path) as (file, kind):
        if kind == "csv":
            delimited = DelimitedFile(file, str(path), wanted)
            yield Source(delimited.header, delimited.blocks())
        elif kind == "parquet":
            parquet = open_parquet(file, path)
            header = distinct_names(parquet.schema_arrow.names, str(path), wanted)
            columns = [name for name in header if name in wanted]
            yield Source(header, _parquet_blocks(parquet, columns, path))
        else:
            keys = list(_first_object(file, str(path)))
            file.seek(0)
            yield Source(keys, _object_blocks(file, str(path), sorted(wanted)), sparse=True)


def read_objects(file: BinaryIO, name: str) -> Iterator[tuple[int, dict[str, Any] | RowProblem]]:
    """Line number and object (or what is wrong) of each line that is not blank.

    Raises:
        DataError: The file is one JSON array instead of lines.
    """
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            if number == 1 and line.lstrip().startswith(b"["):
                raise _is_array(name) from None
            reason = f"not valid JSON: {str(error).partition(':')[0]}"
            yield number, RowProblem(name, number, reason, kind="not valid JSON")
            continue
        if isinstance(value, dict):
            yield number, value
        elif number == 1 and isinstance(value, list):
            raise _is_array(name)
        else:
            reason = f"{quoted(value)} is not a JSON object"
            yield number, RowProblem(name, number, reason, kind="not a JSON object")


def _first_object(file: BinaryIO, name: str) -> dict[str, Any]:
    wrong = None
    for _, one in read_objects(file, name):
        if isinstance(one, dict):
            return one
        wrong = wrong or one
    raise DataError(f"{name} is empty" if wrong is None else f"{name} holds no usable row: {wrong}")


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
    parquet: pq.ParquetFile, columns: list[str] | None, path: Path
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


def _parquet_blocks(parquet: pq.ParquetFile, columns: list[str], path: Path) -> Iterator[Block]:
    for first, batch in parquet_batches(parquet, columns, path):
        lines = np.arange(first, first + len(batch), dtype=np.int64)
        yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), lines, [])


def _object_blocks(file: BinaryIO, name: str, wanted: list[str]) -> Iterator[Block]:
    objects = read_objects(file, name)
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
    return id_cell(value, key) if key.endswith("_id") else scalar_cell(value, key)


def _sniff(file: BinaryIO) -> Format:
    start = file.read(4096)
    file.seek(0)
    if start.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if start.lstrip().startswith((b"{", b"[")) else "csv"


def _is_array(name: str) -> DataError:
    return DataError(f"{name} is one JSON array; write one object a line: jq -c '.[]' FILE > FILE.jsonl")


def _is_damaged(path: Path, error: Exception) -> DataError:
    cause = " ".join(str(error).split())[:200]
    return DataError(f"{path} is not a complete Parquet file; write it again ({cause})")
