"""How the pipeline reaches the stages, and the deadline of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.errors import StageError
from recserve.serving.stages.retrieval import RetrievalResult


class StageClient(Protocol):
    """How the pipeline reaches the stages. Deadlines are the client's; it raises StageError when late."""

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        """See :meth:`recserve.serving.stages.retrieval.RetrievalStage.retrieve`."""
        ...

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :meth:`recserve.serving.stages.ranking.RankingStage.score`."""
        ...

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """Encode texts to unit vectors, float32 (n, d)."""
        ...


T = TypeVar("T")


async def with_deadline(work: Awaitable[T], seconds: float, stage: str) -> T:
    """Await with a deadline.

    Raises:
        StageError: It is late.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise StageError(f"{stage} took longer than {seconds:g} s") from None
