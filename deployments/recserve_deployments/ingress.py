"""The deployment that speaks HTTP: validates, micro-batches, and runs the pipeline over the stages."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from recserve.api import ApiSettings, create_app
from recserve.bundle import Bundle
from recserve.pipeline import Pipeline
from recserve.requests import Request, SessionEvent
from recserve.serving import LiveEncoder, Loader, LocalClient
from recserve_deployments.backend import GraphBackend
from recserve_deployments.bundles import BundleHost
from recserve_deployments.client import ServeStageClient
from recserve_deployments.parts import ReplicaSpec
from recserve_deployments.warm import WARM_TEXT

logger = logging.getLogger(__name__)

# Longest wait for all stage replicas to load a new bundle before requests are pinned to it anyway.
_PREPARE_SECONDS = 120.0


@serve.deployment
@serve.ingress()
class Ingress:
    """The HTTP API. With stage handles it is the edge of the graph, without them all of it.

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
        server = self._opened.config.server
        self._client: ServeStageClient | None = None
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
        )
        await self.bundles.start()
        stages = {} if self._client is None else self._client.stages
        self.backend = GraphBackend(self._opened, self.bundles, stages)
        self._watcher = asyncio.get_running_loop().create_task(self.bundles.watch())

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor."""
        return create_app(self.backend, ApiSettings.of(self._opened.config))

    def _load(self, bundle: Bundle) -> Pipeline:
        loader = Loader(bundle, self._opened.resolved)
        history = self._opened.config.server.history
        if self._client is not None:
            return Pipeline(loader.edge(), self._opened.store, self._client, history)
        pipeline = Pipeline(loader.edge(), self._opened.store, LocalClient(loader, self._encoder), history)
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
            RuntimeError: The watcher is gone, so that new bundles would never arrive.
        """
        if self._watcher.done():
            raise RuntimeError("the bundle watcher stopped")

    async def __del__(self) -> None:
        backend = getattr(self, "backend", None)
        if backend is not None:
            await backend.close()
