"""What the rest of recserve asks of a store, independent of the engine behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from recserve.domain import Event, Item
from recserve.stages import Tables


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a store holds.

    Attributes:
        users: Distinct users with at least one event.
        items: Items of the catalogue.
        events: Events, duplicates by ``event_id`` counted once.
    """

    users: int
    items: int
    events: int


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """One trained bundle as the store remembers it.

    Attributes:
        bundle_id: Its id, the name of its folder.
        created_ms: When it was recorded, milliseconds since the epoch.
        summary: JSON-like facts for people and tools (metrics, counts, versions).
    """

    bundle_id: str
    created_ms: int
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExposedItem:
    """One item of an exposure.

    Attributes:
        item_id: External item id.
        score: The score it was shown with.
        sources: Names of the retrievers that proposed it, strongest first.
    """

    item_id: str
    score: float
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one recommendation showed to whom.

    Attributes:
        recommendation_id: Id of the answer, at most 200 characters; storing it twice stores it once.
        user_id: External user id, None for an anonymous session.
        bundle: Id of the bundle that served it.
        scenario: Name of the scenario.
        timestamp: Milliseconds since the epoch, UTC.
        items: The items in the order shown.
    """

    recommendation_id: str
    user_id: str | None
    bundle: str
    scenario: str
    timestamp: int
    items: tuple[ExposedItem, ...]


class Store(Protocol):
    """Behaviour, catalogue, exposures and bundle records.

    All methods are synchronous and safe to call from any number of threads; an event loop calls
    them through ``asyncio.to_thread``. Several processes may share one store.

    Every failure of the database is a :class:`recserve.errors.StoreError` of one line that never
    shows a password; an id or attribute that no store can hold (empty, a NUL character, half of a
    surrogate pair, a value that is not finite) is an :class:`recserve.InvalidRequestError`.
    """

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are durable when this returns, all of them or none.

        An event without ``event_id`` gets a fresh one; an ``event_id`` that is already stored is
        left as it is, so a retry does no harm.

        Returns:
            The number of events that were not stored before.
        """
        ...

    def histories(self, user_ids: Sequence[str], limit: int) -> dict[str, list[Event]]:
        """The newest ``limit`` events of each user, oldest first, in one query for all users.

        Events of equal time keep the order in which they were stored. Users without events have an
        empty list. Everything acknowledged by :meth:`add_events` in any process is included.
        """
        ...

    def upsert_items(self, items: Iterable[Item]) -> int:
        """Insert items or replace their attributes; durable when this returns.

        Of items with equal ids in one call the last one wins.

        Returns:
            The number of distinct items written.
        """
        ...

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """The known ones of these items by id."""
        ...

    def counts(self) -> Counts:
        """How much there is."""
        ...

    def recent_users(self, limit: int) -> list[str]:
        """At most ``limit`` distinct users of the newest events, the most recent first."""
        ...

    def snapshot(self) -> Tables:
        """Everything at one moment as canonical Arrow tables.

        Items are sorted by id; events are in the order in which they were stored.
        """
        ...

    def record_bundle(self, bundle_id: str, created_ms: int, summary: Mapping[str, Any]) -> None:
        """Remember a bundle; recording an id again replaces its time and summary."""
        ...

    def bundles(self) -> list[BundleRecord]:
        """All recorded bundles, newest first."""
        ...

    def set_current(self, bundle_id: str) -> None:
        """Make a recorded bundle the one to serve.

        Raises:
            NotFoundError: No bundle of this id is recorded.
        """
        ...

    def current_bundle(self) -> str | None:
        """The bundle to serve, None before the first."""
        ...

    def bundle_history(self) -> list[str]:
        """Ids that are or were current, latest first, without repeats.

        The first is the current one; the next ones are what to fall back to, in that order.
        """
        ...

    def add_exposures(self, exposures: Sequence[Exposure]) -> None:
        """Log exposures in the background: returns at once, durable within about a second.

        When the database does not keep up or fails, exposures are dropped with a warning in the
        log: they are worth less than the memory and the requests they would hold up.
        """
        ...

    def exposures(self, recommendation_id: str) -> Exposure | None:
        """Read one exposure back; None if it is unknown (or not yet written)."""
        ...

    def flush(self) -> None:
        """Wait until every exposure handed over so far is durable."""
        ...

    def ping(self) -> None:
        """Check that the database answers.

        Raises:
            StoreError: It does not.
        """
        ...

    def close(self) -> None:
        """Write what is waiting and let go of the database. Closing twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
