"""Users: profiles, merging of sessions into users, and deletion."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from recserve.data.entities import User, now_ms
from recserve.store.records import Deletion, DeletionReceipt, UserPatch
from recserve.store.sql import schema
from recserve.store.sql.parts.base import Part, by_key, log
from recserve.store.sql.parts.exposures.impressions import merge_impressions
from recserve.store.sql.queries.counters import (
    count_change,
    exclude_people,
    read_pulse,
    share_people,
)
from recserve.store.sql.queries.forgetting import (
    count_traces,
    deletion_of,
    find_deletion,
    forget,
    last_deletions,
    own,
    remove_events,
)
from recserve.store.sql.queries.rows import Row, check_id, dump_json, user_of, user_row
from recserve.store.sql.queries.statements import chunks, insert_new, upsert
from recserve.store.sql.schema import deletions, events, exposures, merges, user_impressions, users


class UserPart(Part):
    """:class:`recserve.store.protocol.UserStore` over one database."""

    def upsert_users(self, users: Iterable[User]) -> int:
        """See :meth:`UserStore.upsert_users`."""
        rows = by_key({user.user_id: user_row(user) for user in users}, "user_key")

        def work(connection: Connection) -> None:
            share_people(connection)
            count_change(connection)
            stored = _stored(connection, [row["user_key"] for row in rows])
            now = read_pulse(connection).deletions
            upsert(
                connection,
                schema.users,
                [{**row, "since": stored.get(row["user_key"], {}).get("since", now)} for row in rows],
            )

        if rows:
            self._writer.run(work, len(rows))
        return len(rows)

    def patch_users(self, patches: Sequence[UserPatch]) -> list[str]:
        """See :meth:`UserStore.patch_users`."""
        for patch in patches:
            check_id(patch.user_id, "user_id")
        keys = [schema.key_of(patch.user_id) for patch in patches]

        def work(connection: Connection) -> list[str]:
            share_people(connection)
            stored = _stored(connection, sorted(set(keys)))
            missing, changed = [], {}
            for key, patch in zip(keys, patches, strict=True):
                if key in stored:
                    row = stored[key]
                    stored[key] = changed[key] = _with_attributes(row, _patched(row, patch.attributes))
                else:
                    missing.append(patch.user_id)
            if changed:
                count_change(connection)
                upsert(connection, schema.users, list(changed.values()))
            return missing

        return self._writer.run(work, len(patches)) if patches else []

    def users(self, user_ids: Sequence[str]) -> dict[str, User]:
        """See :meth:`UserStore.users`."""
        for user_id in user_ids:
            check_id(user_id, "user_id")
        keys = [schema.key_of(user_id) for user_id in dict.fromkeys(user_ids)]

        def look_up(connection: Connection) -> dict[str, User]:
            found = {}
            for some in chunks(keys):
                for row in connection.execute(_plain().where(users.c.user_key.in_(some))).mappings():
                    found[row["user_id"]] = user_of(row)
            return found

        return self._database.read(look_up) if keys else {}

    def list_users(self, after: str | None, limit: int) -> list[User]:
        """See :meth:`UserStore.list_users`."""
        query = _plain().order_by(users.c.user_key).limit(limit)
        if after is not None:
            check_id(after, "after")
            query = query.where(users.c.user_key > schema.key_of(after))
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [user_of(row) for row in rows]

    def merge_user(self, source: str, target: str) -> int:
        """See :meth:`UserStore.merge_user`."""
        check_id(source, "source")
        check_id(target, "target")

        def work(connection: Connection) -> int:
            share_people(connection)
            count_change(connection)
            _note_merge(connection, source, target)
            _merge_profile(connection, source, target)
            _drop_forgotten(connection, source, target)
            _merge_exposures(connection, source, target)
            merge_impressions(connection, source, target)
            return _merge_events(connection, source, target)

        return 0 if source == target else self._writer.run(work)

    def merge_targets(self) -> frozenset[bytes]:
        """See :meth:`UserStore.merge_targets`."""
        query = select(merges.c.target_key).distinct()
        rows = self._database.read(lambda connection: connection.execute(query).scalars().all())
        return frozenset(map(bytes, rows))

    # -- forgetting -----------------------------------------------------------------------------

    def delete_user(self, user_id: str) -> DeletionReceipt:
        """See :meth:`UserStore.delete_user`."""
        check_id(user_id, "user_id")
        receipt_id = secrets.token_hex(16)

        def work(connection: Connection) -> tuple[Deletion, list[bytes]]:
            # After this nobody is in the middle of adding something about the person.
            exclude_people(connection)
            known = find_deletion(connection, receipt_id)  # the work may run again after its commit
            return forget(connection, user_id, receipt_id) if known is None else (known, [])

        deletion, patterns = self._writer.run(work)
        self._database.scrub(("events", "exposures", "user_impressions", "users"), patterns)
        return deletion.receipt

    def deletions(self, after: int = 0, limit: int | None = None) -> list[Deletion]:
        """See :meth:`UserStore.deletions`."""
        later = select(deletions).where(deletions.c.number > after)
        query = later.order_by(deletions.c.number).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [deletion_of(row) for row in rows]

    def deletion(self, receipt_id: str) -> Deletion | None:
        """See :meth:`UserStore.deletion`."""
        check_id(receipt_id, "receipt_id")
        return self._database.read(lambda connection: find_deletion(connection, receipt_id))

    def traces(self, deletion: Deletion) -> dict[str, int]:
        """See :meth:`UserStore.traces`."""
        return self._database.read(lambda connection: count_traces(connection, deletion.number))


def _plain() -> Select[Any]:
    return select(*users.c["user_id", "attributes"])


def _stored(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, Row]:
    """Rows of users by digest, locked until the transaction ends."""
    found: dict[bytes, Row] = {}
    for some in chunks(keys):
        query = select(users).where(users.c.user_key.in_(some)).order_by(users.c.user_key)
        for row in connection.execute(query.with_for_update()).mappings():
            found[bytes(row["user_key"])] = dict(row)
    return found


def _patched(row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    attributes = dict(user_of(row).attributes)
    for name, value in changes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    return attributes


def _with_attributes(row: Row, attributes: Mapping[str, Any]) -> Row:
    return {**row, "attributes": dump_json(attributes, "attributes of a user"), "updated": now_ms()}


def _note_merge(connection: Connection, source: str, target: str) -> None:
    """What still arrives under the session's id goes when the person goes."""
    row = {
        "source_key": schema.key_of(source),
        "target_key": schema.key_of(target),
        "source_hash": schema.hash_of(source),
        "since": read_pulse(connection).deletions,
    }
    upsert(connection, merges, [row])


def _merge_profile(connection: Connection, source: str, target: str) -> None:
    source_key, target_key = schema.key_of(source), schema.key_of(target)
    if source_key not in _stored(connection, [source_key]):
        return
    new = {**user_row(User(target)), "since": read_pulse(connection).deletions}
    rows: dict[bytes, Row] = {}
    while target_key not in rows:
        # Between the two another merge may take the target's row away: then it is inserted after all.
        insert_new(connection, users, [new])
        rows = _stored(connection, sorted([source_key, target_key]))
    if source_key in rows:  # else: another merge was faster
        attributes = {**user_of(rows[source_key]).attributes, **user_of(rows[target_key]).attributes}
        upsert(connection, users, [_with_attributes(rows[target_key], attributes)])
        connection.execute(delete(users).where(users.c.user_key == source_key))


def _drop_forgotten(connection: Connection, source: str, target: str) -> None:
    """Delete what was stored before the target was last deleted: it must not come back under its name."""
    key = schema.key_of(target)
    deletion = last_deletions(connection, [key]).get(key)
    if deletion is None:
        return
    shown = own(exposures, source) & (exposures.c.since < deletion["number"])
    done = own(events, source) & (events.c.seq <= deletion["last_event"])
    exposed = connection.execute(delete(exposures).where(shown)).rowcount
    # Nothing tells which of them were before: where some were, all go.
    counted = (user_impressions.c.user_key == schema.key_of(source)) & (
        user_impressions.c.since < deletion["number"]
    )
    connection.execute(delete(user_impressions).where(counted))
    if happened := remove_events(connection, done):
        log.info("merging deleted %d events of before a deletion", happened)
    if exposed:
        log.info("merging deleted %d exposures of before a deletion", exposed)


def _merge_exposures(connection: Connection, source: str, target: str) -> None:
    moved = update(exposures).where(own(exposures, source))
    connection.execute(moved.values(user_hash=schema.hash_of(target), user_id=target))


def _merge_events(connection: Connection, source: str, target: str) -> int:
    # They are stored anew, under new numbers: who follows the events learns of the change, and they
    # count as newer than an earlier deletion of the target.
    mine = select(events).where(own(events, source)).order_by(events.c.seq)
    rows = [dict(row) for row in connection.execute(mine).mappings()]
    if rows:
        connection.execute(delete(events).where(own(events, source)))
        for row in rows:
            del row["seq"]
            row.update(user_id=target, user_hash=schema.hash_of(target))
        insert_new(connection, events, rows)
    return len(rows)
