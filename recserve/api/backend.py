"""What the HTTP routes need from whoever hosts them: a Serve ingress, or one process (:mod:`.inprocess`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from recserve.domain import Event, Item
from recserve.registry import PluginInfo
from recserve.requests import Recommendation, Request


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


class Backend(Protocol):
    """The server behind the routes. Every method may be called concurrently and must not block the loop."""

    async def recommend(self, request: Request) -> Recommendation:
        """Answer one request; an implementation is free to micro-batch.

        Raises:
            RecserveError: The request is wrong (NotFoundError, InvalidRequestError), or it cannot be
                served now (NotReadyError, OverloadedError, BundleError).
        """
        ...

    async def add_events(self, events: Sequence[Event]) -> int:
        """Store validated events; they are durable, and count in the next request, when this returns.

        Returns:
            Events stored; fewer than given when an ``event_id`` was known already.

        Raises:
            StoreError: Nothing was stored.
        """
        ...

    async def item(self, item_id: str) -> Item | None:
        """The item of an id, from the bundle or the store; None if neither knows it.

        Raises:
            StoreError: The store cannot be reached and the bundle does not know the item.
        """
        ...

    async def history(self, user_id: str, limit: int) -> Sequence[Event]:
        """The newest ``limit`` events of a user, oldest first; empty for an unknown user.

        Raises:
            StoreError: The store cannot be reached.
        """
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
