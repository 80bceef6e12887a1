"""Tables of events for the ingest benchmark, and the plain drivers that fill and count them."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine

from recserve.data.entities import Event
from recserve.store import open_store, parse_url
from recserve.store.sql import schema
from recserve.store.sql.queries.rows import event_rows

T = TypeVar("T")
Send = Callable[[T], None]
Rows = list[tuple[Any, ...]]

ENGINES = ("sqlite", "postgresql")
COLUMNS = tuple(column.name for column in schema.events.c if column is not schema.events.autoincrement_column)


def some_events(count: int) -> list[Event]:
    """Events as they come in: random ids, 2,000 users, 10,000 items."""
    now = time.time_ns() // 1_000_000
    return [
        Event(
            user_id=f"user-{n * 7919 % 2000}",
            item_id=f"item-{n * 104729 % 10000}",
            event="view",
            timestamp=now + n,
            event_id=secrets.token_hex(16),
        )
        for n in range(count)
    ]


def rows_of(events: Sequence[Event]) -> Rows:
    """The rows that the store makes of events."""
    return [tuple(row[name] for name in COLUMNS) for row in event_rows(events)]


def sender(url: str) -> AbstractContextManager[Send[Rows]]:
    """A connection of the plain driver that makes each list of rows durable."""
    return _sqlite_sender(url) if url.startswith("sqlite") else _postgres_sender(url)


@contextmanager
def _sqlite_sender(url: str) -> Iterator[Send[Rows]]:
    sql = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    with contextlib.closing(_sqlite(url)) as connection:

        def send(rows: Rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, rows)
            connection.execute("COMMIT")

        yield send


def _sqlite(url: str) -> sqlite3.Connection:
    path = str(parse_url(url, Path()).database)
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


@contextmanager
def _postgres_sender(url: str) -> Iterator[Send[Rows]]:
    import psycopg

    sql = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
    with psycopg.connect(url, options="-c synchronous_commit=on") as connection:

        def send(rows: Rows) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(sql, rows)
            connection.commit()

        yield send


def count_rows(url: str) -> int:
    """Rows of the table, by the plain driver."""
    connection: Any
    if url.startswith("sqlite"):
        connection = _sqlite(url)
    else:
        import psycopg

        connection = psycopg.connect(url)
    with contextlib.closing(connection):
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


@contextmanager
def fresh(engine: str, server: str | None) -> Iterator[str]:
    """URL of an empty database."""
    if engine == "sqlite":
        with tempfile.TemporaryDirectory(prefix="recserve-bench-") as folder:
            yield f"sqlite:///{folder}/recserve.db"
        return
    import psycopg

    assert server is not None
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    yield server


@contextmanager
def filled(engine: str, server: str | None, way: str) -> Iterator[str]:
    """URL of a database whose table ``events`` is as it is after the first moments of its life.

    A new write-ahead log grows with every commit, which costs far more than writing over an old one.
    """
    with fresh(engine, server) as url:
        if way == "driver":
            bare = create_engine(parse_url(url, Path()))
            schema.metadata.create_all(bare, tables=[schema.events])
            bare.dispose()
        else:
            open_store(url, Path()).close()
        # SQLite removes the log with the last connection, so this one stays open.
        with sender(url) as send:
            for _ in range(4):
                send(rows_of(some_events(10_000)))
            yield url
