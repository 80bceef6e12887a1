"""A backend in one process, without Ray: for the command line, tests, benchmarks and embedding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from recserve.api.backends.answering import not_loaded
from recserve.api.backends.desks.bundles import BundleDesk
from recserve.api.backends.desks.configuration import ConfigurationDesk
from recserve.api.backends.desks.reports import ReportDesk
from recserve.api.backends.protocol import Readiness
from recserve.api.backends.store_backed import StoredBackend
from recserve.bundles.repository import BundleRepository
from recserve.config import Config
from recserve.errors import StageError
from recserve.plugin.registry import PluginInfo, Registry
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request
from recserve.store import Store

logger = logging.getLogger(__name__)

DEFAULT_HOME = Path(".recserve")


class LocalBackend(StoredBackend):
    """:class:`recserve.api.Backend` over a pipeline and a store.

    Args:
        pipeline: Serves one bundle.
        store: Events, items and exposures; not closed here.
        plugins: What ``/v1/plugins`` lists.
        sample_users: User ids that the page offers.
        config: The configuration that is shown, and by which outcomes are counted.
        home: The home folder, which has the bundles that are listed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        plugins: Sequence[PluginInfo] = (),
        sample_users: Sequence[str] = (),
        config: Config | None = None,
        home: Path = DEFAULT_HOME,
    ) -> None:
        config = config or Config()
        super().__init__(
            store,
            lambda: pipeline,
            pipeline.context.scenarios,
            ReportDesk.of(store, config),
            bundles=lambda: (pipeline.context.bundle,),
        )
        self.bundles = BundleDesk.of(store, BundleRepository(home, config.bundles), home, config)
        self.configuration = ConfigurationDesk(config, Registry.discover)
        self._plugins = tuple(plugins)
        self._sample_users = tuple(sample_users)

    async def recommend(self, request: Request) -> Recommendation:
        """See :meth:`recserve.api.Backend.recommend`."""
        await self.arms.follower.look()
        return await super().recommend(request)

    async def answer(self, request: Request) -> Recommendation:
        """See :class:`recserve.serving.requests.arms.answers.AnsweringHost`."""
        pipeline = self._served()
        if request.bundle not in (None, pipeline.context.bundle):
            raise not_loaded(str(request.bundle), [pipeline.context.bundle])
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
