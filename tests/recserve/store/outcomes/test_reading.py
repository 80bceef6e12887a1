"""Rows that are read as text are the same as value by value."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.engine.interfaces import IsolationLevel

from recserve.store.outcomes import reading
from recserve.store.outcomes.reading import read_columns

_TABLE = Table(
    "things",
    MetaData(),
    Column("number", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("other", Text),
    Column("amount", Double),
    Column("flag", Boolean),
)
_SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "name": pa.string(),
        "other": pa.string(),
        "amount": pa.float64(),
        "flag": pa.bool_(),
    }
)
# What the store lets in: no NUL and no half of a surrogate pair.
_text = st.text(
    st.one_of(st.sampled_from('\n\r\x1f\x1e",\\ a'), st.characters(exclude_categories=["Cs"]))
).map(lambda text: text.replace("\x00", ""))
_plain = st.text("ab-é中\"',;\\ \t", max_size=5)


_amount = st.floats(allow_nan=False)
_usual_amount = st.floats(-1e18, 1e18).filter(lambda amount: amount == 0 or abs(amount) > 0.001)


def _rows(
    text: st.SearchStrategy[str], amounts: st.SearchStrategy[float]
) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    number, amount = st.integers(-(2**63), 2**63 - 1), st.none() | amounts
    return st.lists(st.tuples(number, text, st.none() | text, amount, st.none() | st.booleans()), max_size=5)


def _read(rows: list[tuple[Any, ...]]) -> pa.Table:
    with create_engine("sqlite://").connect() as connection:
        _TABLE.create(connection)
        if rows:
            connection.execute(insert(_TABLE), [dict(zip(_SCHEMA.names, row, strict=True)) for row in rows])
        return read_columns(connection, select(_TABLE), _SCHEMA)


@given(_rows(_text, _amount))
def test_any_values_are_read_as_they_are(rows: list[tuple[Any, ...]]) -> None:
    found = _read(rows)
    assert found.schema == _SCHEMA
    assert [tuple(row.values()) for row in found.to_pylist()] == rows


@given(_rows(_plain, _usual_amount))
def test_usual_values_need_no_reading_one_by_one(rows: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(reading, "_by_rows")
        assert [tuple(row.values()) for row in _read(rows).to_pylist()] == rows


@pytest.mark.parametrize("text", ["a\nb", "\n", "\x1f", "\x1fa\x1f", "\r", ""])
def test_values_with_the_bytes_that_stand_for_something_else_are_read_as_they_are(text: str) -> None:
    row, none = (1, text, text, 0.1, True), (2, text, None, None, None)
    for rows in ([row, none, row], [none, none], [row], [none]):
        assert [tuple(found.values()) for found in _read(rows).to_pylist()] == rows


def test_a_text_that_sqlite_cannot_hold_is_read_one_by_one() -> None:
    with create_engine("sqlite://").connect() as connection:
        _TABLE.create(connection)
        rows = [(number, "x" * 300, None, None, None) for number in range(5)]
        connection.execute(insert(_TABLE), [dict(zip(_SCHEMA.names, row, strict=True)) for row in rows])
        driver: Any = connection.connection.driver_connection
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000)
        assert len(read_columns(connection, select(_TABLE), _SCHEMA)) == 5


@pytest.fixture(scope="module")
def postgres(empty_postgres: Callable[[str], str]) -> Iterator[Engine]:
    """A database."""
    url = make_url(empty_postgres("reading")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        _TABLE.create(connection)
    yield engine
    engine.dispose()


def _written(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute(delete(_TABLE))
    if rows:
        connection.execute(insert(_TABLE), [dict(zip(_SCHEMA.names, row, strict=True)) for row in rows])


@given(rows=_rows(_text, _amount))
def test_any_values_of_postgresql_are_read_as_they_are(postgres: Engine, rows: list[tuple[Any, ...]]) -> None:
    with postgres.connect() as connection:
        _written(connection, rows)
        found = read_columns(connection, select(_TABLE), _SCHEMA)
    assert found.schema == _SCHEMA
    assert Counter(tuple(row.values()) for row in found.to_pylist()) == Counter(rows)


_TOO_LARGE = """
CREATE OR REPLACE FUNCTION pg_temp.text_of(name text) RETURNS text AS $$
BEGIN
    IF current_query() LIKE '%string_agg%' THEN
        RAISE program_limit_exceeded;
    END IF;
    RETURN name;
END $$ LANGUAGE plpgsql
"""


@pytest.mark.parametrize("isolation", ["AUTOCOMMIT", "REPEATABLE READ"])
def test_what_postgresql_cannot_put_into_one_value_is_read_one_by_one(
    postgres: Engine, isolation: IsolationLevel
) -> None:
    rows = [(1, "a\nb", None, 0.1, True), (2, "é", "c", None, None), (3, "", "", -2.5, False)]
    with postgres.connect().execution_options(isolation_level=isolation) as connection:
        _written(connection, rows)
        connection.execute(text(_TOO_LARGE))
        limited = select(
            _TABLE.c.number, func.pg_temp.text_of(_TABLE.c.name), *_TABLE.c["other", "amount", "flag"]
        )
        found = read_columns(connection, limited, _SCHEMA)
        assert connection.execute(select(func.count()).select_from(_TABLE)).scalar() == 3  # it goes on
    assert found.schema == _SCHEMA
    assert Counter(tuple(row.values()) for row in found.to_pylist()) == Counter(rows)


def test_a_client_with_another_encoding_reads_the_same(postgres: Engine) -> None:
    rows = [(1, "é", "ü", 0.1, True), (2, "a", None, None, None)]
    with postgres.connect() as connection:
        _written(connection, rows)
        connection.execute(text("SET client_encoding TO latin1"))
        found = read_columns(connection, select(_TABLE), _SCHEMA)
        connection.execute(text("RESET client_encoding"))
    assert Counter(tuple(row.values()) for row in found.to_pylist()) == Counter(rows)
