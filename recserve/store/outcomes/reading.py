"""Reading of many rows as Arrow columns, without an object for each value.

Both engines put rows together as delimited text, which Arrow parses. That takes less than handing over each
value or each row, and holds Python's lock only at its end: what was read before can be worked on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Text,
    case,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

_FETCH_ROWS = 20_000
_READ = pyarrow.csv.ParseOptions(newlines_in_values=True)

# What the store's texts never hold, and what they hardly ever do: where one does, rows are read one by one.
_NULL = "\x00"
_DELIMITER = "\x1f"
_NONE: ColumnElement[Any] = literal_column("x'00'")
_PARTS = "4611686018427387904.0"
_LINE = b"\n"
_RETURN = b"\r"
_READ_PLAIN = pyarrow.csv.ParseOptions(delimiter=_DELIMITER, quote_char=False, ignore_empty_lines=False)


def read_columns(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query as an Arrow table.

    Args:
        connection: In a transaction.
        query: Without parameters but for plain values.
        schema: Columns of the query, in its order.
    """
    if connection.dialect.name == "postgresql":
        return _quoted(connection, query, schema)
    found = _aggregated(connection, query, schema)
    return _by_rows(connection, query, schema) if found is None else found


def _aggregated(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table | None:
    """The rows of a query to SQLite by one text; None if there is a value that does not go into it."""
    texts = [
        text
        for column, kind in zip(query.selected_columns, schema.types, strict=True)
        for text in (_in_halves(column) if pa.types.is_floating(kind) else [_as_text(column)])
    ]
    row: ColumnElement[str] = texts[0]
    for text in texts[1:]:
        row = row.concat(literal_column("x'1f'")).concat(text)
    lines = cast(func.group_concat(row, literal_column("x'0a'")), LargeBinary)
    asked = query.with_only_columns(func.count(), lines, maintain_column_froms=True)
    try:
        count, content = _cursor(connection, asked).fetchone()
    except (sqlite3.DataError, sqlite3.OperationalError) as error:
        if "too big" not in str(error):
            raise
        return None
    if not count:
        return schema.empty_table()
    if content.count(_LINE) != count - 1 or _RETURN in content:
        return None
    written = _written(schema)
    converting = pyarrow.csv.ConvertOptions(
        column_types=written,
        null_values=[_NULL],
        strings_can_be_null=True,
        true_values=["1"],
        false_values=["0"],
    )
    try:
        found = pyarrow.csv.read_csv(
            pa.BufferReader(content), _whole(content, written), _READ_PLAIN, converting
        )
    except pa.ArrowInvalid:
        return None
    columns = iter(found.columns)
    return pa.table(
        [
            _whole_number(next(columns), next(columns)) if pa.types.is_floating(kind) else next(columns)
            for kind in schema.types
        ],
        schema=schema,
    )


def _as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column's value as it stands in a line."""
    if isinstance(column, Column) and not column.nullable:
        return column
    return case((column.is_(None), _NONE), else_=column)


def _in_halves(column: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """A number as two whole ones, what is before the point and 2^62 times what is after it.

    SQLite cannot write every number so that it is the same when read. One that is not the sum of the two,
    being very large or very small, is written as what is no number.
    """
    above = cast(column, Integer)
    below = cast((column - above) * literal_column(_PARTS), Integer)
    same = above + below / literal_column(_PARTS) == column
    return [case((column.is_(None), _NONE), (same, half), else_="?") for half in (above, below)]


def _written(schema: pa.Schema) -> pa.Schema:
    """The columns of a line."""
    columns: dict[str, pa.DataType] = {}
    for field in schema:
        if pa.types.is_floating(field.type):
            columns |= {f"{field.name} above": pa.int64(), f"{field.name} below": pa.int64()}
        else:
            columns[field.name] = field.type
    return pa.schema(columns)


def _whole_number(above: pa.ChunkedArray, below: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers of their halves."""
    after = pc.divide(pc.cast(below, pa.float64(), safe=False), float(_PARTS))
    return pc.add(pc.cast(above, pa.float64(), safe=False), after)


def _by_rows(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query to SQLite, value by value."""
    cursor = _cursor(connection, query)
    parts = []
    while rows := cursor.fetchmany(_FETCH_ROWS):
        parts.append(_batch(rows, schema))
    return pa.Table.from_batches(parts, schema)


def _cursor(connection: Connection, query: ClauseElement) -> sqlite3.Cursor:
    """Ask SQLite's driver itself."""
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    driver: Any = connection.connection.driver_connection
    cursor: sqlite3.Cursor = driver.execute(str(compiled))
    return cursor


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    # The driver gives numbers for what is true.
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_boolean(kind) else pa.array(values, kind)


def _whole(content: bytes, schema: pa.Schema) -> pyarrow.csv.ReadOptions:
    # One block, so that no row is too long for it.
    return pyarrow.csv.ReadOptions(column_names=schema.names, block_size=len(content) + 1, use_threads=False)


def _quoted(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query to PostgreSQL by a text for some thousands, in the format of CSV."""
    texts = [
        func.coalesce(
            _quotation(column)
            if pa.types.is_string(kind) or pa.types.is_dictionary(kind)
            else cast(column, Text),
            "",
        )
        for column, kind in zip(query.selected_columns, schema.types, strict=True)
    ]
    row: ColumnElement[str] = texts[0]
    for text in texts[1:]:
        row = row.concat(",").concat(text)
    # No value of PostgreSQL is larger than a gigabyte.
    part = (func.row_number().over() / _FETCH_ROWS).label("part")
    rows = query.with_only_columns(row.label("line"), part, maintain_column_froms=True).subquery()
    lines = select(func.convert_to(func.string_agg(rows.c.line, "\n"), "UTF8")).group_by(rows.c.part)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = str(lines.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    driver: Any = connection.connection.driver_connection
    with driver.cursor(binary=True) as cursor:
        content = b"\n".join(part for (part,) in cursor.execute(sql).fetchall())
    if not content:
        return schema.empty_table()
    converting = pyarrow.csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["true"],
        false_values=["false"],
    )
    return pyarrow.csv.read_csv(pa.BufferReader(content), _whole(content, schema), _READ, converting)


def _quotation(column: ColumnElement[Any]) -> ColumnElement[Any]:
    mark = literal_column("'\"'", Text)
    return mark.concat(func.replace(column, '"', '""')).concat(mark)
