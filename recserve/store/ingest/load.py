"""From canonical tables into a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from recserve.data.dataset import Tables
from recserve.data.entities import Event, Item, User
from recserve.data.events.coverage import UnknownItems, unknown_items
from recserve.errors import EventIdConflictError, EventRemovedError, UserDeletedError
from recserve.store import Store
from recserve.store.ingest.events import EVENT_SCHEMA, with_event_ids
from recserve.store.ingest.items import ITEM_SCHEMA

_BATCH = 10_000
_EVENT_FIELDS = ("user_id", "item_id", "event", "timestamp", "value", "event_id", "text", "context")

_REASONS = {
    EventIdConflictError.code: "their event_id stands for an event with other content",
    EventRemovedError.code: "they were taken back or deleted with their user",
    UserDeletedError.code: "their user was deleted later",
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    Attributes:
        items: Distinct items written (new or replaced).
        events: Events read.
        new_events: Events that were not stored before.
        refused: How many events were left out, by the code of a :class:`recserve.errors.ConflictError`.
    """

    items: int
    events: int
    new_events: int
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def known_events(self) -> int:
        """Events that were stored already, or that the import brought twice."""
        return self.events - self.new_events - sum(self.refused.values())

    @property
    def left_out(self) -> dict[str, int]:
        """How many events the store refused, by the reason in words."""
        return {f"left out: {_REASONS[code]}": count for code, count in self.refused.items()}

    def __str__(self) -> str:
        details = [f"{self.known_events:,} were there already"] if self.known_events else []
        details += [f"{count:,} {reason}" for reason, count in self.left_out.items()]
        shown = f" ({'; '.join(details)})" if details else ""
        return f"{self.items:,} items and {self.new_events:,} events imported{shown}"


def empty_tables() -> Tables:
    """A data set of nothing, with all canonical columns."""
    return Tables(items=ITEM_SCHEMA.empty_table(), events=EVENT_SCHEMA.empty_table())


def stored_items(store: Store, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the store has an item of."""
    found: set[str] = set()
    for start in range(0, len(ids), _BATCH):
        found.update(store.items(ids[start : start + _BATCH]))
    return found


def not_in_catalogue(store: Store, tables: Tables) -> UnknownItems:
    """Items of the events that neither these tables nor the store describe."""
    described = set(tables.items["item_id"].to_pylist())

    def known(ids: list[str]) -> set[str]:
        return described | stored_items(store, [item_id for item_id in ids if item_id not in described])

    return unknown_items(tables.events, known)


def with_bare_items(tables: Tables, item_ids: Sequence[str]) -> Tables:
    """The same data with further items of which nothing but the id is known."""
    bare = pa.table([pa.array(item_ids, pa.string()), ["{}"] * len(item_ids)], schema=ITEM_SCHEMA)
    return Tables(items=pa.concat_tables([tables.items, bare]), events=tables.events)


def import_tables(
    store: Store,
    tables: Tables,
    progress: Progress = lambda done, total: None,
) -> ImportSummary:
    """Write a data set into a store: items first, so that no event refers to an unknown one.

    Events without an id get one that depends on their content only: importing the same data twice
    stores it once. An interrupted import leaves whole batches and can simply be run again.

    Args:
        store: Where to.
        tables: Canonical tables.
        progress: Called with the rows done and the rows there are, of both tables together.

    Raises:
        StoreError: The database failed; what came before is stored.
        InvalidRequestError: An id or attribute that cannot be stored.
    """
    total = len(tables.items) + len(tables.events)
    items = 0
    for rows, done in _rows(tables.items, ("item_id", "attributes")):
        items += store.upsert_items([Item(item_id, json.loads(text)) for item_id, text in rows])
        progress(done, total)
    new = 0
    refused: Counter[str] = Counter()
    for rows, done in _rows(with_event_ids(tables.events), _EVENT_FIELDS):
        added = store.import_events([_event(fields) for fields in rows])
        new += added.stored
        refused.update(refusal.code for refusal in added.refused)
        progress(len(tables.items) + done, total)
    return ImportSummary(items, len(tables.events), new, refused)


def import_users(store: Store, users: pa.Table) -> int:
    """Write users into a store, replacing the attributes of those that are there; returns how many."""
    return sum(
        store.upsert_users([User(user_id, json.loads(text)) for user_id, text in rows])
        for rows, _ in _rows(users, ("user_id", "attributes"))
    )


def _event(fields: Sequence[Any]) -> Event:
    """An event of :data:`_EVENT_FIELDS`."""
    return Event(**dict(zip(_EVENT_FIELDS, fields, strict=True)))


def _rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[list[tuple[Any, ...]], int]]:
    """Batches of rows, and the number of rows up to and including each batch."""
    done = 0
    for batch in table.select(names).to_batches(max_chunksize=_BATCH):
        done += len(batch)
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True)), done
