"""Writing statements: what they do to rows that are there already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    select,
)

from recserve.store.sql.queries.statements import add_up, insert_all, insert_new, upsert

META = MetaData()
NOTES = Table(
    "notes",
    META,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False),
    Column("text", String),
    UniqueConstraint("key"),
    sqlite_autoincrement=True,
)
COUNTS = Table(
    "counts",
    META,
    Column("name", String, primary_key=True),
    Column("shown", Integer, nullable=False),
    Column("clicked", Integer, nullable=False),
    Column("label", String),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    META.create_all(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def rows(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def test_known_keys_are_left_out_and_new_ones_counted(connection: Connection) -> None:
    assert insert_new(connection, NOTES, [{"key": "a", "text": "1"}, {"key": "b", "text": None}]) == 2
    assert insert_new(connection, NOTES, [{"key": "b", "text": "2"}, {"key": "c", "text": "3"}]) == 1
    found = rows(connection, NOTES)
    assert [row[1:] for row in found] == [("a", "1"), ("b", None), ("c", "3")]
    assert [row[0] for row in found] == sorted({row[0] for row in found})


def test_restored_rows_keep_their_numbers(connection: Connection) -> None:
    insert_all(connection, NOTES, [{"seq": 7, "key": "a", "text": "1"}, {"seq": 9, "key": "b", "text": "2"}])
    insert_new(connection, NOTES, [{"key": "c", "text": "3"}])
    assert [row[0] for row in rows(connection, NOTES)] == [7, 9, 10]


def test_a_known_primary_key_is_replaced(connection: Connection) -> None:
    first = {"name": "a", "shown": 1, "clicked": 2, "label": "old"}
    upsert(connection, COUNTS, [first, {**first, "name": "b"}])
    upsert(connection, COUNTS, [{"name": "a", "shown": 5, "clicked": 0, "label": None}])
    assert rows(connection, COUNTS) == [("a", 5, 0, None), ("b", 1, 2, "old")]


def test_sums_are_added_and_other_columns_kept(connection: Connection) -> None:
    row = {"name": "a", "shown": 1, "clicked": 2, "label": "old"}
    add_up(connection, COUNTS, [row], ("shown", "clicked"))
    add_up(connection, COUNTS, [{**row, "label": "new"}] * 3, ("shown", "clicked"))
    assert rows(connection, COUNTS) == [("a", 4, 8, "old")]
