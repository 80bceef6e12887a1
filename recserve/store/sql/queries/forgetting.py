"""Deleting a person, and telling what is older than the deletion.

Nothing here goes by the clocks of hosts: a deletion has a number, rows know how many deletions there had
been when they were begun (``since``), and events are numbered in the order in which they were stored.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, or_, select, text, union

from recserve.data.entities import DAY_MS, now_ms
from recserve.store.records import Deletion, DeletionReceipt, Withdrawn
from recserve.store.sql import schema
from recserve.store.sql.queries.counters import raise_counter
from recserve.store.sql.queries.numbering import last_number
from recserve.store.sql.queries.rows import Row, Stored
from recserve.store.sql.queries.statements import chunks, insert_new, upsert
from recserve.store.sql.schema import (
    deletions,
    events,
    exposures,
    merges,
    meta,
    removed_events,
    user_impressions,
    users,
)

_STORE_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")


def own(table: Table, user_id: str) -> ColumnElement[bool]:
    """The condition for rows of one user."""
    return (table.c.user_hash == schema.hash_of(user_id)) & (table.c.user_id == user_id)


_SAMPLED_TEXTS = 100
_SAMPLE_BYTES = 32


def forget(connection: Connection, user_id: str, receipt_id: str) -> tuple[Deletion, list[bytes]]:
    """Delete a person, and whatever is left under ids that were merged into the person.

    Returns:
        The deletion, and bytes that only the deleted rows held.
    """
    keys = {schema.key_of(user_id): schema.hash_of(user_id)}
    keys.update(merged_into(connection, next(iter(keys))))
    ids = {key: _ids(connection, key, hashed) for key, hashed in keys.items()}
    named = sorted({user_id}.union(*ids.values()))
    patterns = [pattern for spelling in named for pattern in _bytes_of_rows(connection, spelling)]
    shown = (
        connection.execute(delete(exposures).where(own(exposures, spelling))).rowcount for spelling in named
    )
    row = {
        # Not that of the newest row: rows that were exported may have expired since.
        "last_event": last_number(connection, events),
        "deleted_at": _store_now(connection),
        "events": sum(remove_events(connection, own(events, spelling)) for spelling in named),
        "exposures": sum(shown),
        "profiles": connection.execute(delete(users).where(users.c.user_key.in_(keys))).rowcount,
        "impressions": _remove_impressions(connection, keys),
    }
    connection.execute(
        delete(merges).where(or_(merges.c.source_key.in_(keys), merges.c.target_key.in_(keys)))
    )
    nothing = {"events": 0, "exposures": 0, "profiles": 0, "impressions": 0}
    made: list[Row] = []
    for key, hashed in keys.items():
        made.append(
            {
                **row,
                **(nothing if made else {}),
                "number": raise_counter(connection, "deletions"),
                "receipt_id": secrets.token_hex(16) if made else receipt_id,
                "user_key": key,
                "user_hash": hashed,
                "part_of": made[0]["number"] if made else None,
            }
        )
    connection.execute(insert(deletions), made)
    return deletion_of(made[0]), patterns


TAKEN_BACK = "outcomes_taken_back:"
"""Beginning of the rows of ``meta`` that name days of which events were taken back."""


def take_back_events(connection: Connection, which: ColumnElement[bool]) -> int:
    """Remove events as if they had never been, also from the counts of days; returns how many there were."""
    moments = connection.execute(select(events.c.timestamp).where(which)).scalars().all()
    names = sorted({f"{TAKEN_BACK}{moment // DAY_MS}" for moment in moments})
    if names:
        upsert(connection, meta, [{"name": name, "value": ""} for name in names])
    return remove_events(connection, which)


def remove_events(connection: Connection, which: ColumnElement[bool]) -> int:
    """Delete events and keep their ids from being used again; returns how many there were."""
    gone = connection.execute(delete(events).where(which).returning(events.c.event_key)).scalars().all()
    if gone:
        insert_new(connection, removed_events, [{"event_key": key} for key in gone])
    return len(gone)


def last_deletions(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, Row]:
    """The last deletion of each of these ids, by digest; those never deleted are left out."""
    found: dict[bytes, Row] = {}
    for some in chunks(keys):
        query = select(deletions).where(deletions.c.user_key.in_(some)).order_by(deletions.c.number)
        for row in connection.execute(query).mappings():
            found[bytes(row["user_key"])] = dict(row)
    return found


def find_deletion(connection: Connection, receipt_id: str) -> Deletion | None:
    """The deletion of a receipt."""
    query = select(deletions).where(deletions.c.receipt_id == receipt_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else deletion_of(row)


def count_traces(connection: Connection, number: int) -> dict[str, int]:
    """Rows of each table that still name the person of a deletion, or a merged id, and are older."""
    found = {"events": 0, "exposures": 0, "user_impressions": 0, "users": 0, "merges": 0}
    parts = select(deletions).where(or_(deletions.c.number == number, deletions.c.part_of == number))
    for row in connection.execute(parts).mappings().all():
        hashed, key = row["user_hash"], row["user_key"]
        queries = {
            "events": select(events.c.user_id).where(
                events.c.user_hash == hashed, events.c.seq <= row["last_event"]
            ),
            "exposures": select(exposures.c.user_id).where(
                exposures.c.user_hash == hashed, exposures.c.since < row["number"]
            ),
            **{
                table.name: select(table.c.user_id).where(
                    table.c.user_key == key, table.c.since < row["number"]
                )
                for table in (user_impressions, users)
            },
        }
        for name, query in queries.items():
            # Hashes may collide, digests do not.
            ids = connection.execute(query).scalars()
            found[name] += sum(schema.key_of(user_id) == key for user_id in ids)
        old = or_(merges.c.source_key == key, merges.c.target_key == key) & (merges.c.since < row["number"])
        found["merges"] += connection.execute(select(func.count()).where(old)).scalar_one()
    return found


def read_withdrawn(connection: Connection, known_removals: int) -> Withdrawn:
    """What of the events no longer counts; their ids only if there are not as many as are known."""
    rows = connection.execute(
        select(deletions.c.number, deletions.c.user_key, deletions.c.last_event).order_by(deletions.c.number)
    ).all()
    removals = connection.execute(select(func.count()).select_from(removed_events)).scalar_one()
    removed: Sequence[bytes] = ()
    if removals != known_removals:
        removed = connection.execute(select(removed_events.c.event_key)).scalars().all()
    return Withdrawn(
        deletions=rows[-1].number if rows else 0,
        people={bytes(row.user_key): (row.number, row.last_event) for row in rows},
        removals=removals,
        removed=frozenset(map(bytes, removed)),
    )


def merged_into(connection: Connection, key: bytes) -> dict[bytes, int]:
    """Digests and hashes of all ids that were merged into a person, or into such an id."""
    found: dict[bytes, int] = {}
    targets: Iterable[bytes] = [key]
    while targets:
        query = select(merges.c.source_key, merges.c.source_hash).where(merges.c.target_key.in_(targets))
        sources = {bytes(source): hashed for source, hashed in connection.execute(query)}
        targets = [source for source in sources if source not in found and source != key]
        found.update((source, sources[source]) for source in targets)
    return found


def deletion_of(row: Stored) -> Deletion:
    """The deletion of a row."""
    receipt = DeletionReceipt(
        receipt_id=row["receipt_id"],
        deleted_at=row["deleted_at"],
        events=row["events"],
        exposures=row["exposures"],
        profiles=row["profiles"],
        impressions=row["impressions"],
    )
    return Deletion(row["number"], bytes(row["user_key"]), receipt, row["part_of"], row["last_event"])


def _remove_impressions(connection: Connection, keys: Iterable[bytes]) -> int:
    """Delete the impressions of people, given by digests of their ids; returns the number of items."""
    gone = delete(user_impressions).where(user_impressions.c.user_key.in_(keys))
    texts = connection.execute(gone.returning(user_impressions.c["items"])).scalars().all()
    return sum(len(json.loads(text)) for text in texts)


def _ids(connection: Connection, key: bytes, hashed: int) -> set[str]:
    """The id of a digest, as far as there are rows of it."""
    query: Any = union(
        select(events.c.user_id).where(events.c.user_hash == hashed),
        select(exposures.c.user_id).where(exposures.c.user_hash == hashed),
        select(users.c.user_id).where(users.c.user_key == key),
        select(user_impressions.c.user_id).where(user_impressions.c.user_key == key),
    )
    return {user_id for user_id in connection.execute(query).scalars() if schema.key_of(user_id) == key}


def _bytes_of_rows(connection: Connection, user_id: str) -> list[bytes]:
    """How the rows of a person look in an SQLite file, as far as nobody else's look so.

    That is the columns before the id and then the id, and the beginnings of texts and of their vectors: of a
    row that was moved, only a part may be left.
    """
    text_of_id = user_id.encode()[:200]  # a longer one goes on elsewhere
    # Four bytes of the hash: a small number may be stored in fewer than eight.
    low = schema.hash_of(user_id).to_bytes(8, "big", signed=True)[4:]
    patterns = [low + text_of_id, schema.key_of(user_id) + text_of_id]
    written = select(events.c.text, events.c.vector).where(own(events, user_id), events.c.text.is_not(None))
    newest = written.order_by(events.c.seq.desc()).limit(_SAMPLED_TEXTS)
    for line, vector in connection.execute(newest):
        patterns += [part[:_SAMPLE_BYTES] for part in (line.encode(), vector or b"") if len(part) > 8]
    return patterns


def _store_now(connection: Connection) -> int:
    """The present by the one clock that all hosts of a store share, milliseconds since the epoch."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(_STORE_CLOCK).scalar_one())
    return now_ms()
