"""What the HTTP routes need from their host: a Serve ingress, or :mod:`recserve.api.backends.local`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from recserve.api.backends.desks.bundles import BundleDesk
from recserve.api.backends.desks.configuration import ConfigurationDesk
from recserve.api.backends.desks.experiments import ExperimentDesk
from recserve.api.backends.desks.reports import ReportDesk
from recserve.api.backends.desks.vector_map import VectorMap
from recserve.api.backends.newest import NewestItems
from recserve.api.pagination import Cursors
from recserve.data.entities import Event, Item, User
from recserve.plugin.registry import PluginInfo
from recserve.serving.requests.audience import Audience
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.store import (
    AddedEvents,
    DeletionReceipt,
    Having,
    ItemPage,
    ItemPatch,
    ItemSearch,
    ListedUser,
    Moment,
    UserPatch,
    UserPlace,
)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and if not, what is missing.

    Attributes:
        ready: The verdict. A host that can still answer, if with less, may say True although a part is down.
        bundle: Id of the bundle in service, None while there is none.
        store: The store answers.
        stages: Stage name -> it answers.
        details: Part (``bundle``, ``store``, a stage) -> one line on what is wrong with it.
    """

    ready: bool
    bundle: str | None
    store: bool
    stages: Mapping[str, bool] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event of a user's history.

    Attributes:
        place: Its place in the history.
        event: The event.
        title: Title of its item, the item's id where that is not known; None without an item.
    """

    place: Moment
    event: Event
    title: str | None


class CatalogueBackend(Protocol):
    """The items behind the routes. What a write acknowledges by returning is durable.

    Every method raises StoreError when the store cannot be reached; a write then did nothing.
    """

    async def item(self, item_id: str) -> Item | None:
        """The item of an id, from the store or, while that is down, the bundle; None if unknown."""
        ...

    async def list_items(self, after: str | None, limit: int) -> Sequence[Item]:
        """See :meth:`recserve.store.Store.list_items`."""
        ...

    async def search_items(self, search: ItemSearch, after: str | None, limit: int) -> ItemPage:
        """See :meth:`recserve.store.browsing.BrowsingStore.search_items`."""
        ...

    async def upsert_items(self, items: Sequence[Item]) -> tuple[int, int]:
        """Add items or replace them.

        Returns:
            The number of distinct items, and how many of them are encoded already.
        """
        ...

    async def patch_items(self, patches: Sequence[ItemPatch]) -> Sequence[str]:
        """Change some fields of items; returns ids that are not there."""
        ...

    async def delete_items(self, item_ids: Sequence[str], actor: str) -> int:
        """Delete items; returns how many were there.

        Args:
            item_ids: The items.
            actor: Who asks, for the audit log.
        """
        ...


class PeopleBackend(Protocol):
    """The users behind the routes; as for :class:`CatalogueBackend`."""

    async def history(self, user_id: str, limit: int, before: Moment | None = None) -> Sequence[HistoryEntry]:
        """The newest ``limit`` events of a user before a place, newest first; empty for an unknown user."""
        ...

    async def user(self, user_id: str) -> User | None:
        """The profile of a user, None without one."""
        ...

    async def browse_users(
        self, having: Having, place: UserPlace | None, limit: int
    ) -> tuple[Sequence[ListedUser], UserPlace | None]:
        """See :func:`recserve.store.browsing.browse_users`."""
        ...

    async def find_user(self, user_id: str) -> ListedUser | None:
        """See :func:`recserve.store.browsing.find_user`."""
        ...

    async def upsert_users(self, users: Sequence[User]) -> int:
        """Add profiles or replace them; returns the number of distinct users."""
        ...

    async def patch_users(self, patches: Sequence[UserPatch]) -> Sequence[str]:
        """Change some attributes of users; returns ids that have no profile."""
        ...

    async def merge_user(self, source: str, target: str, actor: str) -> int:
        """Make one user's behaviour and profile another one's; returns the events moved.

        Args:
            source: Whose they are.
            target: Whose they become.
            actor: Who asks, for the audit log.
        """
        ...

    async def delete_user(self, user_id: str, actor: str) -> DeletionReceipt:
        """Remove a person from store and caches.

        Args:
            user_id: The person.
            actor: Who asks, for the audit log.
        """
        ...


class Backend(CatalogueBackend, PeopleBackend, Protocol):
    """The server behind the routes. Every method may be called concurrently and must not block the loop."""

    bundles: BundleDesk
    configuration: ConfigurationDesk
    cursors: Cursors
    experiments: ExperimentDesk
    newest: NewestItems
    reports: ReportDesk
    vectors: VectorMap

    async def recommend(self, request: Request) -> Recommendation:
        """Answer one request; an implementation is free to micro-batch.

        Raises:
            RecserveError: The request is wrong (NotFoundError, InvalidRequestError), or it cannot be
                served now (NotReadyError, OverloadedError, BundleError).
        """
        ...

    def shown(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log what became of an answer that :attr:`Request.told` was told of, if it was shown after all."""
        ...

    async def audience(self, item_id: str, scenario: str | None, limit: int) -> Audience:
        """The users who want an item most, of those who did something last.

        Raises:
            RecserveError: See :meth:`recserve.serving.requests.audience.AudienceFinder.find`; the item is
                unknown (NotFoundError).
            StoreError: The store cannot be reached.
        """
        ...

    async def add_events(self, events: Sequence[Event]) -> int:
        """Store validated events; they are durable, and count in the next request, when this returns.

        Returns:
            Events stored; fewer than given when an ``event_id`` was known already.

        Raises:
            StoreError: Nothing was stored.
            ConflictError: See :meth:`recserve.store.Store.add_events`; nothing was stored.
        """
        ...

    async def import_events(self, events: Sequence[Event]) -> AddedEvents:
        """Store validated events as :meth:`add_events` does, and leave out those that it would refuse."""
        ...

    async def events_with(self, user_id: str, item_ids: Sequence[str]) -> Sequence[Event]:
        """All that a user did with some items, oldest first."""
        ...

    async def events_after(self, number: int, limit: int) -> tuple[Sequence[Event], int]:
        """Events in the order in which they were stored, and the number to go on from.

        Args:
            number: Where to begin: 0, or what an earlier call said.
            limit: At most this many.

        Returns:
            The events, and ``number`` itself when there are none.
        """
        ...

    async def remove_event(self, event_id: str) -> int:
        """Take an event back; it does not count in the next request. Returns 0 if there is none, else 1."""
        ...

    async def remove_events(self, user_id: str, item_id: str) -> int:
        """Take back what a user did with an item; returns the number of events there were."""
        ...

    async def sample_users(self, limit: int) -> Sequence[str]:
        """A few user ids for the page to offer; may be empty where that is not cheap."""
        ...

    async def plugins(self) -> Sequence[PluginInfo]:
        """Installed plugins, those that failed to load included."""
        ...

    async def ready(self) -> Readiness:
        """See :class:`Readiness`. Never raises for a part that is down."""
        ...

    async def live(self) -> bool:
        """Whether this process works at all; False asks the supervisor for a restart."""
        ...
