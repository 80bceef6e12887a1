"""The whole graph in one process: stages called directly, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from recserve.bundles.bundle import Bundle
from recserve.config import ServerConfig
from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.errors import RecserveError, StageError
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.loader import Loader, T, logger
from recserve.serving.pipeline import Pipeline
from recserve.serving.stage_client import with_deadline
from recserve.serving.stages.encoding import LiveEncoder
from recserve.serving.stages.retrieval import RetrievalResult
from recserve.serving.state.history_reader import ServingStore, StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.user_cache import UserCache
from recserve.store import Store


class LocalClient:
    """Calls the stages of one bundle directly, in threads of this process.

    Args:
        loader: The bundle's loader.
        encoder: The live encoder; None makes one that loads its model on first use.
    """

    def __init__(self, loader: Loader, encoder: LiveEncoder | None = None) -> None:
        server = loader.resolved.config.server
        self._bundle = loader.bundle
        self._encoder = encoder or LiveEncoder(loader.resolved)
        self._deadlines = server
        self._retrieval = loader.retrieval(server.retrieval.deadline_ms / 1000, server.retrieval.threads)
        self._ranking = loader.ranking()

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        """See :class:`recserve.serving.pipeline.StageClient`."""
        work = self._run(self._retrieval.retrieve, scenario, queries, n)
        # The stage itself leaves late retrievers out at its deadline; this one is for a stuck stage.
        return await with_deadline(work, 2 * self._deadlines.retrieval.deadline_ms / 1000, "retrieval")

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :class:`recserve.serving.pipeline.StageClient`."""
        work = self._run(self._ranking.score, scenario, queries, candidates)
        return await with_deadline(work, self._deadlines.ranking.deadline_ms / 1000, "ranking")

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """See :class:`recserve.serving.pipeline.StageClient`."""
        work = self._run(self._encoder.encode, self._bundle, texts)
        return await with_deadline(work, self._deadlines.encoding.deadline_ms / 1000, "encoding")

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run in a thread; whatever a plugin raises becomes a stage's failure."""
        return await asyncio.to_thread(guarded, call, *arguments)


def guarded(call: Callable[..., T], *arguments: Any) -> T:
    """Call, turning unexpected exceptions of plugins into StageError so that the pipeline degrades."""
    try:
        return call(*arguments)
    except RecserveError:
        raise
    except Exception as error:
        logger.exception("a stage failed")
        raise StageError(f"{type(error).__name__}: {error}") from error


def local_pipeline(resolved: ResolvedConfig, bundle: Bundle, store: Store) -> Pipeline:
    """The whole graph in this process, for the command line, tests and benchmarks.

    Raises:
        StoreError: The store cannot be reached.
    """
    loader = Loader(bundle, resolved)
    live = loader.follow(store)
    reader = reader_of(store, live, resolved.config.server)
    return Pipeline(loader.edge, reader, LocalClient(loader))


def reader_of(
    store: ServingStore, live: CatalogueFollower, server: ServerConfig, known: UserCache | None = None
) -> StoreReader:
    """The reader that a server's settings ask for."""
    return StoreReader(store, live, server.history, server.store_deadline_ms / 1000, known)
