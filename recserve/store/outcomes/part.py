"""Outcomes in an SQL store."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    Text,
    and_,
    cast,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from recserve.data.arrays import Int64Array
from recserve.data.entities import DAY_MS
from recserve.store.outcomes.protocol import EVENT_COLUMNS, EXPOSURE_COLUMNS, DailyTable
from recserve.store.outcomes.reading import read_columns
from recserve.store.sql import schema
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.forgetting import TAKEN_BACK
from recserve.store.sql.queries.numbering import settled_number
from recserve.store.sql.queries.statements import chunks, insert_all, insert_new, upsert
from recserve.store.sql.schema import daily_outcomes, events, exposures, items, merges, meta, users

_SPREAD = 8
"""Rows of the file that are read for one of a span of time, at most."""

_COUNTED = "outcomes_counted"
"""Row of ``meta``: number of the event that the counts are right up to."""

_LEASE = "lease:"
"""Beginning of the rows of ``meta`` that say who does something for all."""

_FACTS = ("bundle", "scenario", "experiment", "arm", "degraded", "shadow")

_EXPOSURES = pa.schema([*list(EXPOSURE_COLUMNS)[: -len(_FACTS)], pa.field("facts", pa.string())])

_PEOPLE = pa.schema({"user_id": pa.string(), "value": pa.string()})


class OutcomePart(Part):
    """:class:`recserve.store.outcomes.OutcomeStore` over one database."""

    def exposure_span(self) -> tuple[int, int] | None:
        """See :meth:`OutcomeStore.exposure_span`."""
        # Two questions, each of which an index answers from one of its ends.
        ends = [self._value(select(most(exposures.c.timestamp))) for most in (func.min, func.max)]
        return None if None in ends else (int(ends[0]), int(ends[1]))

    def outcome_cut(self, first: int, last: int, rows: Mapping[str, int]) -> int:
        """See :meth:`OutcomeStore.outcome_cut`."""
        cut = first
        for table, most in rows.items():
            moment = {"exposures": exposures, "events": events}[table].c.timestamp
            newest = select(moment).where(moment >= first, moment < last).order_by(moment.desc())
            found = self._value(newest.offset(most).limit(1))
            # What is there at the very moment of the cut belongs to the earlier part.
            cut = cut if found is None else max(cut, int(found) + 1)
        return min(cut, last - 1)

    def exposures_between(self, first: int, last: int) -> pa.Table:
        """See :meth:`OutcomeStore.exposures_between`."""
        # Of what has few distinct values one text a row is made: fewer objects to pass on.
        facts = [exposures.c[name] for name in _FACTS]
        together = func.json_build_array if self._database.is_postgres else func.json_array
        query = select(*exposures.c[tuple(_EXPOSURES.names[:-1])], cast(together(*facts), Text))
        found = self._of_span(query, exposures, first, last, _EXPOSURES)
        return pa.table([*found.columns[:-1], *_apart(found["facts"])], schema=EXPOSURE_COLUMNS)

    def outcome_events(
        self, first: int, last: int, types: Collection[str], *, numbered: bool = True
    ) -> pa.Table:
        """See :meth:`OutcomeStore.outcome_events`."""
        columns = EVENT_COLUMNS if numbered else EVENT_COLUMNS.remove(EVENT_COLUMNS.get_field_index("seq"))
        query = select(*events.c[tuple(columns.names)]).where(
            events.c.event.in_(sorted(types)), events.c.item_id != ""
        )
        found = self._of_span(query, events, first, last, columns)
        if numbered:
            return found
        return pa.table([pa.nulls(len(found), pa.int64()), *found.columns], schema=EVENT_COLUMNS)

    def merged_hashes(self) -> Int64Array:
        """See :meth:`OutcomeStore.merged_hashes`."""
        query = select(merges.c.source_hash)
        found = self._database.read(lambda connection: connection.execute(query).scalars().all())
        return np.array(found, np.int64)

    def user_attribute(self, name: str) -> pa.Table:
        """See :meth:`OutcomeStore.user_attribute`."""
        value = _attribute(name, self._database.is_postgres)
        found = self._columns(select(users.c.user_id, value).where(value.is_not(None)), _PEOPLE)
        hashes = schema.hashes_of(found["user_id"].to_pylist())
        return pa.table({"user_hash": hashes, "value": found["value"]})

    def catalogue_size(self) -> int:
        """See :meth:`OutcomeStore.catalogue_size`."""
        return int(self._value(select(func.count()).where(~items.c.deleted, ~items.c.hidden)))

    def newest_event(self) -> int | None:
        """See :meth:`OutcomeStore.newest_event`."""
        found = self._value(select(func.max(events.c.timestamp)))
        return None if found is None else int(found)

    # -- counts of days -------------------------------------------------------------------------

    def late_days(self, before: int) -> tuple[int, list[int]]:
        """See :meth:`OutcomeStore.late_days`."""
        counted = int(self._value(_counted()) or 0)
        settled = settled_number(self._database, events, counted)
        late = (
            select(events.c.timestamp // DAY_MS)
            .distinct()
            .where(
                events.c.seq > counted,
                events.c.seq <= settled,
                events.c.timestamp >= 0,
                events.c.timestamp < before,
            )
        )
        taken = select(meta.c.name).where(meta.c.name.startswith(TAKEN_BACK, autoescape=True))
        found, noted = self._database.read(
            lambda connection: [connection.execute(query).scalars().all() for query in (late, taken)]
        )
        days = {int(day) for day in found} | {int(name.removeprefix(TAKEN_BACK)) for name in noted}
        return settled, sorted(days)

    def begin_counting(self, event: int, stale: Collection[int]) -> int:
        """See :meth:`OutcomeStore.begin_counting`."""
        counted = int(self._value(_counted()) or 0)
        if event <= counted and not stale:
            return counted  # nothing is committed, which others would look into

        def work(connection: Connection) -> int:
            for some in chunks(sorted(stale)):
                gone = delete(daily_outcomes).where(daily_outcomes.c.day.in_(some), ~daily_outcomes.c.final)
                connection.execute(gone)
                # Whoever takes back another event of these days meanwhile is waited for.
                notes = [TAKEN_BACK + str(day) for day in some]
                connection.execute(delete(meta).where(meta.c.name.in_(notes)))
            reached = max(event, int(connection.execute(_counted()).scalar() or 0))
            upsert(connection, meta, [{"name": _COUNTED, "value": str(reached)}])
            return reached

        return self._writer.run(work)

    def put_daily(self, day: int, settings: str, tables: Mapping[str, bytes], event: int) -> bool:
        """See :meth:`OutcomeStore.put_daily`."""
        rows = [
            {"day": day, "name": name, "settings": settings, "final": False, "content": content}
            for name, content in tables.items()
        ]

        def work(connection: Connection) -> bool:
            if int(connection.execute(_counted().with_for_update()).scalar() or 0) != event:
                return False
            connection.execute(delete(daily_outcomes).where(daily_outcomes.c.day == day))
            insert_all(connection, daily_outcomes, rows)
            return True

        return self._writer.run(work)

    def daily_days(self) -> dict[int, tuple[str, bool]]:
        """See :meth:`OutcomeStore.daily_days`."""
        query = select(*daily_outcomes.c["day", "settings", "final"]).distinct()
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return {day: (settings, final) for day, settings, final in rows}

    def daily_tables(self, first: int, last: int, names: Collection[str]) -> list[DailyTable]:
        """See :meth:`OutcomeStore.daily_tables`."""
        wanted = and_(daily_outcomes.c.day.between(first, last), daily_outcomes.c.name.in_(sorted(names)))
        query = select(*daily_outcomes.c["day", "name", "settings", "final", "content"]).where(wanted)
        rows = self._database.read(
            lambda connection: connection.execute(query.order_by(daily_outcomes.c.day)).all()
        )
        return [
            DailyTable(day, name, settings, final, bytes(content))
            for day, name, settings, final, content in rows
        ]

    def finish_daily(self, through: int) -> None:
        """See :meth:`OutcomeStore.finish_daily`."""
        done = update(daily_outcomes).where(daily_outcomes.c.day <= through).values(final=True)
        self._writer.run(lambda connection: connection.execute(done))

    def expire_daily(self, before: int) -> int:
        """See :meth:`OutcomeStore.expire_daily`."""
        old = daily_outcomes.c.day < before
        days = select(func.count(daily_outcomes.c.day.distinct())).where(old)

        def work(connection: Connection) -> int:
            found = int(connection.execute(days).scalar_one())
            connection.execute(delete(daily_outcomes).where(old))
            return found

        return self._writer.run(work)

    def lease(self, name: str, holder: str, until: int, now: int) -> bool:
        """See :meth:`OutcomeStore.lease`."""
        row = f"{_LEASE}{name}"
        taken = select(meta.c.value).where(meta.c.name == row).with_for_update()

        def work(connection: Connection) -> bool:
            insert_new(connection, meta, [{"name": row, "value": json.dumps(["", 0])}])
            owner, end = json.loads(connection.execute(taken).scalar_one())
            if owner != holder and end > now:
                return False
            upsert(connection, meta, [{"name": row, "value": json.dumps([holder, until])}])
            return True

        return self._writer.run(work)

    def _columns(self, query: Select[Any], columns: pa.Schema) -> pa.Table:
        return self._database.read(lambda connection: read_columns(connection, query, columns))

    def _of_span(
        self, query: Select[Any], table: Table, first: int, last: int, columns: pa.Schema
    ) -> pa.Table:
        """The rows of a query over a table with timestamps, of a span of time."""

        def read(connection: Connection) -> pa.Table:
            within = query.where(table.c.timestamp >= first, table.c.timestamp < last)
            if connection.dialect.name == "sqlite":
                within = _in_order(connection, query, table, first, last)
            return read_columns(connection, within, columns)

        return self._database.read(read)

    def _value(self, query: Select[Any]) -> Any:
        return self._database.read(lambda connection: connection.execute(query).scalar())


def _in_order(connection: Connection, query: Select[Any], table: Table, first: int, last: int) -> Select[Any]:
    """A query to SQLite over the rows of a span of time, one after the other as they lie in the file.

    Looking up each row that the index of timestamps has takes ten times as long. Rows are about in the order
    of their timestamps, as they are written when it happens; where they are not, it is the index.
    """
    number: ColumnElement[int] = literal_column(f"{table.name}.rowid", Integer)
    moment = table.c.timestamp
    within = (moment >= first) & (moment < last)
    ends = select(func.min(number), func.max(number), func.count()).select_from(table).where(within)
    low, high, count = connection.execute(ends).one()
    if not count or high - low > _SPREAD * count:
        return query.where(within)
    # A sum is no column that has an index.
    return query.where(number.between(low, high), moment + 0 >= first, moment + 0 < last)


def _apart(facts: pa.ChunkedArray) -> list[pa.Array]:
    """The columns that were put together as JSON."""
    encoded = facts.combine_chunks().dictionary_encode()
    rows = [json.loads(text) for text in encoded.dictionary.to_pylist()]
    *texts, shadow = zip(*rows, strict=True) if rows else [()] * len(_FACTS)
    flags = pa.array([bool(flag) for flag in shadow], pa.bool_()).take(encoded.indices)
    few = [pa.array(values, pa.string()).dictionary_encode().take(encoded.indices) for values in texts]
    return [*few, flags]


def _counted() -> Select[Any]:
    return select(meta.c.value).where(meta.c.name == _COUNTED)


def _attribute(name: str, postgres: bool) -> ColumnElement[str]:
    """An attribute of users, of any type, as text; NULL where there is none."""
    column: ColumnElement[Any] = cast(users.c.attributes, JSONB) if postgres else users.c.attributes
    return cast(column.op("->>")(name), Text)
