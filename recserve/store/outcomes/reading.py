"""Reading of many rows as Arrow columns, without an object for each value.

Both engines put the values of a column together, as text with a line for each or as bytes. That takes less
than handing over each value or each row, and holds Python's lock only at its end: what was read before can be
worked on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Select,
    case,
    cast,
    func,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from recserve.data.arrays import BoolArray

_FETCH_ROWS = 20_000

# Literals of text: for one of bytes, such as x'0a', SQLite makes a text anew for each row.
_LINE = b"\n"
_LINE_END: ColumnElement[Any] = literal_column("'\n'")
_NULL = "\x1f"
_NONE: ColumnElement[Any] = literal_column(f"'{_NULL}'")
_PARTS = "4611686018427387904.0"

_NOTHING: ColumnElement[Any] = literal_column("''::bytea")
_FALSE: ColumnElement[Any] = literal_column(r"'\x00'::bytea")
_TRUE: ColumnElement[Any] = literal_column(r"'\x01'::bytea")


def read_columns(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query as an Arrow table.

    Args:
        connection: In a transaction.
        query: Without parameters but for plain values.
        schema: Columns of the query, in its order.
    """
    if connection.dialect.name == "postgresql":
        return _of_postgres(connection, query, schema)
    found = _lines(connection, query, schema)
    if found is None:
        with closing(_sqlite_cursor(connection, query)) as cursor:
            found = _by_rows(cursor, schema)
    return found


# -- SQLite --------------------------------------------------------------------------------------


def _lines(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table | None:
    """The rows of a query to SQLite by a text for each column; None if a value does not go into a line."""
    lines = [
        cast(line, LargeBinary)
        for column, kind in zip(query.selected_columns, schema.types, strict=True)
        for line in (
            _in_halves(column)
            if pa.types.is_floating(kind)
            else [func.group_concat(_as_text(column, kind), _LINE_END)]
        )
    ]
    asked = query.with_only_columns(func.count(), *lines, maintain_column_froms=True)
    try:
        with closing(_sqlite_cursor(connection, asked)) as cursor:
            count, *contents = cursor.fetchone()
    except (sqlite3.DataError, sqlite3.OperationalError) as error:
        if "too big" not in str(error):
            raise
        return None
    if not count:
        return schema.empty_table()
    left = iter(contents)
    try:
        arrays = [
            _of_lines(left, kind, count, _is_nullable(column))
            for column, kind in zip(query.selected_columns, schema.types, strict=True)
        ]
        return pa.table(arrays, schema=schema)
    except pa.ArrowInvalid:
        return None


def _as_text(column: ColumnElement[Any], kind: pa.DataType) -> ColumnElement[Any]:
    """A column's value as it stands in a line."""
    if not _is_nullable(column):
        return column
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return case((column.is_(None), _NONE), else_=column)
    # A text that looks like none makes a line too many, so that rows are read one by one.
    return case((column.is_(None), _NONE), (column == _NONE, _LINE_END), else_=column)


def _in_halves(column: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Which numbers are null, and the lines of the others as two whole ones.

    They are what is before the point and 2^62 times what is after it: SQLite cannot write every number so
    that it is the same when read. One that is not the sum of the two, being very large or very small, is
    written as what is no number.
    """
    above = cast(column, Integer)
    below = cast((column - above) * literal_column(_PARTS), Integer)
    same = above + below / literal_column(_PARTS) == column
    halves = [case((same, half), (column.is_not(None), "?")) for half in (above, below)]
    missing = func.group_concat(cast(column.is_(None), Integer), literal_column("''"))
    return [missing, *(func.group_concat(half, _LINE_END) for half in halves)]


def _of_lines(contents: Iterator[bytes | None], kind: pa.DataType, count: int, nullable: bool) -> pa.Array:
    """A column of what its values were put together to.

    Args:
        contents: Lines of the values; of floating ones first which are null, and two columns of lines.
        kind: Type of the column.
        count: Number of values.
        nullable: Whether there may be nulls: in other columns :data:`_NULL` is a text as any other.

    Raises:
        ArrowInvalid: Some of them are not of the column's type, or do not go into a line.
    """
    if pa.types.is_floating(kind):
        missing = np.frombuffer(next(contents) or b"", np.uint8) == ord("1")
        there = count - int(np.count_nonzero(missing))
        above, below = (_split(next(contents), there).cast(pa.int64()).to_numpy() for _ in range(2))
        numbers = np.zeros(count)
        numbers[~missing] = above + below / float(_PARTS)
        return pa.array(numbers, kind, mask=missing)
    values = _split(next(contents), count)
    if nullable:
        values = _with_nulls(values)
    if pa.types.is_boolean(kind):
        return pc.equal(values, "1")
    return values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)


def _split(content: bytes | None, count: int) -> pa.StringArray:
    """The lines of a text.

    Raises:
        ArrowInvalid: There are more or fewer.
    """
    if content is None:
        return pa.array([], pa.string())
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == _LINE[0])
    if len(ends) != count - 1:
        raise pa.ArrowInvalid("a value is not a line")
    # As strings of the same bytes, lines take turns with the ends of lines.
    turns = np.empty(2 * count, np.int32)
    turns[0], turns[2::2] = 0, ends + 1
    turns[1:-1:2], turns[-1] = ends, len(content)
    every = pa.StringArray.from_buffers(2 * count - 1, pa.py_buffer(turns), pa.py_buffer(content))
    return every.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32)))


def _with_nulls(lines: pa.StringArray) -> pa.StringArray:
    """The lines, with nulls where they are :data:`_NULL`."""
    null = pc.equal(lines, _NULL)
    return pc.if_else(null, pa.scalar(None, pa.string()), lines) if pc.any(null).as_py() else lines


def _sqlite_cursor(connection: Connection, query: ClauseElement) -> sqlite3.Cursor:
    """Ask SQLite's driver itself."""
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    driver: Any = connection.connection.driver_connection
    cursor: sqlite3.Cursor = driver.execute(str(compiled))
    return cursor


# -- PostgreSQL ----------------------------------------------------------------------------------


def _of_postgres(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query to PostgreSQL by the bytes of each column, as its binary protocol has them."""
    driver: Any = connection.connection.driver_connection
    found = _bytes(driver, query, schema) if driver.info.encoding == "utf-8" else None
    if found is None:
        with driver.transaction(), driver.cursor("outcomes") as cursor:
            cursor.execute(_postgres_text(query))
            return _by_rows(cursor, schema)
    count, *contents = found
    if not count:
        return schema.empty_table()
    left = iter(contents)
    arrays = [
        _of_bytes(left, kind, _is_nullable(column))
        for column, kind in zip(query.selected_columns, schema.types, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _bytes(driver: Any, query: Select[Any], schema: pa.Schema) -> tuple[Any, ...] | None:
    """The number of rows, and the bytes of each column; None if they are too many for a value."""
    from psycopg import errors

    columns = zip(query.selected_columns, schema.types, strict=True)
    parts = [func.string_agg(part, _NOTHING) for column, kind in columns for part in _as_bytes(column, kind)]
    asked = query.with_only_columns(func.count(), *parts, maintain_column_froms=True)
    try:
        # Within a transaction a savepoint, so that rows can still be asked for after a failure.
        with driver.transaction(), driver.cursor(binary=True) as cursor:
            # What workers put together is copied again by whoever gathers it, for three times the work.
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            # Expressions are many and cheap: compiling them takes longer than it saves.
            cursor.execute("SET LOCAL jit = off")
            found: tuple[Any, ...] = cursor.execute(_postgres_text(asked)).fetchone()
            return found
    except errors.ProgramLimitExceeded:  # no value is larger than a gigabyte
        return None


def _as_bytes(column: ColumnElement[Any], kind: pa.DataType) -> list[ColumnElement[Any]]:
    """What is put together of a column's values: see :func:`_of_bytes`."""
    if pa.types.is_boolean(kind):
        return [case((column, _TRUE), else_=_FALSE), *_missing(column)]
    if pa.types.is_integer(kind):
        return [func.int8send(func.coalesce(cast(column, BigInteger), 0)), *_missing(column)]
    if pa.types.is_floating(kind):
        return [func.float8send(func.coalesce(cast(column, Double), 0)), *_missing(column)]
    text = func.textsend(column)
    return [text, func.int4send(func.coalesce(func.octet_length(text), -1))]


def _missing(column: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Which values are null, of a column that may have such."""
    return [case((column.is_(None), _TRUE), else_=_FALSE)] if _is_nullable(column) else []


def _of_bytes(parts: Iterator[bytes | None], kind: pa.DataType, nullable: bool) -> pa.Array:
    """A column of the bytes of its values.

    Args:
        parts: The values, and what tells nulls: of texts the length of each, -1 for null, of others one byte,
            where there may be nulls at all. None for nothing.
        kind: Type of the column.
        nullable: Whether there may be nulls.
    """
    content = next(parts) or b""
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        lengths = np.frombuffer(next(parts) or b"", ">i4")
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
        there = pa.py_buffer(np.packbits(lengths >= 0, bitorder="little"))
        texts = pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(content), there)
        return texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts
    missing: BoolArray | None = np.frombuffer(next(parts) or b"", np.bool_) if nullable else None
    if pa.types.is_boolean(kind):
        return pa.array(np.frombuffer(content, np.bool_), kind, mask=missing)
    written = ">f8" if pa.types.is_floating(kind) else ">i8"
    return pa.array(np.frombuffer(content, written).astype(written[1:]), kind, mask=missing)


def _postgres_text(query: ClauseElement) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


# -- both ----------------------------------------------------------------------------------------


def _is_nullable(column: ColumnElement[Any]) -> bool:
    return not isinstance(column, Column) or bool(column.nullable)


def _by_rows(cursor: Any, schema: pa.Schema) -> pa.Table:
    """The rows of a driver's cursor, value by value."""
    parts = []
    while rows := cursor.fetchmany(_FETCH_ROWS):
        parts.append(_batch(rows, schema))
    return pa.Table.from_batches(parts, schema)


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    # SQLite's driver gives numbers for what is true.
    if pa.types.is_boolean(kind):
        values = [None if value is None else bool(value) for value in values]
    return pa.array(values, kind)
