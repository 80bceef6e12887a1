"""Histories, profiles and impressions of a batch's users at one moment; histories as far as they changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, literal, select, tuple_

from recserve.data.entities import Event, User
from recserve.store.records import Changes, History, ImpressionTimes, Moment, People, Position
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.counters import CHANGES, pulse_of
from recserve.store.sql.queries.forgetting import own
from recserve.store.sql.queries.history import HISTORY, changes_query, newer_query, overview_query
from recserve.store.sql.queries.rows import check_id
from recserve.store.sql.schema import events

_MOST_EVENTS = 1000
"""New events, and changes of impressions, that are looked through for whose they are.

After more, they may be anyone's.
"""


class PeoplePart(Part):
    """:meth:`recserve.store.protocol.Store.people`, what has changed, and histories, over one database."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database, writer)
        self._overview = overview_query(database.is_postgres)
        self._newer = newer_query(database.is_postgres)
        self._changes = changes_query()

    def version(self) -> int | None:
        """See :meth:`Store.version`."""
        return self._database.version()

    def changes(self, since: Position | None = None) -> Changes | None:
        """See :meth:`Store.changes`."""
        if self._database.is_postgres:
            # Numbers are given out before transactions commit, so a lower one may appear after a higher one.
            return None
        after = Position() if since is None else since
        limit = 0 if since is None else _MOST_EVENTS + 1
        parameters = {"after": after.event, "shown": after.impressions, "limit": limit}
        rows = self._database.read(
            lambda connection: connection.execute(self._changes, parameters).fetchall()
        )
        counters: dict[str, int] = {}
        users: list[str] = []
        newest = 0
        for name, number, user_id in rows:
            if name is not None:
                counters[name] = number
            elif user_id is None:
                newest = number
            else:
                users.append(user_id)
        pulse = pulse_of(counters)
        changes = counters.get(CHANGES, 0) + pulse.deletions
        position = Position(changes, newest, counters.get("impressions", 0))
        known = since is not None and since.people == position.people and len(users) <= _MOST_EVENTS
        return Changes(position, pulse, frozenset(users) if known else None)

    def histories(self, user_ids: Sequence[str], limit: int) -> dict[str, list[Event]]:
        """See :meth:`EventStore.histories`."""
        hashes = _hashes(user_ids)
        if limit < 1:
            return {user_id: [] for user_id in hashes}
        found = self._database.read(lambda connection: self._since(connection, hashes, {}, limit))
        return {user_id: list(history.events) for user_id, history in found.items()}

    def history(self, user_id: str, limit: int, before: Moment | None = None) -> list[tuple[Moment, Event]]:
        """See :meth:`EventStore.history`."""
        check_id(user_id, "user_id")
        place = (events.c.timestamp, events.c.seq)
        query = select(events.c.seq, *events.c[HISTORY]).where(own(events, user_id))
        if before is not None:
            query = query.where(tuple_(*place) < tuple_(*map(literal, before)))
        query = query.order_by(*(column.desc() for column in place)).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        found = [(number, Event(*fields)) for number, *fields in rows]
        return [(Moment(event.timestamp, number), event) for number, event in found]

    def people(
        self, user_ids: Sequence[str], limit: int, known: Mapping[str, History] | None = None
    ) -> People:
        """See :meth:`Store.people`."""
        hashes = _hashes(user_ids)
        parameters = {"limit": limit, **self._asked(hashes)}
        known = known or {}

        def read(connection: Connection) -> People:
            counters: dict[str, int] = {}
            marks: dict[int, str | None] = {}
            users: dict[str, User] = {}
            shown: dict[str, ImpressionTimes] = {}
            for name, number, text in connection.execute(self._overview, parameters):
                if name is None:
                    marks[number] = text
                elif number is None:
                    users[name] = User(name, json.loads(text))
                elif text is not None:
                    shown[name] = orjson.loads(text)
                else:
                    counters[name] = number
            current = {user_id: marks.get(number) for user_id, number in hashes.items()}
            histories = {
                user_id: known[user_id]
                for user_id, mark in current.items()
                if user_id in known and known[user_id].mark == mark
            }
            changed = {user_id: hashes[user_id] for user_id in hashes if user_id not in histories}
            grown = self._since(connection, changed, known, limit)
            # Where new events alone do not explain what is there now, some were deleted or are older than
            # the newest ones known; then all are read again.
            fits = {
                user_id: history for user_id, history in grown.items() if history.mark == current[user_id]
            }
            others = {user_id: number for user_id, number in changed.items() if user_id not in fits}
            histories |= fits | self._since(connection, others, {}, limit)
            return People(pulse_of(counters), histories, users, shown)

        return self._database.read(read)

    def _since(
        self, connection: Connection, hashes: Mapping[str, int], known: Mapping[str, History], limit: int
    ) -> dict[str, History]:
        """Histories that are known, with the events that were stored after them."""
        if not hashes:
            return {}
        newest = {user_id: known[user_id].newest if user_id in known else 0 for user_id in hashes}
        after: dict[int, int] = {}  # users whose hashes are the same are read together
        for user_id, hashed in hashes.items():
            after[hashed] = min(newest[user_id], after.get(hashed, newest[user_id]))
        parameters: dict[str, Any] = {"limit": limit}
        if self._database.is_postgres:
            parameters |= {"hashes": list(after), "after": list(after.values())}
        else:
            parameters |= {"pairs": json.dumps(list(after.items()))}
        found: dict[str, list[tuple[int, Event]]] = {user_id: [] for user_id in hashes}
        for number, *fields in connection.execute(self._newer, parameters):
            user_id = fields[0]
            if user_id in found and number > newest[user_id]:
                found[user_id].append((number, Event(*fields)))
        return {
            user_id: known[user_id].grown(new, limit) if user_id in known else History.of(new)
            for user_id, new in found.items()
        }

    def _asked(self, hashes: Mapping[str, int]) -> dict[str, Any]:
        numbers, keys = list(hashes.values()), [schema.key_of(user_id) for user_id in hashes]
        if self._database.is_postgres:
            return {"hashes": numbers, "keys": keys}
        return {"hashes": json.dumps(numbers), "keys": b"".join(keys)}


def _hashes(user_ids: Sequence[str]) -> dict[str, int]:
    for user_id in user_ids:
        check_id(user_id, "user_id")
    return {user_id: schema.hash_of(user_id) for user_id in user_ids}
