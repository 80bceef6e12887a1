"""Storing events: those that are known already, and those that must not come back, are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Connection, Dialect, and_, bindparam, cast, exists, not_, select
from sqlalchemy.dialects import postgresql, sqlite

from recserve.data.entities import Event
from recserve.errors import ConflictError, EventIdConflictError, EventRemovedError, UserDeletedError
from recserve.store.records import AddedEvents
from recserve.store.sql.queries.counters import share_people
from recserve.store.sql.queries.forgetting import merged_into
from recserve.store.sql.queries.rows import Row, Stored, event_rows
from recserve.store.sql.queries.statements import chunks, dialect_of
from recserve.store.sql.schema import deletions, events, key_of, removed_events

_CONTENT = ("item_id", "event", "value", "recommendation_id", "text", "context")
_LATER = frozenset({"seq", "vector", "fingerprint"})
"""Columns that an event does not come with."""


def new_event_rows(incoming: Sequence[Event]) -> list[Row]:
    """Rows of events that are to be stored, with what :func:`insert_events` must know of each.

    Raises:
        InvalidRequestError: An event that cannot be stored; names its position and field.
    """
    rows = event_rows(incoming)
    keys = {user_id: key_of(user_id) for user_id in {event.user_id for event in incoming}}
    return [
        {**row, "user_key": keys[row["user_id"]], "timed": event.timed}
        for row, event in zip(rows, incoming, strict=True)
    ]


def insert_events(connection: Connection, rows: Sequence[Row]) -> AddedEvents:
    """Insert events; what was refused is left out, the others are inserted all the same.

    Nothing is looked up while all are new: the statement itself leaves out what may not be stored, and only
    if it left something out is it found out why.

    Args:
        connection: In a writing transaction.
        rows: From :func:`new_event_rows`.
    """
    share_people(connection)
    stored = connection.exec_driver_sql(_statement(dialect_of(connection)), list(rows)).rowcount
    refused = () if stored == len(rows) else tuple(_refusals(connection, rows))
    return AddedEvents(stored, refused)


@cache
def _statement(dialect: Dialect) -> str:
    names = [column.name for column in events.c if column.name not in _LATER]
    # PostgreSQL would take the parameters of a SELECT for texts.
    values = [cast(bindparam(name), events.c[name].type).label(name) for name in names]
    removed = exists().where(removed_events.c.event_key == bindparam("event_key"))
    deleted = exists().where(
        deletions.c.user_key == bindparam("user_key"), deletions.c.deleted_at >= bindparam("timestamp")
    )
    too_late = and_(bindparam("timed", type_=Boolean), deleted)
    allowed = select(*values).where(not_(removed), not_(too_late))
    kind: Any = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
    statement = kind(events).inline().from_select(names, allowed).on_conflict_do_nothing()
    return str(statement.compile(dialect=dialect))


def _refusals(connection: Connection, rows: Sequence[Row]) -> Iterator[ConflictError]:
    """Why some of the rows were not inserted, unless the very same event is stored already."""
    keys = sorted({row["event_key"] for row in rows})
    stored: dict[bytes, Stored] = {}
    removed: set[bytes] = set()
    for some in chunks(keys):
        for known in connection.execute(select(events).where(events.c.event_key.in_(some))).mappings():
            stored[bytes(known["event_key"])] = known
        spent = select(removed_events.c.event_key).where(removed_events.c.event_key.in_(some))
        removed.update(bytes(key) for key in connection.execute(spent).scalars())
    for position, row in enumerate(rows):
        field = f"events[{position}].event_id"
        if (same := stored.get(row["event_key"])) is not None:
            if not _is_same(connection, same, row):
                yield EventIdConflictError(
                    f"{field}: this id stands for an event with other content; give each event its own id",
                    field=field,
                )
        elif row["event_key"] in removed:
            yield EventRemovedError(
                f"{field}: the event of this id was taken back or deleted with its user; a new event needs "
                "a new id",
                field=field,
            )
        else:
            field = f"events[{position}].timestamp"
            yield UserDeletedError(
                f"{field}: the user was deleted after this; only what happens later is stored", field=field
            )


def _is_same(connection: Connection, stored: Stored, row: Row) -> bool:
    """Whether a row says what is stored; a time that the server read off its own clock says nothing."""
    names = (*_CONTENT, "timestamp") if row["timed"] else _CONTENT
    if any(stored[name] != row[name] for name in names):
        return False
    return bool(stored["user_id"] == row["user_id"]) or row["user_key"] in merged_into(
        connection, key_of(stored["user_id"])
    )
