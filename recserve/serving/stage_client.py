"""Stage client: how the pipeline reaches the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.experiments.definition import Parameters
from recserve.serving.stages.retrieval import RetrievalResult


class StageClient(Protocol):
    """How the pipeline reaches the stages. Deadlines are the client's; it raises StageError when late."""

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        """See :meth:`recserve.serving.stages.retrieval.RetrievalStage.retrieve`."""
        ...

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :meth:`recserve.serving.stages.ranking.RankingStage.score`."""
        ...

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        """See :meth:`recserve.serving.stages.ranking.RankingStage.affinity`."""
        ...

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        """See :meth:`recserve.serving.stages.encoding.LiveEncoder.encode`."""
        ...
