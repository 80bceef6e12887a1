"""Browsing in an SQL store."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select

from recserve.data.entities import now_ms
from recserve.store.browsing.protocol import ActiveUser, ItemPage
from recserve.store.browsing.search import ItemSearch
from recserve.store.sql import schema
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.rows import check_id, item_of
from recserve.store.sql.schema import events, items

_WINDOW = 20_000
"""Items that one call looks at: the database compares their attributes as text, row by row."""

_CANDIDATES = 2_000
"""Of these, how many are read and compared exactly."""

_ESCAPE = "\\"


class BrowsingPart(Part):
    """:class:`recserve.store.browsing.BrowsingStore` over one database.

    A search needs no index that every write of an item would have to keep: it reads the catalogue window by
    window. Inside the window the database sorts out most items by a comparison that may let too many through,
    never too few but for the case of letters outside ASCII; :meth:`ItemSearch.matches` decides.
    """

    def search_items(self, search: ItemSearch, after: str | None, limit: int) -> ItemPage:
        """See :meth:`BrowsingStore.search_items`."""
        if after is not None:
            check_id(after, "after")
        start = b"" if after is None else schema.key_of(after)
        now = now_ms()
        rough = _rough(search, now, self._database.is_postgres)

        def look(connection: Connection) -> ItemPage:
            window = select(*items.c["item_key", "item_id"]).where(items.c.item_key > start)
            edge = connection.execute(_ordered(window).offset(_WINDOW - 1).limit(1)).one_or_none()
            inside = items.c.item_key > start
            if edge is not None:
                inside &= items.c.item_key <= edge.item_key
            columns = items.c["item_id", "attributes", "hidden", "expires"]
            query = _ordered(select(*columns).where(inside, ~items.c.deleted, *rough)).limit(_CANDIDATES)
            rows = connection.execute(query).mappings().all()
            found, last = [], None if edge is None else str(edge.item_id)
            if len(rows) == _CANDIDATES:
                last = rows[-1]["item_id"]
            for row in rows:
                item = item_of(row)
                if search.matches(item, now):
                    found.append(item)
                    if len(found) == limit:
                        last = item.item_id
                        break
            examined = select(func.count()).select_from(items).where(inside)
            if last is not None:
                examined = examined.where(items.c.item_key <= schema.key_of(last))
            return ItemPage(found, last, int(connection.execute(examined).scalar_one()))

        return self._database.read(look)

    def users_with_events(self, after: str | None, limit: int) -> list[ActiveUser]:
        """See :meth:`BrowsingStore.users_with_events`.

        Users whose hashes are the same, which nobody has seen yet, count as one.
        """
        if after is not None:
            check_id(after, "after")
        rows = self._database.read(
            lambda connection: connection.execute(
                _users_query(None if after is None else schema.hash_of(after), limit)
            ).all()
        )
        return [ActiveUser(user_id, moment) for user_id, moment in rows]


def _ordered(query: Select[Any]) -> Select[Any]:
    return query.order_by(items.c.item_key)


def _rough(search: ItemSearch, now: int, postgres: bool) -> list[ColumnElement[bool]]:
    """Conditions that hold for all items that match, and for some others."""

    def holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        for special in (_ESCAPE, "%", "_"):
            text = text.replace(special, _ESCAPE + special)
        pattern = f"%{text}%"
        # LIKE of SQLite passes over the case of ASCII letters; ilike would call a function for each row.
        compare = column.ilike if postgres else column.like
        return compare(pattern, escape=_ESCAPE)

    def somewhere(word: str) -> ColumnElement[bool]:
        forms = _forms(word)
        return or_(
            *(holds(items.c.attributes, _in_json(form)) for form in forms),
            *(holds(items.c.item_id, form) for form in forms),
        )

    found = [somewhere(word) for word in search.words]
    for name, value in search.attributes:
        found.append(holds(items.c.attributes, f'"{_in_json(name)}"'))
        found.append(or_(*(holds(items.c.attributes, _in_json(form)) for form in _forms(value))))
    past = and_(items.c.expires.is_not(None), items.c.expires <= now)
    if search.state == "hidden":
        found.append(items.c.hidden)
    elif search.state == "expired":
        found += [~items.c.hidden, past]
    elif search.state == "shown":
        found += [~items.c.hidden, ~past]
    return found


def _forms(word: str) -> list[str]:
    """A word as it may be written; more than one where LIKE tells its cases apart."""
    if word.isascii():
        return [word]
    return list(dict.fromkeys([word, word.lower(), word.upper(), word.capitalize(), word.casefold()]))


def _in_json(text: str) -> str:
    """A text as it stands inside a JSON string, see :func:`recserve.store.sql.queries.rows.dump_json`."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _users_query(after: int | None, limit: int) -> Select[Any]:
    """The next users with events by their hashes, each with the newest event.

    From hash to hash the index (user_hash, timestamp, seq) is looked into once: a loose index scan.
    """

    def next_hash(condition: ColumnElement[bool] | None) -> Select[Any]:
        query = select(events.c.user_hash).order_by(events.c.user_hash).limit(1)
        return query if condition is None else query.where(condition)

    first = next_hash(None if after is None else events.c.user_hash > after).scalar_subquery()
    walk = select(first.label("hash"), literal(1).label("number")).cte("walk", recursive=True)
    further = next_hash(events.c.user_hash > walk.c.hash).correlate(walk).scalar_subquery()
    walk = walk.union_all(
        select(further, walk.c.number + 1).where(walk.c.hash.is_not(None), walk.c.number < limit)
    )
    newest = (
        select(events.c.seq)
        .where(events.c.user_hash == walk.c.hash)
        .order_by(events.c.timestamp.desc(), events.c.seq.desc())
        .limit(1)
        .correlate(walk)
        .scalar_subquery()
    )
    return (
        select(events.c.user_id, events.c.timestamp)
        .select_from(walk.join(events, events.c.seq == newest))
        .order_by(walk.c.number)
    )
