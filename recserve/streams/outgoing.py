"""Changes of the store as streams pass them on, in the order of the store's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recserve.config import SinkKind
from recserve.data.events.context import context_of
from recserve.store import Deletion, ExposedItem, Exposure, Store
from recserve.store.streams import StreamKind, StreamPosition

_OF: dict[SinkKind, tuple[StreamKind, ...]] = {
    "exposures": ("exposures",),
    "events": ("events",),
    "deletions": ("items", "users"),
}
_EVENT_FIELDS = (
    "user_id",
    "item_id",
    "event",
    "timestamp",
    "value",
    "text",
    "context",
    "event_id",
    "recommendation_id",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as it is sent.

    Attributes:
        kind: What a sink sends it as.
        type: ``exposure``, ``event``, ``item_deleted`` or ``user_deleted``.
        id: The same whenever it is sent: consumers recognise repeats by it.
        number: The store's number of its kind; later changes have higher ones.
        key: Changes of equal keys are to stay in their order.
        data: JSON-like content.
    """

    kind: SinkKind
    type: str
    id: str
    number: int
    key: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some changes of one kind that follow one another.

    Attributes:
        kind: What was followed.
        changes: In the order of their numbers.
        reached: Number to go on from.
    """

    kind: StreamKind
    changes: Sequence[Change]
    reached: int


class Follower:
    """Reader of a store's changes.

    Deletions come last in each round: what was read of a person before is sent before the person's deletion.

    Args:
        store: The store.
        kinds: What is read.
        limit: Changes of a page at most; items that were deleted together may be more.
    """

    def __init__(self, store: Store, kinds: frozenset[SinkKind], limit: int) -> None:
        self._store = store
        self._limit = limit
        read: dict[StreamKind, Callable[[int], Page]] = {
            "exposures": self._exposures,
            "events": self._events,
            "items": self._items,
            "users": self._users,
        }
        wanted = {followed for kind in kinds for followed in _OF[kind]}
        self._read = {kind: reader for kind, reader in read.items() if kind in wanted}

    @property
    def kinds(self) -> tuple[StreamKind, ...]:
        """What is followed, in the order of reading."""
        return tuple(self._read)

    def pages(self, position: StreamPosition) -> Iterator[Page]:
        """Everything after a position that is there now, page by page.

        Raises:
            StoreError: The database failed.
        """
        for kind, reader in self._read.items():
            after = position.get(kind, 0)
            while (page := reader(after)).reached > after:
                yield page
                after = page.reached

    def behind(self, position: StreamPosition) -> dict[str, int]:
        """How many numbers there are after a position, by kind."""
        newest = self._store.newest_numbers()
        return {kind: max(0, newest[kind] - position.get(kind, 0)) for kind in self._read}

    def _exposures(self, after: int) -> Page:
        found, reached = self._store.exposures_after(after, self._limit)
        return Page("exposures", [_exposure(number, exposure) for number, exposure in found], reached)

    def _events(self, after: int) -> Page:
        table, reached = self._store.events_after(after, self._limit)
        columns = [table[name].to_pylist() for name in ("seq", *_EVENT_FIELDS)]
        return Page("events", [_event(*row) for row in zip(*columns, strict=True)], reached)

    def _items(self, after: int) -> Page:
        found, reached = self._store.deleted_items(after, self._limit)
        changes = [
            Change("deletions", "item_deleted", f"item:{version}:{name}", version, name, {"item_id": name})
            for version, name in found
        ]
        return Page("items", changes, reached)

    def _users(self, after: int) -> Page:
        found = self._store.deletions(after, self._limit)
        return Page("users", [_deletion(one) for one in found], found[-1].number if found else after)


def _exposure(number: int, exposure: Exposure) -> Change:
    data: dict[str, Any] = {
        "recommendation_id": exposure.recommendation_id,
        "user_id": exposure.user_id,
        "scenario": exposure.scenario,
        "bundle": exposure.bundle,
        "timestamp": exposure.timestamp,
        "items": [_item(item) for item in exposure.items if isinstance(item, ExposedItem)],
        "experiment": exposure.experiment,
        "arm": exposure.arm,
        "shadow": exposure.shadow,
        "degraded": list(exposure.degraded),
        "deletions_before": exposure.since,
    }
    if exposure.context is not None:
        data["context"] = context_of(exposure.context)
    key = exposure.recommendation_id if exposure.user_id is None else exposure.user_id
    return Change("exposures", "exposure", exposure.recommendation_id, number, key, data)


def _item(item: ExposedItem) -> dict[str, Any]:
    shown: dict[str, Any] = {"item_id": item.item_id, "score": item.score, "sources": list(item.sources)}
    if item.arm is not None:
        shown["arm"] = item.arm
    if item.propensity is not None:
        shown["propensity"] = item.propensity
    return shown


def _event(number: int, *fields: Any) -> Change:
    """An event, as another server's source takes it."""
    named = dict(zip(_EVENT_FIELDS, fields, strict=True))
    data = {name: value for name, value in named.items() if value not in (None, "")}
    if "context" in data:
        data["context"] = context_of(data["context"])
    return Change("events", "event", named["event_id"], number, named["user_id"], data)


def _deletion(deletion: Deletion) -> Change:
    data = {
        "user_key": deletion.user_key.hex(),
        "receipt_id": deletion.receipt.receipt_id,
        "deleted_at": deletion.receipt.deleted_at,
        "last_event": deletion.last_event,
        "part_of": deletion.part_of,
    }
    identity = deletion.receipt.receipt_id
    return Change("deletions", "user_deleted", identity, deletion.number, deletion.user_key.hex(), data)
