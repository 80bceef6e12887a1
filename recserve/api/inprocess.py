"""A backend in one process, without Ray: for the command line, tests, benchmarks and embedding."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from recserve.api.backend import Readiness
from recserve.api.models import now_ms
from recserve.domain import Event, Item
from recserve.errors import RecserveError, StoreError
from recserve.pipeline import Pipeline
from recserve.registry import PluginInfo
from recserve.requests import Recommendation, Request
from recserve.store import ExposedItem, Exposure, Store

logger = logging.getLogger(__name__)


class LocalBackend:
    """:class:`recserve.api.Backend` over a pipeline and a store.

    Args:
        pipeline: Serves one bundle.
        store: Events, items and exposures; not closed here.
        plugins: What ``/v1/plugins`` lists.
        sample_users: User ids that the page offers.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        plugins: Sequence[PluginInfo] = (),
        sample_users: Sequence[str] = (),
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._plugins = tuple(plugins)
        self._sample_users = tuple(sample_users)

    async def recommend(self, request: Request) -> Recommendation:
        """See :meth:`recserve.api.Backend.recommend`."""
        (answer,) = await self._pipeline.recommend([request])
        if isinstance(answer, RecserveError):
            raise answer
        try:
            self._store.add_exposures([exposure_of(request, answer, now_ms())])
        except RecserveError as error:  # a lost log entry must not cost the answer
            logger.warning("exposure not logged: %s", error)
        return answer

    async def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`recserve.api.Backend.add_events`."""
        return await asyncio.to_thread(self._store.add_events, events)

    async def item(self, item_id: str) -> Item | None:
        """The store's version of an item, which may be newer than the bundle's."""
        catalogue = self._pipeline.edge.catalogue
        row = catalogue.ids.row(item_id)
        try:
            stored = (await asyncio.to_thread(self._store.items, [item_id])).get(item_id)
        except StoreError:
            if row < 0:
                raise
            stored = None
        if stored is not None or row < 0:
            return stored
        return catalogue.item(row)

    async def history(self, user_id: str, limit: int) -> Sequence[Event]:
        """See :meth:`recserve.api.Backend.history`."""
        return (await asyncio.to_thread(self._store.histories, [user_id], limit))[user_id]

    async def sample_users(self, limit: int) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.sample_users`."""
        return self._sample_users[:limit]

    async def plugins(self) -> Sequence[PluginInfo]:
        """See :meth:`recserve.api.Backend.plugins`."""
        return self._plugins

    async def ready(self) -> Readiness:
        """Ready as soon as it exists; a store that is down only makes answers less personal."""
        details = {}
        try:
            await asyncio.to_thread(self._store.ping)
        except StoreError as error:
            details["store"] = error.message
        return Readiness(
            ready=True, bundle=self._pipeline.edge.bundle, store=not details, stages={}, details=details
        )

    async def live(self) -> bool:
        """Always: this process answers."""
        return True


def exposure_of(request: Request, answer: Recommendation, now: int) -> Exposure:
    """What an answer showed to whom, for the store's log.

    Args:
        request: The request.
        answer: Its answer.
        now: When it was served, milliseconds since the epoch.
    """
    return Exposure(
        recommendation_id=answer.recommendation_id,
        user_id=request.user_id,
        bundle=answer.bundle,
        scenario=answer.scenario,
        timestamp=now,
        items=tuple(ExposedItem(item.item_id, item.score, item.sources) for item in answer.items),
    )
