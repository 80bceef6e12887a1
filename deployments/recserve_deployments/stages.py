"""Deployments of the stages: retrieval, encoding, ranking."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from ray import serve

from recserve.bundles.bundle import Bundle
from recserve.config import parse_config
from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.errors import BundleError, RecserveError, StageError
from recserve.experiments.definition import Parameters
from recserve.experiments.follower import ArmBundles
from recserve.serving.guard.failures import cause_of, log_failure
from recserve.serving.guard.workers import THREADS, WorkerCall, WorkerPool
from recserve.serving.loader import Loader, follow_catalogue
from recserve.serving.local import guard_of, stage_seconds
from recserve.serving.stages.encoding import LiveEncoder
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalResult, RetrievalStage
from recserve.telemetry.instruments import BATCH_SIZE, CALL_FAILURES, CALL_SECONDS
from recserve.telemetry.metrics import Metrics, Snapshot
from recserve.telemetry.requests import NO_REQUEST, RequestContext, enter
from recserve.telemetry.tracing import span
from recserve_deployments.replica.bundle_watcher import BundleHost
from recserve_deployments.replica.metrics import begin_telemetry, watch_caches, watch_replica
from recserve_deployments.replica.spec import Opened, ReplicaSpec
from recserve_deployments.replica.spreading import Spreading
from recserve_deployments.replica.warmup import WARM_TEXT, warm_candidates, warm_queries

logger = logging.getLogger(__name__)

P = TypeVar("P")
T = TypeVar("T")

# Longest wait for a component's first call, which may compile or load something.
_WARM_SECONDS = 30.0


class StageReplica(Generic[P]):
    """A replica that turns each bundle into one part of the graph. Subclasses are the deployments.

    Subclasses implement :meth:`load` and start with ``await self.start(spec)``.
    """

    opened: Opened
    bundles: BundleHost[P]
    pool: WorkerPool
    metrics: Metrics

    async def start(self, spec: ReplicaSpec, threads: int = THREADS) -> None:
        """Load plugins and the current bundle, then follow the store's pointer.

        Args:
            spec: What to load.
            threads: Calls of a component that run at the same time.

        Raises:
            RecserveError: A plugin or every bundle is broken.
        """
        self.opened = await asyncio.to_thread(spec.open)
        self.metrics = Metrics(begin_telemetry(spec.role, self.opened.config.server))
        self.pool = spec.workers(threads)
        self.bundles = BundleHost(
            self.opened.repository,
            self.opened.store.bundle_history,
            self.load,
            self.opened.config.server.reload_seconds,
            beside=ArmBundles(self.opened.store),
        )
        await self.bundles.start()
        watch_replica(self.metrics, self.bundles, self.pool)
        self._watcher = asyncio.get_running_loop().create_task(self.bundles.watch())
        self._spreading = Spreading()

    def load(self, bundle: Bundle) -> P:
        """Make the part and warm it up; blocks."""
        raise TypeError(f"{type(self).__name__} does not say what to load")

    @contextmanager
    def observed(self, call: str, size: int, requests: RequestContext) -> Iterator[None]:
        """Count a call of the stage and record its span.

        Args:
            call: Its name.
            size: Of its batch.
            requests: Whom it is for, for the log as well.
        """
        began = time.perf_counter()
        enter(requests)  # each call is a task of its own
        try:
            with span(call, size=size):
                yield
        except Exception as error:
            self.metrics.count(CALL_FAILURES, call, cause_of(error))
            raise
        finally:
            self.metrics.observe(CALL_SECONDS, time.perf_counter() - began, call)
            self.metrics.observe(BATCH_SIZE, size, call)

    async def call(self, lane: str, seconds: float, method: Callable[..., T], *arguments: Any) -> T:
        """Run blocking work in a thread; the replica's event loop is Serve's too.

        Args:
            lane: Whose work it is.
            seconds: Deadline.
            method: What to call.
            *arguments: Its arguments.

        Raises:
            RecserveError: It failed, is late, or its earlier calls hang.
        """
        try:
            return await self.pool.run(lane, seconds, method, *arguments)
        except StageError as error:
            log_failure(lane, error)
            raise type(error)(error.message) from None  # causes need not be known where it is read

    async def snapshot(self) -> Snapshot:
        """What this replica counted; see :class:`recserve_deployments.replica.metrics.Scraper`."""
        return self.metrics.snapshot()

    async def prepare(self, bundle_id: str) -> bool:
        """Have a bundle loaded before requests are pinned to it.

        Raises:
            BundleError: It is missing or damaged.
        """
        await self.bundles.get(bundle_id)
        return True

    async def ping(self) -> bool:
        """Whether the replica gets anything done."""
        return not self.pool.lost

    async def inspect(self, modules: Collection[str] = ()) -> dict[str, Any]:
        """For tests and people: process id, loaded bundles, and which of some modules are imported."""
        return {
            "pid": os.getpid(),
            "bundles": self.bundles.ids,
            "imported": sorted(name for name in modules if name in sys.modules),
        }

    def check_health(self) -> None:
        """Called by Serve now and then; raising has the replica replaced.

        Raises:
            RuntimeError: New bundles would never arrive, calls of plugins hang and nothing gets done, or all
                replicas stand on one node.
        """
        self._spreading.check()
        if self._watcher.done():
            raise RuntimeError("the bundle watcher stopped")
        if self.pool.lost:
            raise RuntimeError(f"calls of plugins hang: {self.pool.stuck}")

    def __del__(self) -> None:
        pool, opened = getattr(self, "pool", None), getattr(self, "opened", None)
        if pool is not None:
            pool.close()
        if opened is not None:
            opened.store.close()


@serve.deployment
class Retrieval(StageReplica[RetrievalStage]):
    """Retrievers and filters of all scenarios.

    Args:
        spec: What to load.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(self, spec: ReplicaSpec) -> None:  # type: ignore[misc]
        await self.start(spec, parse_config(dict(spec.config)).server.retrieval.threads)

    def load(self, bundle: Bundle) -> RetrievalStage:
        """Build the retrievers and run each scenario once."""
        guard = guard_of(self.opened.config.server, self.pool)
        loader = Loader(bundle, self.opened.resolved, follow_catalogue(bundle, self.opened.store))
        stage = loader.retrieval(guard)
        queries = warm_queries(bundle.catalogue)
        for scenario in self.opened.config.scenarios:
            result = stage.retrieve(scenario, queries, 10)
            if result.degraded:
                # Not fatal: it may be a slow retriever's first call, and requests degrade by themselves.
                logger.warning("warming up scenario %s: without %s", scenario, ", ".join(result.degraded))
        return stage

    async def retrieve(
        self,
        bundle: str,
        scenario: str,
        queries: Queries,
        n: int,
        requests: RequestContext = NO_REQUEST,
        parameters: Parameters | None = None,
    ) -> RetrievalResult:
        """See :meth:`recserve.serving.stages.retrieval.RetrievalStage.retrieve`."""
        with self.observed("retrieve", len(queries), requests):
            stage = await self.bundles.get(bundle)
            seconds = stage_seconds(self.opened.config.server)
            return await self.call(
                f"retrieval@{scenario}", seconds, stage.retrieve, scenario, queries, n, parameters
            )


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
        loader = Loader(bundle, self.opened.resolved, follow_catalogue(bundle, self.opened.store))
        stage = loader.ranking()
        queries = warm_queries(bundle.catalogue)
        calls: list[WorkerCall[FloatArray]] = []
        for name, config in self.opened.config.scenarios.items():
            sources = tuple(retriever.use for retriever in config.retrievers)
            candidates = warm_candidates(bundle.catalogue, sources, config.budget)
            calls.append(WorkerCall(f"ranking@{name}", stage.score, (name, queries, candidates)))
        for call, scores in zip(calls, self.pool.run_all(calls, _WARM_SECONDS), strict=True):
            if isinstance(scores, RecserveError):
                # Not fatal: requests of the scenario degrade to retrieval order and say so.
                log_failure(call.lane, scores)
        return stage

    async def rank(
        self,
        bundle: str,
        scenario: str,
        queries: Queries,
        candidates: Candidates,
        requests: RequestContext = NO_REQUEST,
    ) -> FloatArray:
        """See :meth:`recserve.serving.stages.ranking.RankingStage.score`."""
        with self.observed("rank", len(queries), requests):
            stage = await self.bundles.get(bundle)
            seconds = self.opened.config.server.ranking.deadline_ms / 1000
            return await self.call(f"ranking@{scenario}", seconds, stage.score, scenario, queries, candidates)

    async def affinity(
        self,
        bundle: str,
        scenario: str,
        queries: Queries,
        item: int,
        requests: RequestContext = NO_REQUEST,
    ) -> FloatArray:
        """See :meth:`recserve.serving.stages.ranking.RankingStage.affinity`."""
        with self.observed("affinity", len(queries), requests):
            stage = await self.bundles.get(bundle)
            seconds = self.opened.config.server.ranking.deadline_ms / 1000
            return await self.call(f"audience@{scenario}", seconds, stage.affinity, scenario, queries, item)


@serve.deployment
class Encoding(StageReplica[Bundle]):
    """The configured text encoder; bundles share one model unless it was trained with them.

    Args:
        spec: What to load.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(self, spec: ReplicaSpec) -> None:  # type: ignore[misc]
        self._live: LiveEncoder | None = None
        await self.start(spec)
        watch_caches(self.metrics, {"text": self._encoder})
        # This finds out now if the bundle needs another encoder.
        current = self.bundles.current.bundle
        await asyncio.to_thread(self._encoder.encode, current, [WARM_TEXT])

    @property
    def _encoder(self) -> LiveEncoder:
        """Made with the first bundle: what is configured is known only after the start."""
        if self._live is None:
            self._live = LiveEncoder(self.opened.resolved)
        return self._live

    def load(self, bundle: Bundle) -> Bundle:
        """The bundle itself; its encoder is loaded and ready."""
        try:
            self._encoder.encode(bundle, [WARM_TEXT])
        except BundleError as error:
            # The other stages can serve it; requests with a text degrade.
            logger.warning("texts cannot be encoded for bundle %s: %s", bundle.id, error)
        return bundle

    async def encode(
        self,
        bundle: str,
        texts: Sequence[str],
        queries: int = 0,
        requests: RequestContext = NO_REQUEST,
    ) -> FloatArray:
        """See :meth:`recserve.serving.stages.encoding.LiveEncoder.encode`."""
        with self.observed("encode", len(texts), requests):
            opened = await self.bundles.get(bundle)
            seconds = self.opened.config.server.encoding.deadline_ms / 1000
            encode = partial(self._encoder.encode, queries=queries)
            return await self.call("encoding", seconds, encode, opened, texts)
