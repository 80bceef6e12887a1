"""What the HTTP routes are answered with in a Serve replica."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence

from recserve.api import Readiness
from recserve.api.backends.answering import not_loaded
from recserve.api.backends.desks.bundles import BundleDesk
from recserve.api.backends.desks.configuration import ConfigurationDesk
from recserve.api.backends.desks.reports import ReportDesk
from recserve.api.backends.store_backed import StoredBackend
from recserve.data.entities import Event
from recserve.errors import NotReadyError, StoreError
from recserve.experiments.report.process import ReportProcess
from recserve.outcomes.daily.schedule import DayCounting
from recserve.plugin.registry import PluginInfo, Registry
from recserve.serving.guard.workers import WorkerPool
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.telemetry.instruments import (
    CONTEXTS_LOST,
    EXPOSURES,
    EXPOSURES_LOST,
    OBSERVATIONS_DROPPED,
    QUEUE_LENGTH,
)
from recserve.telemetry.metrics import Metrics
from recserve.training.promotion.process import ComparisonProcess
from recserve_deployments.batching import RequestBatcher
from recserve_deployments.client import StageHandle
from recserve_deployments.replica.bundle_watcher import BundleHost
from recserve_deployments.replica.observers import Observers
from recserve_deployments.replica.spec import Opened

logger = logging.getLogger(__name__)

_PING_SECONDS = 1.0
_STALLED_SECONDS = 30.0


class GraphBackend(StoredBackend):
    """:class:`recserve.api.Backend` over micro-batches of the current bundle's pipeline.

    Args:
        opened: Store and configuration.
        bundles: The pipelines.
        stages: Stages in other replicas, by name; empty when everything runs in this process.
        pool: Threads in which plugin code of this process runs.
        metrics: Where batches and exposures are counted.
    """

    def __init__(
        self,
        opened: Opened,
        bundles: BundleHost[Pipeline],
        stages: Mapping[str, StageHandle],
        pool: WorkerPool,
        metrics: Metrics,
    ) -> None:
        config = opened.config
        self._reporting = ReportProcess(config, opened.home)
        self._comparing = ComparisonProcess(config, opened.home)
        reports = ReportDesk(config, self._reporting.outcomes, self._reporting.experiment)
        super().__init__(
            opened.store,
            lambda: bundles.current.part,
            config.scenarios,
            reports,
            metrics,
            lambda: bundles.served,
        )
        self.bundles = BundleDesk(
            opened.store,
            opened.repository,
            opened.home,
            self._comparing.findings,
            self._comparing.difference,
        )
        self.configuration = ConfigurationDesk(config, self._registry)
        self._served_bundles = bundles
        self._stages = stages
        self._pool = pool
        self._observers = Observers(opened.registry)
        self._answers = RequestBatcher(opened.config.server, self._pipeline_of, self.answered, metrics)
        for scenario in opened.config.scenarios:
            # From zero on, so that a rate sees the first one.
            metrics.count(EXPOSURES, scenario, by=0)
            metrics.count(EXPOSURES_LOST, scenario, by=0)
            metrics.count(CONTEXTS_LOST, scenario, by=0)
        metrics.watch(QUEUE_LENGTH, lambda: {(): len(self._answers)})
        metrics.watch(OBSERVATIONS_DROPPED, lambda: {(): self._observers.dropped})
        self._discovered: Registry | None = None
        self._discovering = threading.Lock()
        counting = DayCounting(opened.store, config, self._reporting.count_days)
        self._counting = asyncio.get_running_loop().create_task(counting.run())

    @property
    def stalled(self) -> bool:
        """Whether batches run and none has ended for longer than all deadlines together allow."""
        return self._answers.stalled(_STALLED_SECONDS)

    def _pipeline_of(self, request: Request) -> Pipeline:
        """The pipeline of the bundle that a request or its arm asks for, else of the current one.

        Raises:
            NotFoundError: The bundle that the request asks for is not loaded.
            NotReadyError: The bundle of its arm is not loaded, or no longer.
        """
        if request.bundle is not None:
            loaded = self._served_bundles.ids
            if request.bundle not in loaded:
                raise not_loaded(request.bundle, loaded)
            return self._served_bundles.part_of(request.bundle)
        bundle = None if request.arm is None else request.arm.definition.bundle
        return self._served_bundles.current.part if bundle is None else self._served_bundles.part_of(bundle)

    @property
    def busy(self) -> bool:
        """Whether some batch runs or waits."""
        return self._answers.busy

    async def answer(self, request: Request) -> Recommendation:
        """See :class:`recserve.serving.requests.arms.answers.AnsweringHost`."""
        return await self._answers.answer(request)

    def log_answers(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Log what was shown to whom, and tell the plugins that want to know."""
        super().log_answers(pipeline, served, asked)
        self._observers.recommended([answer for _, answer in served])

    async def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`recserve.api.Backend.add_events`."""
        stored = await super().add_events(events)
        self._observers.stored(events)
        return stored

    async def sample_users(self, limit: int) -> Sequence[str]:
        """Users of the newest events; none while the store cannot be reached."""
        try:
            return await self.read_store(self._store.recent_users, limit)
        except StoreError:
            return []

    async def plugins(self) -> Sequence[PluginInfo]:
        """All installed plugins; those that this replica does without are loaded when first asked for."""
        return (await asyncio.to_thread(self._registry)).plugins

    def _registry(self) -> Registry:
        """All installed components; blocks the first time."""
        with self._discovering:
            if self._discovered is None:
                self._discovered = Registry.discover()
            return self._discovered

    async def ready(self) -> Readiness:
        """Ready with a bundle: a stage or a store that is down only makes answers less personal."""
        details: dict[str, str] = {}
        bundle: str | None = None
        try:
            bundle = self._served_bundles.current.bundle.id
        except NotReadyError as error:
            details["bundle"] = error.message
        problem = await self.store_problem()
        if problem is not None:
            details["store"] = problem
        pings = await asyncio.gather(*(stage.alive(_PING_SECONDS) for stage in self._stages.values()))
        stages = dict(zip(self._stages, pings, strict=True))
        details.update({name: "does not answer" for name, alive in stages.items() if not alive})
        details.update({lane: f"{count} calls hang" for lane, count in self._pool.stuck.items()})
        if self.stalled:
            details["batches"] = "do not end"
        return Readiness(
            ready=bundle is not None and not self.stalled,
            bundle=bundle,
            store="store" not in details,
            stages=stages,
            details=details,
        )

    async def live(self) -> bool:
        """Whether requests get their answers; that the event loop runs is not enough."""
        return not self.stalled

    async def close(self) -> None:
        """Finish the batches in flight and write what is waiting."""
        self._counting.cancel()
        await self.arms.close()
        await self._answers.close()
        await asyncio.to_thread(self._observers.close)
        await asyncio.to_thread(self._reporting.close)
        await asyncio.to_thread(self._comparing.close)
        await asyncio.to_thread(self._store.close)
