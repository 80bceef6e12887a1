"""The deployment that speaks HTTP: validates, micro-batches, and runs the pipeline over the stages."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from recserve.api import ApiSettings, create_app
from recserve.bundles.bundle import Bundle
from recserve.errors import RecserveError
from recserve.experiments.follower import ArmBundles
from recserve.serving.guard.calls import GuardedCalls
from recserve.serving.loader import Loader, follow_catalogue
from recserve.serving.local import LocalClient, reader_of
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Request, SessionEvent
from recserve.serving.stages.encoding import LiveEncoder
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.user_cache import UserCache
from recserve.telemetry.instruments import LIVE_ITEMS
from recserve.telemetry.metrics import Metrics, Snapshot
from recserve_deployments.client import ServeStageClient
from recserve_deployments.replica.access import open_keyring
from recserve_deployments.replica.backend import GraphBackend
from recserve_deployments.replica.bundle_watcher import BundleHost
from recserve_deployments.replica.metrics import Scraper, begin_telemetry, watch_caches, watch_replica
from recserve_deployments.replica.spec import ReplicaSpec
from recserve_deployments.replica.spreading import Spreading
from recserve_deployments.replica.warmup import WARM_TEXT, settle

logger = logging.getLogger(__name__)

# Longest wait for all stage replicas to load a new bundle before requests are pinned to it anyway.
_PREPARE_SECONDS = 120.0

# How often to look for items without a vector, and when again after that failed.
_ENCODE_SECONDS = (0.2, 0.5)
_RETRY_SECONDS = 2.0


@serve.deployment
@serve.ingress()
class Ingress:
    """The HTTP API. With stage handles it is one node of the graph, without them all of it.

    Args:
        spec: What to load.
        retrieval: Handle of the deployment Retrieval; None to run every stage in this process.
        encoding: Handle of the deployment Encoding, if a text encoder is configured.
        ranking: Handle of the deployment Ranking.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(  # type: ignore[misc]
        self,
        spec: ReplicaSpec,
        retrieval: DeploymentHandle[Any] | None = None,
        encoding: DeploymentHandle[Any] | None = None,
        ranking: DeploymentHandle[Any] | None = None,
    ) -> None:
        self._opened = await asyncio.to_thread(spec.open)
        self.metrics = Metrics(begin_telemetry(spec.role, self._opened.config.server))
        server = self._opened.config.server
        self._client: ServeStageClient | None = None
        # These outlive each bundle: users' states do not depend on it.
        self._users = UserCache()
        self._results = ResultCache(server.repeats, server.repeats_seconds)
        self._pool = spec.workers()
        if retrieval is not None and ranking is not None:
            self._client = ServeStageClient(retrieval, encoding, ranking, server)
        else:
            self._encoder = LiveEncoder(self._opened.resolved)
        self.bundles = BundleHost(
            self._opened.repository,
            self._opened.store.bundle_history,
            self._load,
            server.reload_seconds,
            self._announce,
            ArmBundles(self._opened.store),
        )
        await self.bundles.start()
        stages = {} if self._client is None else self._client.stages
        self.backend = GraphBackend(self._opened, self.bundles, stages, self._pool, self.metrics)
        self._keyring = await asyncio.to_thread(open_keyring, self._opened)
        await asyncio.to_thread(self.backend.arms.follower.start)
        self._watch_metrics()
        handles = {"retrieval": retrieval, "encoding": encoding, "ranking": ranking}
        self._scraper = Scraper({name: found for name, found in handles.items() if found is not None})
        loop = asyncio.get_running_loop()
        self._watcher = loop.create_task(self.bundles.watch())
        self._encoding = loop.create_task(self._encode_new_items())
        self._spreading = Spreading()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor."""
        # Serve puts the request's id into every answer.
        settings = replace(ApiSettings.of(self._opened.config), returns_request_id=False)
        app = create_app(self.backend, settings, self._keyring, self.metrics, self._scraper.scrape)
        settle()
        return app

    def _load(self, bundle: Bundle) -> Pipeline:
        store, server = self._opened.store, self._opened.config.server
        live = follow_catalogue(bundle, store)
        loader = Loader(bundle, self._opened.resolved, live)
        if len(bundle.catalogue):
            # Answers need attributes; without this the first one would wait until all are read.
            bundle.catalogue.item(0)
        pipeline = Pipeline(
            loader.context,
            reader_of(store, live, server, self._users),
            self._client or LocalClient(loader, self._pool, self._encoder),
            cache=self._results,
            calls=GuardedCalls(server, self._pool),
            metrics=self.metrics,
        )
        if self._client is not None:
            return pipeline
        # Warms up what stage replicas otherwise warm up for themselves. Runs in a loader thread.
        if self._opened.resolved.encoder is not None:
            self._encoder.encode(bundle, [WARM_TEXT])
        first = SessionEvent(bundle.catalogue.ids.ids[0])
        for scenario in self._opened.config.scenarios:
            asyncio.run(pipeline.recommend([Request(session=(first,), scenario=scenario)]))
        return pipeline

    async def _announce(self, bundle_id: str) -> None:
        """Have every stage replica load a bundle before requests are pinned to it."""
        if self._client is not None:
            stages = self._client.stages.values()
            await asyncio.gather(*(stage.prepare(bundle_id, _PREPARE_SECONDS) for stage in stages))

    async def _encode_new_items(self) -> None:
        """Give vectors to items that were stored without, for ever."""
        done = -1
        while True:
            # Replicas that do the same at slightly different moments rarely do the same work.
            await asyncio.sleep(random.uniform(*_ENCODE_SECONDS))
            try:
                version = (await asyncio.to_thread(self._opened.store.pulse)).catalogue
                if version != done:
                    while await self.bundles.current.part.items.encode_pending():
                        pass
                    done = version
            except RecserveError as error:
                logger.warning("new items cannot be encoded: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _watch_metrics(self) -> None:
        watch_replica(self.metrics, self.bundles, self._pool)
        watch_caches(self.metrics, {"result": self._results, "user": self._users})
        if self._client is None:
            watch_caches(self.metrics, {"text": self._encoder})
        self.metrics.watch(LIVE_ITEMS, lambda: {(): len(self.bundles.current.part.live.view.encoded)})

    async def snapshot(self) -> Snapshot:
        """What this replica counted; see :class:`recserve_deployments.replica.metrics.Scraper`."""
        return self.metrics.snapshot()

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
            RuntimeError: New bundles or items would never arrive, batches do not end, or all replicas stand
                on one node.
        """
        self._spreading.check()
        if self._watcher.done() or self._encoding.done():
            raise RuntimeError("the replica no longer follows the store")
        if self.backend.stalled:
            raise RuntimeError("batches of requests do not end")

    async def __del__(self) -> None:
        pool = getattr(self, "_pool", None)
        if pool is not None:
            pool.close()
        keyring = getattr(self, "_keyring", None)
        if keyring is not None:
            await asyncio.to_thread(keyring.close)
        backend = getattr(self, "backend", None)
        if backend is not None:
            await backend.close()
