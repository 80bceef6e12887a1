"""A backend in one process, without Ray: for the command line, tests, benchmarks and embedding."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from recserve.api.backends.protocol import Readiness
from recserve.api.backends.reports import ReportDesk
from recserve.api.backends.store_backed import StoredBackend
from recserve.config import Config
from recserve.errors import StageError
from recserve.plugin.registry import PluginInfo
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request
from recserve.store import Store

logger = logging.getLogger(__name__)


class LocalBackend(StoredBackend):
    """:class:`recserve.api.Backend` over a pipeline and a store.

    Args:
        pipeline: Serves one bundle.
        store: Events, items and exposures; not closed here.
        plugins: What ``/v1/plugins`` lists.
        sample_users: User ids that the page offers.
        config: What counts as an outcome.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        plugins: Sequence[PluginInfo] = (),
        sample_users: Sequence[str] = (),
        config: Config | None = None,
    ) -> None:
        super().__init__(
            store,
            lambda: pipeline,
            pipeline.context.scenarios,
            ReportDesk.of(store, config or Config()),
            bundles=lambda: (pipeline.context.bundle,),
        )
        self._plugins = tuple(plugins)
        self._sample_users = tuple(sample_users)

    async def recommend(self, request: Request) -> Recommendation:
        """See :meth:`recserve.api.Backend.recommend`."""
        await self.arms.follower.look()
        return await super().recommend(request)

    async def answer(self, request: Request) -> Recommendation:
        """See :class:`recserve.serving.requests.arms.answers.AnsweringHost`."""
        pipeline = self._served()
        asked, (outcome,) = await pipeline.recall([request])
        answer = outcome.result
        if outcome.pending is not None:
            (answer,) = await pipeline.compute([outcome.pending])
        if not isinstance(answer, Recommendation):
            raise answer or StageError("the request was neither answered nor refused")
        self.answered(pipeline, [(request, answer)], asked)
        return answer

    async def sample_users(self, limit: int) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.sample_users`."""
        return self._sample_users[:limit]

    async def plugins(self) -> Sequence[PluginInfo]:
        """See :meth:`recserve.api.Backend.plugins`."""
        return self._plugins

    async def ready(self) -> Readiness:
        """Ready as soon as it exists; a store that is down only makes answers less personal."""
        problem = await self.store_problem()
        details = {} if problem is None else {"store": problem}
        return Readiness(
            ready=True, bundle=self._served().context.bundle, store=not details, stages={}, details=details
        )

    async def live(self) -> bool:
        """Always: this process answers."""
        return True
