"""The deployment that scores candidates."""

from __future__ import annotations

import logging

from ray import serve

from recserve.bundles.bundle import Bundle
from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.serving.loader import Loader
from recserve.serving.ranking import RankingStage
from recserve_deployments.replica_spec import ReplicaSpec
from recserve_deployments.stages import StageReplica
from recserve_deployments.warmup import warm_candidates, warm_queries

logger = logging.getLogger(__name__)


@serve.deployment
class Ranking(StageReplica[RankingStage]):
    """Rankers of all scenarios.

    Args:
        spec: What to load.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(self, spec: ReplicaSpec) -> None:  # type: ignore[misc]
        await self.start(spec)

    def load(self, bundle: Bundle) -> RankingStage:
        """Build the rankers and run each scenario once."""
        loader = Loader(bundle, self.opened.resolved)
        loader.follow(self.opened.store)
        stage = loader.ranking()
        queries = warm_queries(bundle.catalogue)
        for name, config in self.opened.config.scenarios.items():
            sources = tuple(retriever.use for retriever in config.retrievers)
            try:
                stage.score(name, queries, warm_candidates(bundle.catalogue, sources, config.budget))
            except Exception as error:
                # Not fatal: requests of the scenario degrade to retrieval order and say so.
                logger.warning("warming up scenario %s: %s: %s", name, type(error).__name__, error)
        return stage

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :meth:`recserve.serving.ranking.RankingStage.score`."""
        stage = await self.bundles.get(bundle)
        return await self.call(stage.score, scenario, queries, candidates)
