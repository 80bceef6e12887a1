"""Queries of histories, for a batch of users and as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from recserve.store.sql.schema import counters, events, user_impressions, users

_FETCH_ROWS = 20_000

HISTORY = (
    "user_id",
    "item_id",
    "event",
    "timestamp",
    "value",
    "event_id",
    "recommendation_id",
    "text",
    "context",
)
"""Columns that make an :class:`recserve.Event`, in the order of its fields."""

EVENT_CHANGES = pa.schema(
    {
        "seq": pa.int64(),
        "event_id": pa.string(),
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
        "recommendation_id": pa.string(),
        "text": pa.string(),
        "context": pa.string(),
    }
)
"""Columns of an incremental export."""


def overview_query(postgres: bool) -> CompoundSelect[Any]:
    """The counters, and of a batch of users marks, profiles and impressions.

    A mark tells histories apart, see :class:`recserve.store.History`.

    One statement, because a batch of one request does little else. Marks come from the index alone.

    Parameters of the query: ``limit`` newest events of a user that count; ``hashes``, user hashes as a list
    (PostgreSQL) or as a JSON array (SQLite); and ``keys`` of the users in the same order, as a list
    (PostgreSQL) or one after the other (JSON knows no bytes).

    Returns:
        A query of (name of a counter, value, NULL), of (NULL, user hash, mark), of (user id, NULL,
        attributes), and of (user id, a number, items).
    """
    if postgres:
        arrays = (bindparam("hashes", type_=ARRAY(BigInteger)), bindparam("keys", type_=ARRAY(LargeBinary)))
        asked = func.unnest(*arrays).table_valued("hash", "user_key").render_derived()
        number: ColumnElement[int] = asked.c.hash
        key: ColumnElement[bytes] = asked.c.user_key
    else:
        asked = func.json_each(bindparam("hashes")).table_valued(
            column("value", BigInteger), column("key", Integer)
        )
        number = asked.c.value
        key = func.substr(bindparam("keys", type_=LargeBinary), 1 + 16 * asked.c.key, 16)
    newest = (
        select(events.c.seq)
        .where(events.c.user_hash == number)
        .order_by(events.c.timestamp.desc(), events.c.seq.desc())
        .limit(bindparam("limit"))
        .correlate(asked)
        .subquery()
    )
    parts = (func.count(), func.max(newest.c.seq), func.sum(newest.c.seq))
    count, highest, total = (cast(part, Text) for part in parts)
    space: ColumnElement[str] = literal_column("' '")
    mark = select(count.concat(space).concat(highest).concat(space).concat(total)).select_from(newest)
    return union_all(
        select(counters.c.name, counters.c.value, cast(null(), Text)),
        select(cast(null(), Text), number, mark.scalar_subquery()).select_from(asked),
        select(users.c.user_id, cast(null(), BigInteger), users.c.attributes).select_from(
            asked.join(users, users.c.user_key == key)
        ),
        select(*user_impressions.c["user_id", "changed", "items"]).select_from(
            asked.join(user_impressions, user_impressions.c.user_key == key)
        ),
    )


def changes_query() -> CompoundSelect[Any]:
    """The counters, the number of the newest event, and who has something new (SQLite).

    Parameters of the query: ``after``, the number that new events are numbered above; ``shown``, likewise of
    changes of impressions; and ``limit``, the most of each that are looked at.

    Returns:
        A query of (name of a counter, value, NULL), of (NULL, number, NULL), and of (NULL, NULL, user id).
    """
    later = (
        select(events.c.user_id)
        .where(events.c.seq > bindparam("after"))
        .order_by(events.c.seq)
        .limit(bindparam("limit"))
        .subquery()
    )
    shown = (
        select(user_impressions.c.user_id)
        .where(user_impressions.c.changed > bindparam("shown"))
        .limit(bindparam("limit"))
        .subquery()
    )
    return union_all(
        select(counters.c.name, counters.c.value, cast(null(), Text)),
        select(cast(null(), Text), func.coalesce(func.max(events.c.seq), 0), cast(null(), Text)),
        select(cast(null(), Text), cast(null(), BigInteger), later.c.user_id),
        select(cast(null(), Text), cast(null(), BigInteger), shown.c.user_id),
    )


def newer_query(postgres: bool) -> Select[Any]:
    """Events of a batch of users that are numbered above a number of each, oldest first.

    The text of the statement does not depend on the number of users, so it is compiled and prepared
    once. For each user the index (user_hash, timestamp, seq) is read from its newest end, ``limit``
    matching entries and no more.

    Parameters of the query: ``limit`` events of a user at most, the newest; user hashes and numbers as the
    lists ``hashes`` and ``after`` (PostgreSQL), or as the JSON array ``pairs`` of pairs (SQLite).

    Returns:
        A query of the number and the fields of an event, in the order of :class:`recserve.Event`.
    """
    if postgres:
        arrays = [bindparam(name, type_=ARRAY(BigInteger)) for name in ("hashes", "after")]
        asked = func.unnest(*arrays).table_valued("hash", "number").render_derived()
        recent = (
            select(*events.c["seq", *HISTORY])
            .where(events.c.user_hash == asked.c.hash, events.c.seq > asked.c.number)
            .order_by(events.c.timestamp.desc(), events.c.seq.desc())
            .limit(bindparam("limit"))
            .lateral("recent")
        )
        found = select(*recent.c["seq", *HISTORY]).select_from(asked.join(recent, true()))
        return found.order_by(recent.c.timestamp, recent.c.seq)
    # SQLite has no LATERAL, but finds rows by a list of row numbers as quickly.
    pairs = func.json_each(bindparam("pairs")).table_valued(column("value", Text))
    indexed = events.alias("indexed")
    newest = (
        select(indexed.c.seq)
        .where(
            indexed.c.user_hash == func.json_extract(pairs.c.value, "$[0]"),
            indexed.c.seq > func.json_extract(pairs.c.value, "$[1]"),
        )
        .order_by(indexed.c.timestamp.desc(), indexed.c.seq.desc())
        .limit(bindparam("limit"))
        .correlate(pairs)
    )
    found = select(*events.c["seq", *HISTORY]).select_from(pairs.join(events, events.c.seq.in_(newest)))
    return found.order_by(events.c.timestamp, events.c.seq)


def read_events(connection: Connection, after: int, until: int, limit: int) -> pa.Table:
    """Events numbered above ``after`` and not above ``until``, at most ``limit``, in order."""
    numbered = events.c.seq.between(after + 1, until)
    query = select(*events.c[tuple(EVENT_CHANGES.names)]).where(numbered)
    return read_table(connection, query.order_by(events.c.seq).limit(limit), EVENT_CHANGES)


def read_batches(connection: Connection, query: Select[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a query as Arrow, a few thousand at a time."""
    result = connection.execute(query, execution_options={"yield_per": _FETCH_ROWS})
    return _batches(result.partitions(), schema)


def read_table(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query as an Arrow table."""
    return pa.Table.from_batches(read_batches(connection, query, schema), schema)


def _batches(partitions: Iterator[Sequence[Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for rows in partitions:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, type_) for column, type_ in zip(columns, schema.types, strict=True)]
        yield pa.record_batch(arrays, schema=schema)
