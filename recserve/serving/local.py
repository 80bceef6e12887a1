"""The whole graph in one process: stages called directly, in threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from recserve.bundles.bundle import Bundle
from recserve.config import ServerConfig
from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.experiments.definition import Parameters
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.guard.calls import GuardedCalls
from recserve.serving.guard.workers import WorkerPool
from recserve.serving.loader import Loader, follow_catalogue
from recserve.serving.pipeline import Pipeline
from recserve.serving.stages.encoding import LiveEncoder
from recserve.serving.stages.retrieval import Guard, RetrievalResult
from recserve.serving.state.history_reader import ServingStore, StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.user_cache import UserCache
from recserve.store import Store

# A model is loaded with the first text, which is no text's fault.
_LOAD_SECONDS = 60.0


class LocalClient:
    """Client of the stages of one bundle in this process, which run in threads with deadlines.

    Args:
        loader: The bundle's loader.
        pool: The threads.
        encoder: The live encoder; None makes one that loads its model on first use.
    """

    def __init__(self, loader: Loader, pool: WorkerPool, encoder: LiveEncoder | None = None) -> None:
        server = loader.resolved.config.server
        self._bundle = loader.bundle
        self._encoder = encoder or LiveEncoder(loader.resolved)
        self._encoded = False
        self._pool = pool
        self._server = server
        self._retrieval = loader.retrieval(guard_of(server, pool))
        self._ranking = loader.ranking()

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        # The stage itself leaves late retrievers out at its deadline; this deadline is for a stuck stage.
        seconds = stage_seconds(self._server)
        return await self._pool.run(
            f"retrieval@{scenario}", seconds, self._retrieval.retrieve, scenario, queries, n, parameters
        )

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        seconds = self._server.ranking.deadline_ms / 1000
        return await self._pool.run(
            f"ranking@{scenario}", seconds, self._ranking.score, scenario, queries, candidates
        )

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        seconds = self._server.ranking.deadline_ms / 1000
        return await self._pool.run(
            f"audience@{scenario}", seconds, self._ranking.affinity, scenario, queries, item
        )

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        seconds = self._server.encoding.deadline_ms / 1000 if self._encoded else _LOAD_SECONDS
        encode = partial(self._encoder.encode, queries=queries)
        vectors = await self._pool.run("encoding", seconds, encode, self._bundle, texts)
        self._encoded = True
        return vectors


def guard_of(server: ServerConfig, pool: WorkerPool) -> Guard:
    """The limits of a server's retrieval stage."""
    return Guard(pool, server.retrieval.deadline_ms / 1000, server.filter_deadline_ms / 1000)


def stage_seconds(server: ServerConfig) -> float:
    """Deadline of a whole call of the retrieval stage: filters, retrievers, new items, and its own work."""
    return (server.filter_deadline_ms + 2 * server.retrieval.deadline_ms) / 1000


def local_pipeline(
    resolved: ResolvedConfig, bundle: Bundle, store: Store, cache: ResultCache | None = None
) -> Pipeline:
    """The whole graph in this process, for the command line, tests and benchmarks.

    Raises:
        StoreError: The store cannot be reached.
    """
    server, pool = resolved.config.server, WorkerPool()
    live = follow_catalogue(bundle, store)
    loader = Loader(bundle, resolved, live)
    return Pipeline(
        loader.context,
        reader_of(store, live, server),
        LocalClient(loader, pool),
        cache=cache,
        calls=GuardedCalls(server, pool),
    )


def reader_of(
    store: ServingStore, live: CatalogueFollower, server: ServerConfig, users: UserCache | None = None
) -> StoreReader:
    """The reader that a server's settings ask for."""
    return StoreReader(store, live, server.history, server.store_deadline_ms / 1000, users)
