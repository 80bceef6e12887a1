"""Items: the catalogue's rows, their changes and vectors.

Every change takes the counter of the catalogue first: writers of the catalogue follow one another, so
what one reads before it writes cannot be stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select

from recserve.data.entities import Item, now_ms
from recserve.store.records import KEEP, ItemPatch, ItemState, ItemVectors, SpaceVector
from recserve.store.sql import schema
from recserve.store.sql.parts.base import Part, by_key
from recserve.store.sql.parts.items import spaces
from recserve.store.sql.queries.counters import hold, raise_counter
from recserve.store.sql.queries.rows import (
    Row,
    check_id,
    item_of,
    item_row,
    item_state_of,
    vector_bytes,
)
from recserve.store.sql.queries.statements import chunks, upsert
from recserve.store.sql.schema import items

_SAID = ("attributes", "hidden", "expires", "deleted")
"""Columns that say something about an item; the others are the store's own."""

_GONE: Row = {
    "attributes": "{}",
    "hidden": False,
    "expires": None,
    "deleted": True,
    "vector": None,
    "fingerprint": "",
}


class ItemPart(Part):
    """:class:`recserve.store.protocol.ItemStore` over one database, but for trials."""

    def upsert_items(
        self,
        items: Iterable[Item],
        vectors: ItemVectors | None = None,
        computed: Mapping[str, ItemVectors] | None = None,
    ) -> int:
        """See :meth:`ItemStore.upsert_items`."""
        items = list(items)
        rows = {item.item_id: item_row(item) for item in items}
        named = [*spaces.computed_rows(computed or {}, rows), *spaces.space_rows(items)]
        if vectors is not None:
            for item_id, vector in vectors.by_id.items():
                if item_id in rows:
                    rows[item_id]["vector"] = vector_bytes(vector, f"item {item_id[:80]!r}")
                    rows[item_id]["fingerprint"] = vectors.fingerprint
        ordered = by_key(rows, "item_key")

        def replace(stored: dict[bytes, Row]) -> list[Row]:
            merged = ((stored.get(row["item_key"]), row) for row in ordered)
            return [_replaced(old, new) for old, new in merged if _differs(old, new)]

        if ordered:
            self._change([row["item_key"] for row in ordered], replace, lambda _: named)
        return len(ordered)

    def patch_items(self, patches: Sequence[ItemPatch]) -> list[str]:
        """See :meth:`ItemStore.patch_items`."""
        for change in patches:
            check_id(change.item_id, "item_id")
        keys = [schema.key_of(change.item_id) for change in patches]
        named = spaces.space_rows(patches)

        def patch(stored: dict[bytes, Row]) -> list[Row]:
            missing.clear()  # the work may run again
            before = dict(stored)
            for key, change in zip(keys, patches, strict=True):
                if key not in stored or stored[key]["deleted"]:
                    missing.append(change.item_id)
                else:
                    stored[key] = _patched(stored[key], change)
            return [row for key, row in stored.items() if row != before[key]]

        missing: list[str] = []
        if patches:
            self._change(
                sorted(set(keys)),
                patch,
                lambda stored: [row for row in named if not stored.get(row["item_key"], _GONE)["deleted"]],
            )
        return missing

    def delete_items(self, item_ids: Sequence[str]) -> int:
        """See :meth:`ItemStore.delete_items`."""
        for item_id in item_ids:
            check_id(item_id, "item_id")
        keys = sorted({schema.key_of(item_id) for item_id in item_ids})

        def delete(stored: dict[bytes, Row]) -> list[Row]:
            return [{**row, **_GONE} for row in stored.values() if not row["deleted"]]

        return self._change(keys, delete, gone=True) if keys else 0

    def set_vectors(self, vectors: ItemVectors, changed: Mapping[str, int]) -> int:
        """See :meth:`ItemStore.set_vectors`."""
        new: dict[bytes, tuple[int, bytes]] = {}
        for item_id, vector in vectors.by_id.items():
            check_id(item_id, "item_id")
            if item_id in changed:
                new[schema.key_of(item_id)] = changed[item_id], vector_bytes(vector, f"item {item_id[:80]!r}")

        def fill_in(stored: dict[bytes, Row]) -> list[Row]:
            return [
                {**row, "vector": new[key][1], "fingerprint": vectors.fingerprint}
                for key, row in stored.items()
                if row["changed"] == new[key][0] and not row["deleted"]
            ]

        return self._change(sorted(new), fill_in) if new else 0

    def _change(
        self,
        keys: Sequence[bytes],
        change: Callable[[dict[bytes, Row]], list[Row]],
        named: Callable[[dict[bytes, Row]], list[Row]] = lambda stored: [],
        *,
        gone: bool = False,
    ) -> int:
        """Change items in one transaction, under one new version.

        Args:
            keys: Digests of the items.
            change: From the stored rows of these items by digest to the rows that are different now.
            named: From the stored rows to the rows of vectors in named spaces that are written with them.
            gone: Take such vectors of the changed items away.

        Returns:
            How many items were different.
        """

        def work(connection: Connection) -> int:
            version = hold(connection, "catalogue") + 1
            stored = _stored(connection, keys)
            vectors = named(dict(stored))
            rows = change(stored)
            vectors = spaces.changed_rows(connection, vectors) if vectors else []
            if not rows and not vectors:
                return 0
            raise_counter(connection, "catalogue")
            updated = now_ms()
            if rows:
                upsert(
                    connection,
                    schema.items,
                    [{"created": version, **row, "changed": version, "updated": updated} for row in rows],
                )
            if vectors:
                spaces.write_rows(connection, vectors, version)
            if gone:
                spaces.take_away(connection, [row["item_key"] for row in rows], version)
            return len(rows)

        return self._writer.run(work, len(keys))

    # -- reading --------------------------------------------------------------------------------

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """See :meth:`ItemStore.items`."""
        for item_id in item_ids:
            check_id(item_id, "item_id")
        keys = [schema.key_of(item_id) for item_id in dict.fromkeys(item_ids)]

        def look_up(connection: Connection) -> dict[str, Item]:
            found = {}
            for some in chunks(keys):
                query = _plain().where(items.c.item_key.in_(some))
                for row in connection.execute(query).mappings():
                    found[row["item_id"]] = item_of(row)
            return found

        return self._database.read(look_up) if keys else {}

    def list_items(self, after: str | None, limit: int) -> list[Item]:
        """See :meth:`ItemStore.list_items`."""
        query = _plain().order_by(items.c.item_key).limit(limit)
        if after is not None:
            check_id(after, "after")
            query = query.where(items.c.item_key > schema.key_of(after))
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [item_of(row) for row in rows]

    def item_changes(self, since: int, *, barred: bool = False) -> list[ItemState]:
        """See :meth:`ItemStore.item_changes`."""
        wanted = items.c.changed > since
        if barred:
            wanted = or_(wanted, items.c.hidden, items.c.deleted, items.c.expires.is_not(None))
        found = self._states(select(items).where(wanted))
        # Sorted here: by code point on every engine, whatever its collation.
        return sorted(found, key=lambda state: (state.changed, state.item.item_id))

    def space_changes(self, since: int) -> list[SpaceVector]:
        """See :meth:`ItemStore.space_changes`."""
        return self._database.read(lambda connection: spaces.read_changes(connection, since))

    def unencoded_items(self, fingerprint: str, since: int, limit: int) -> list[ItemState]:
        """See :meth:`ItemStore.unencoded_items`."""
        bare = or_(items.c.vector.is_(None), items.c.fingerprint != fingerprint)
        wanted = and_(items.c.changed > since, ~items.c.deleted, bare)
        order = (items.c.changed, items.c.item_key)
        return self._states(select(items).where(wanted).order_by(*order).limit(limit))

    def _states(self, query: Select[Any]) -> list[ItemState]:
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [item_state_of(row) for row in rows]


def _plain() -> Select[Any]:
    columns = items.c["item_id", "attributes", "hidden", "expires"]
    return select(*columns).where(~items.c.deleted)


def _stored(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, Row]:
    found = {}
    for some in chunks(keys):
        query = select(items).where(items.c.item_key.in_(some))
        for row in connection.execute(query).mappings():
            found[bytes(row["item_key"])] = dict(row)
    return {key: found[key] for key in keys if key in found}


def _differs(old: Row | None, new: Row) -> bool:
    """Whether storing ``new`` changes anything; without a vector it asks for none."""
    names = (*_SAID, "vector", "fingerprint") if "vector" in new else _SAID
    return old is None or any(old[name] != new[name] for name in names)


def _replaced(old: Row | None, new: Row) -> Row:
    bare: Row = {"vector": None, "fingerprint": ""}
    if old is None:
        return {**bare, **new}
    kept = old if old["attributes"] == new["attributes"] and not old["deleted"] else bare
    return {
        "created": old["created"],
        "vector": kept["vector"],
        "fingerprint": kept["fingerprint"],
        **new,
    }


def _patched(row: Row, patch: ItemPatch) -> Row:
    item = item_of(row)
    attributes = dict(item.attributes)
    for name, value in patch.attributes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    new = item_row(
        Item(
            item.item_id,
            attributes,
            item.hidden if patch.hidden is None else patch.hidden,
            item.expires_at if patch.expires_at is KEEP else patch.expires_at,
        )
    )
    # Compared as text: 1, 1.0 and true are equal to Python, but not the same.
    return {**row, **_replaced(row, new)} if _differs(row, new) else row
