"""Reading of everything at one moment, for training.

PostgreSQL is read by several connections at once, which share one snapshot and copy ranges of the events'
numbers each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, Select, and_, func, or_, select, text

from recserve.data.columns.spool import EventSpool
from recserve.data.dataset import Tables
from recserve.data.events.text import ENCODED_CHARACTERS
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import read_pulse
from recserve.store.sql.queries.history import read_batches, read_table
from recserve.store.sql.queries.numbering import last_number

_READERS = 4
_RANGE = 50_000
"""Numbers of one range: the events of a range are in memory as text."""

_EVENT_SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
    }
)
_TEXT_SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
        "text": pa.string(),
    }
)
_ITEM_SCHEMA = pa.schema({"item_id": pa.string(), "attributes": pa.string()})
_READ = pyarrow.csv.ParseOptions(newlines_in_values=True)


def read_tables(database: Database, folder: Path, *, events: bool = True) -> Tables:
    """Everything, or the items alone, as canonical Arrow tables; the events are in files of ``folder``.

    Raises:
        StoreError: The database failed.
    """

    def read(connection: Connection) -> Tables:
        item_query = select(*schema.items.c[tuple(_ITEM_SCHEMA.names)]).where(~schema.items.c.deleted)
        version = read_pulse(connection).catalogue
        spool, texts = EventSpool(folder), None
        if events:
            query, columns = _events(connection)
            spool.extend(
                (_copied if database.is_postgres else _one_by_one)(database, connection, query, columns)
            )
            texts = read_table(connection, _texts(), _TEXT_SCHEMA)
        return Tables(
            # Sorting in Arrow: byte order on every engine, whatever its collation.
            items=read_table(connection, item_query, _ITEM_SCHEMA).sort_by("item_id"),
            events=spool.table(),
            version=version,
            last_event=last_number(connection, schema.events),
            texts=texts,
        )

    return database.read(read)


def _events(connection: Connection) -> tuple[Select[Any], pa.Schema]:
    """A query of all events, and its columns: with contexts where there are any.

    An event without a context of its own that names its recommendation has that of the answer, if it was
    shown to the event's user or to somebody without an id.
    """
    done, shown = schema.events.c, schema.exposures.c
    query = select(*done[tuple(_EVENT_SCHEMA.names)])
    own, told = (
        connection.execute(select(1).select_from(table).where(table.c.context.is_not(None)).limit(1)).first()
        for table in (schema.events, schema.exposures)
    )
    if own is None and told is None:
        return query, _EVENT_SCHEMA
    context: Any = done.context
    if told is not None:
        followed = and_(
            shown.recommendation_id == done.recommendation_id,
            ~shown.shadow,
            or_(shown.user_hash.is_(None), shown.user_hash == done.user_hash),
        )
        query = query.select_from(schema.events.outerjoin(schema.exposures, followed))
        context = func.coalesce(done.context, shown.context)
    return query.add_columns(context.label("context")), _EVENT_SCHEMA.append(pa.field("context", pa.string()))


def _texts() -> Select[Any]:
    """Events with a text, in their order, as far as an encoder reads them."""
    columns = schema.events.c
    read = func.substr(columns.text, 1, ENCODED_CHARACTERS).label("text")
    chosen = (columns[name] for name in _TEXT_SCHEMA.names if name != "text")
    return select(*chosen, read).where(columns.text.is_not(None)).order_by(columns.seq)


def _one_by_one(
    database: Database, connection: Connection, query: Select[Any], columns: pa.Schema
) -> Iterator[pa.RecordBatch]:
    return read_batches(connection, query.order_by(schema.events.c.seq), columns)


def _copied(
    database: Database, connection: Connection, query: Select[Any], columns: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Events in order, a few ranges of numbers ahead."""
    low, high = connection.execute(select(func.min(schema.events.c.seq), func.max(schema.events.c.seq))).one()
    if low is None:
        return
    moment = connection.execute(select(func.pg_export_snapshot())).scalar_one()

    def read(first: int) -> pa.Table:
        return database.read(lambda reader: _range(reader, moment, first, query, columns))

    ahead: deque[Future[pa.Table]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="snapshot")
    try:
        for first in range(low, high + 1, _RANGE):
            ahead.append(pool.submit(read, first))
            if len(ahead) > _READERS:
                yield from ahead.popleft().result().to_batches()
        while ahead:
            yield from ahead.popleft().result().to_batches()
    finally:
        pool.shutdown(cancel_futures=True)


def _range(
    connection: Connection, moment: str, first: int, query: Select[Any], columns: pa.Schema
) -> pa.Table:
    """Events of a range of numbers as they were when a snapshot was exported."""
    connection.execute(text(f"SET TRANSACTION SNAPSHOT '{moment}'"))
    number = schema.events.c.seq
    part = query.where(number >= first, number < first + _RANGE).order_by(number)
    statement = part.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT csv)") as copy:
        lines = b"".join(copy)
    if not lines:
        return columns.empty_table()
    # One block, so that no row is too long for it.
    reading = pyarrow.csv.ReadOptions(
        column_names=columns.names, block_size=len(lines) + 1, use_threads=False
    )
    converting = pyarrow.csv.ConvertOptions(column_types=columns, null_values=[""], strings_can_be_null=False)
    return pyarrow.csv.read_csv(pa.BufferReader(lines), reading, _READ, converting)
