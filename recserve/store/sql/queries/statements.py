"""The writing statements, compiled once for each engine.

Rows go to the driver as they are: SQLAlchemy compiles the statement but does not touch each
parameter, which would take longer than the database does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite

from recserve.store.sql.queries.rows import Row

T = TypeVar("T")

# Rows are dicts, so SQLite's placeholders must have names too.
_SQLITE = sqlite.dialect(paramstyle="named")


CHUNK = 5_000
"""Values of one IN list: well below every engine's limit of parameters."""


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in pieces that fit into one IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert rows; those whose unique key is there already are left out.

    Returns:
        The number of rows inserted.
    """
    sql = _insert_new_sql(table, dialect_of(connection))
    return connection.exec_driver_sql(sql, list(rows)).rowcount


def insert_all(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows with all their columns, the sequence number included."""
    connection.exec_driver_sql(_insert_all_sql(table, dialect_of(connection)), list(rows))


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows; those whose primary key is there already replace all other columns."""
    connection.exec_driver_sql(_upsert_sql(table, dialect_of(connection)), list(rows))


def add_up(connection: Connection, table: Table, rows: Sequence[Row], sums: tuple[str, ...]) -> None:
    """Insert rows; of those whose primary key is there already, ``sums`` are added to what is there."""
    connection.exec_driver_sql(_add_up_sql(table, dialect_of(connection), sums), list(rows))


def dialect_of(connection: Connection) -> Dialect:
    """What statements for a connection are compiled by."""
    return connection.dialect if connection.dialect.name == "postgresql" else _SQLITE


@cache
def _insert_new_sql(table: Table, dialect: Dialect) -> str:
    statement = _insert(table, dialect).on_conflict_do_nothing()
    return str(statement.compile(dialect=dialect, column_keys=_given(table)))


@cache
def _insert_all_sql(table: Table, dialect: Dialect) -> str:
    return str(_insert(table, dialect).compile(dialect=dialect, column_keys=list(table.c.keys())))


@cache
def _upsert_sql(table: Table, dialect: Dialect) -> str:
    statement = _insert(table, dialect)
    keys = list(table.primary_key)
    others = [column.name for column in table.c if not column.primary_key]
    statement = statement.on_conflict_do_update(
        index_elements=keys, set_={name: statement.excluded[name] for name in others}
    )
    return str(statement.compile(dialect=dialect, column_keys=_given(table)))


@cache
def _add_up_sql(table: Table, dialect: Dialect, sums: tuple[str, ...]) -> str:
    statement = _insert(table, dialect)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: table.c[name] + statement.excluded[name] for name in sums},
    )
    return str(statement.compile(dialect=dialect, column_keys=_given(table)))


def _insert(table: Table, dialect: Dialect) -> postgresql.Insert | sqlite.Insert:
    # inline: nothing is to be returned, which lets the driver send all rows at once.
    if dialect.name == "postgresql":
        return postgresql.insert(table).inline()
    return sqlite.insert(table).inline()


def _given(table: Table) -> list[str]:
    """Columns that rows bring; the sequence number is the database's."""
    return [column.name for column in table.c if column is not table.autoincrement_column]
