"""Reading of many rows as Arrow columns, past the objects that a query makes of each row."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, Select
from sqlalchemy.dialects import postgresql, sqlite

_FETCH_ROWS = 20_000
_READ = pyarrow.csv.ParseOptions(newlines_in_values=True)


def read_columns(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query as an Arrow table.

    SQLite's driver is asked directly; PostgreSQL copies, which Arrow parses.

    Args:
        connection: In a transaction.
        query: Without parameters but for plain values.
        schema: Columns of the query, in its order.
    """
    if connection.dialect.name == "postgresql":
        return _copied(connection, query, schema)
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    driver: Any = connection.connection.driver_connection
    cursor: sqlite3.Cursor = driver.execute(str(compiled))
    parts = []
    while rows := cursor.fetchmany(_FETCH_ROWS):
        parts.append(_batch(rows, schema))
    return pa.Table.from_batches(parts, schema)


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    # The driver gives numbers for what is true.
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_boolean(kind) else pa.array(values, kind)


def _copied(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT csv)") as copy:
        lines = b"".join(copy)
    if not lines:
        return schema.empty_table()
    # One block, so that no row is too long for it.
    reading = pyarrow.csv.ReadOptions(column_names=schema.names, block_size=len(lines) + 1, use_threads=False)
    converting = pyarrow.csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    return pyarrow.csv.read_csv(pa.BufferReader(lines), reading, _READ, converting)
