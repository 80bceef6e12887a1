"""The deployment that finds candidates."""

from __future__ import annotations

import logging

from ray import serve

from recserve.bundles.bundle import Bundle
from recserve.data.batches import Queries
from recserve.errors import RecserveError
from recserve.serving.loader import Loader
from recserve.serving.retrieval import RetrievalResult, RetrievalStage
from recserve_deployments.replica_spec import ReplicaSpec
from recserve_deployments.stages import StageReplica
from recserve_deployments.warmup import warm_queries

logger = logging.getLogger(__name__)


@serve.deployment
class Retrieval(StageReplica[RetrievalStage]):
    """Retrievers and filters of all scenarios.

    Args:
        spec: What to load.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(self, spec: ReplicaSpec) -> None:  # type: ignore[misc]
        await self.start(spec)

    def load(self, bundle: Bundle) -> RetrievalStage:
        """Build the retrievers and run each scenario once."""
        size = self.opened.config.server.retrieval
        loader = Loader(bundle, self.opened.resolved)
        loader.follow(self.opened.store)
        stage = loader.retrieval(size.deadline_ms / 1000, size.threads)
        queries = warm_queries(bundle.catalogue)
        for scenario in self.opened.config.scenarios:
            try:
                stage.retrieve(scenario, queries, 10)
            except RecserveError as error:
                # Not fatal: it may be one slow retriever's first call, and requests degrade by themselves.
                logger.warning("warming up scenario %s: %s", scenario, error)
        return stage

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        """See :meth:`recserve.serving.ranking.RetrievalStage.retrieve`."""
        stage = await self.bundles.get(bundle)
        return await self.call(stage.retrieve, scenario, queries, n)
