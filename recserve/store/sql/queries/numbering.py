"""Sequences: the numbers that the database gives to rows."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select, text

from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import exclude_people


def last_number(connection: Connection, table: Table) -> int:
    """The highest number ever given to a row, deleted ones included; 0 before the first."""
    column = _column(table)
    highest = int(connection.execute(select(func.coalesce(func.max(table.c[column]), 0))).scalar_one())
    if connection.dialect.name == "postgresql":
        name = connection.execute(select(func.pg_get_serial_sequence(table.name, column))).scalar_one()
        state = connection.execute(text(f"SELECT last_value, is_called FROM {name}")).one()
        given = state.last_value if state.is_called else 0
    else:
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        given = connection.execute(query, {"name": table.name}).scalar() or 0
    return max(highest, int(given))


def go_on_from(connection: Connection, table: Table, number: int) -> None:
    """Give only numbers above ``number`` to rows from now on, and none that was given before."""
    number = max(number, last_number(connection, table))
    if number < 1:
        return
    if connection.dialect.name == "postgresql":
        column = _column(table)
        connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, column), number)))
        return
    parameters = {"name": table.name, "number": number}
    change = text("UPDATE sqlite_sequence SET seq = :number WHERE name = :name")
    if not connection.execute(change, parameters).rowcount:
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), parameters
        )


def settled_number(database: Database, table: Table, after: int = 0) -> int:
    """The highest number of a row, once every lower one is visible or was never used.

    Nobody is waited for while there is none above ``after``.

    PostgreSQL hands numbers out before transactions commit, so one of a slower transaction may be
    missing below it. Every transaction that holds such a number holds the shared lock as well: having
    had the lock alone for a moment means that they have all ended.

    Args:
        database: The database.
        table: A table whose rows are only added under :func:`share_people`.
        after: Rows up to this number are known.
    """
    newest = select(func.coalesce(func.max(table.c[_column(table)]), 0))
    highest = int(database.read(lambda connection: connection.execute(newest).scalar_one()))
    if highest > after:
        database.read(exclude_people)
    return highest


def _column(table: Table) -> str:
    column = table.autoincrement_column
    assert column is not None, f"rows of {table.name} have no number"
    return column.name
