"""Impressions of users: when each was shown which items lately, kept beside the exposures they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Select, delete, select

from recserve.config import COUNTED_IMPRESSIONS
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import count_impression_change, share_people
from recserve.store.sql.queries.rows import Row
from recserve.store.sql.queries.statements import chunks, insert_new, upsert
from recserve.store.sql.schema import user_impressions

_BATCH = 1_000

Times = dict[str, list[int]]
"""Moments by item id, ascending; items shown last come last."""


def with_shown(times: Times, pages: Iterable[tuple[int, Sequence[str]]], items: int) -> Times:
    """Impressions with those of further pages; the newest of each item, of the items shown last.

    Args:
        times: What is there.
        pages: The moment and the items of each page, in any order.
        items: Items kept at most.
    """
    grown = dict(times)
    touched = set()
    for moment, shown in pages:
        for item_id in shown:
            grown[item_id] = [*grown.get(item_id, ()), moment]
            touched.add(item_id)
    for item_id in touched:
        grown[item_id] = sorted(grown[item_id])[-COUNTED_IMPRESSIONS:]
    last_shown = sorted(grown.items(), key=lambda pair: (pair[1][-1], pair[0]))
    return dict(last_shown[-items:])


def count_impressions(connection: Connection, rows: Sequence[Row]) -> None:
    """Count what new exposures showed.

    Args:
        connection: In the writing transaction of the exposures.
        rows: Of a user each, with the ids of their items as ``shown`` and the items kept as ``counted``.
    """
    by_key: dict[bytes, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[schema.key_of(row["user_id"])].append(row)
    new = [
        _row(key, theirs[0]["user_id"], {}, min(row["since"] for row in theirs), 0)
        for key, theirs in sorted(by_key.items())
    ]
    stored = _locked(connection, new)
    changed = count_impression_change(connection)
    grown = []
    for key, theirs in sorted(by_key.items()):
        before = stored[key]
        pages = ((row["timestamp"], row["shown"]) for row in theirs)
        times = with_shown(orjson.loads(before["items"]), pages, max(row["counted"] for row in theirs))
        since = min(before["since"], *(row["since"] for row in theirs))
        grown.append(_row(key, before["user_id"], times, since, changed))
    upsert(connection, user_impressions, grown)


def merge_impressions(connection: Connection, source: str, target: str) -> None:
    """Make the impressions of one id another's; the next exposure cuts them to what is kept."""
    keys = [schema.key_of(source), schema.key_of(target)]
    query = select(user_impressions).where(user_impressions.c.user_key.in_(keys))
    query = query.order_by(user_impressions.c.user_key).with_for_update()
    stored = {bytes(row["user_key"]): row for row in connection.execute(query).mappings()}
    mine = stored.get(keys[0])
    if mine is None:
        return
    theirs = _locked(connection, [_row(keys[1], target, {}, mine["since"], 0)])[keys[1]]
    times: Times = orjson.loads(theirs["items"])
    pages = [(at, [item_id]) for item_id, moments in orjson.loads(mine["items"]).items() for at in moments]
    both = with_shown(times, pages, len(times) + len(pages))
    since = min(mine["since"], theirs["since"])
    connection.execute(delete(user_impressions).where(user_impressions.c.user_key == keys[0]))
    merged = _row(keys[1], target, both, since, count_impression_change(connection))
    upsert(connection, user_impressions, [merged])


def expire_impressions(database: Database, before: int) -> int:
    """Remove impressions of before a moment, some users a transaction; returns how many."""
    table = user_impressions.c
    old = select(table.user_key).where(table.oldest < before).order_by(table.user_key).limit(_BATCH)
    total, after = 0, b""
    while keys := database.read(partial(_keys, query=old.where(table.user_key > after))):
        total += database.write(partial(_expire, keys=keys, before=before))
        after = keys[-1]
    return total


def _keys(connection: Connection, query: Select[Any]) -> list[bytes]:
    return [bytes(key) for key in connection.execute(query).scalars()]


def _expire(connection: Connection, keys: Sequence[bytes], before: int) -> int:
    share_people(connection)
    query = select(user_impressions).where(user_impressions.c.user_key.in_(keys))
    query = query.order_by(user_impressions.c.user_key).with_for_update()
    changed = count_impression_change(connection)
    left, gone, removed = [], [], 0
    for row in connection.execute(query).mappings():
        times: Times = orjson.loads(row["items"])
        newer = {item_id: [at for at in moments if at >= before] for item_id, moments in times.items()}
        kept = {item_id: moments for item_id, moments in newer.items() if moments}
        removed += sum(map(len, times.values())) - sum(map(len, kept.values()))
        if kept:
            left.append(_row(row["user_key"], row["user_id"], kept, row["since"], changed))
        else:
            gone.append(row["user_key"])
    if left:
        upsert(connection, user_impressions, left)
    for some in chunks(gone):
        connection.execute(delete(user_impressions).where(user_impressions.c.user_key.in_(some)))
    return removed


def _locked(connection: Connection, new: Sequence[Row]) -> dict[bytes, Any]:
    """Stored rows by digest, locked until the transaction ends; ``new`` ones where there were none."""
    insert_new(connection, user_impressions, new)
    found = {}
    for some in chunks([row["user_key"] for row in new]):
        query = select(user_impressions).where(user_impressions.c.user_key.in_(some))
        query = query.order_by(user_impressions.c.user_key).with_for_update()
        found.update({bytes(row["user_key"]): row for row in connection.execute(query).mappings()})
    return found


def _row(key: bytes, user_id: str, times: Times, since: int, changed: int) -> Row:
    return {
        "user_key": key,
        "user_id": user_id,
        "items": orjson.dumps(times).decode(),
        "oldest": min((moments[0] for moments in times.values()), default=0),
        "changed": changed,
        "since": since,
    }
