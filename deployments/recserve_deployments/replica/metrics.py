"""Metrics of a replica, and a scrape of all replicas at once.

A load balancer takes each scrape to one ingress replica. That replica asks every replica of every stage,
itself included, by Serve's broadcast, waits for no more than a moment, and says how many did not answer.
Nothing is kept between scrapes, so a replica that died is gone from the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from recserve.auth.masking import mask_keys
from recserve.config import ServerConfig
from recserve.errors import ConfigError
from recserve.plugin.resolved import ReplicaRole
from recserve.serving.guard.workers import WorkerPool
from recserve.telemetry.instruments import (
    BUNDLE_AGE,
    BUNDLE_INFO,
    BUNDLE_SERVED,
    CACHE_LOOKUPS,
    COMPONENT_OUTCOMES,
    ORIGIN_LABELS,
    SCRAPE_MISSING,
    SCRAPE_SECONDS,
    THREAD_CALLS,
)
from recserve.telemetry.logs import chosen_format, write_json
from recserve.telemetry.metrics import Labels, Metrics, Origin, Series, Snapshot
from recserve.telemetry.outcomes import PROCESS_OUTCOMES
from recserve.telemetry.tracing import record_with
from recserve_deployments.replica.bundle_watcher import BundleHost

logger = logging.getLogger(__name__)

SCRAPE_DEADLINE = 2.0
"""Seconds that replicas have to answer a scrape; Prometheus itself waits for 10 by default."""


def begin_telemetry(role: ReplicaRole, server: ServerConfig) -> Origin:
    """Set this replica's logs and traces up; returns which replica it is.

    Raises:
        ConfigError: Packages that tracing needs are missing.
    """
    stage = ReplicaRole.INGRESS if role is ReplicaRole.WHOLE else role
    replica = serve.get_replica_context().replica_id.unique_id
    origin = Origin(stage.value, replica, ray.util.get_node_ip_address())
    if chosen_format(server.log_format) == "json":
        facts = dict(zip(ORIGIN_LABELS, origin.labels, strict=True))
        write_json(logging.getLogger("ray.serve").handlers, mask_keys, **facts)
    if server.tracing:
        _record_spans(origin)
    return origin


def _record_spans(origin: Origin) -> None:
    try:
        from recserve.telemetry.otel import OtelRecorder
    except ImportError as error:
        raise ConfigError(
            f"server.tracing needs packages that are missing ({error}): pip install 'recserve[otel]'",
            field="server.tracing",
        ) from None
    record_with(OtelRecorder(*origin.labels))


class Cache(Protocol):
    """Protocol of a cache that counts its lookups."""

    @property
    def hits(self) -> int:
        """Lookups that found something."""
        ...

    @property
    def misses(self) -> int:
        """Lookups that did not."""
        ...


def watch_caches(metrics: Metrics, caches: Mapping[str, Cache]) -> None:
    """Show the lookups of caches, by the caches' names."""

    def read() -> Mapping[Labels, float]:
        return {
            (name, outcome): count
            for name, cache in caches.items()
            for outcome, count in (("hit", cache.hits), ("miss", cache.misses))
        }

    metrics.watch(CACHE_LOOKUPS, read)


def watch_replica(metrics: Metrics, bundles: BundleHost[Any], pool: WorkerPool) -> None:
    """Show what every replica has: its bundles, the threads of plugin code, and what components count."""
    metrics.watch(BUNDLE_INFO, lambda: {(id_,): float(not place) for place, id_ in enumerate(bundles.ids)})
    metrics.watch(BUNDLE_SERVED, lambda: {(): time.monotonic() - bundles.serving_since})
    metrics.watch(BUNDLE_AGE, lambda: {(): time.time() - bundles.current.bundle.manifest.data.until / 1000})
    metrics.watch(THREAD_CALLS, lambda: {(state,): count for state, count in pool.calls.items()})
    metrics.watch(COMPONENT_OUTCOMES, PROCESS_OUTCOMES.read)


class Scraper:
    """Gatherer of the metrics of all replicas of the application, in an ingress replica.

    Args:
        stages: Handles of the stages, by name; none where the ingress is the whole graph.
        deadline: Seconds that replicas have to answer.
    """

    def __init__(
        self, stages: Mapping[str, DeploymentHandle[Any]], deadline: float = SCRAPE_DEADLINE
    ) -> None:
        self._handles = dict(stages)
        self._deadline = deadline
        self._running: asyncio.Task[list[Snapshot]] | None = None

    async def scrape(self) -> list[Snapshot]:
        """What all replicas counted, and how gathering it went. Scrapes at the same time are one."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._gather())
        return await asyncio.shield(self._running)

    async def _gather(self) -> list[Snapshot]:
        began = time.monotonic()
        if ReplicaRole.INGRESS not in self._handles:
            self._handles[ReplicaRole.INGRESS.value] = await asyncio.to_thread(_own_handle)
        found = await asyncio.gather(*(self._ask(stage) for stage in self._handles))
        seconds = time.monotonic() - began
        return [
            snapshot
            for stage, (snapshots, missing) in zip(self._handles, found, strict=True)
            for snapshot in (*snapshots, _gathered(stage, missing, seconds))
        ]

    async def _ask(self, stage: str) -> tuple[list[Snapshot], int]:
        """The snapshots of a stage's replicas that came in time, and the number of replicas without."""
        end = time.monotonic() + self._deadline
        try:
            # Not `results_async`, which has no answers at all where one is late.
            response = self._handles[stage].broadcast("snapshot")
            async with asyncio.timeout(self._deadline):
                replicas = await response._fetch_replica_results_async()
        except Exception as error:
            logger.warning("metrics of %s cannot be gathered: %s", stage, error or type(error).__name__)
            return [], 1
        asked = [asyncio.ensure_future(replica.get_async()) for replica in replicas]
        done, late = await asyncio.wait(asked, timeout=max(end - time.monotonic(), 0.0))
        for task in late:
            task.cancel()
        answers = [task.result() for task in done if not task.exception()]
        return answers, len(asked) - len(answers)


def _gathered(stage: str, missing: int, seconds: float) -> Snapshot:
    """How gathering went for a stage, as a series that belongs to no replica."""
    series: dict[str, Series] = {
        SCRAPE_MISSING.name: {(): [float(missing)]},
        SCRAPE_SECONDS.name: {(): [seconds]},
    }
    return Snapshot(Origin(stage, "", ""), series)


def _own_handle() -> DeploymentHandle[Any]:
    """The handle of the deployment that this replica belongs to; asks Serve's controller, so it blocks."""
    context = serve.get_replica_context()
    return serve.get_deployment_handle(context.deployment, context.app_name)
