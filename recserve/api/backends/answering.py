"""The part of a backend that answers requests, by the arms of experiments, and logs what was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import ParamSpec, TypeVar

from recserve.api.backends.desks.experiments import ExperimentDesk
from recserve.api.backends.desks.reports import ReportDesk
from recserve.api.backends.desks.vector_map import VectorMap
from recserve.api.backends.exposures import ExposureLog
from recserve.api.backends.newest import NewestItems
from recserve.api.backends.store_threads import StoreThreads
from recserve.api.pagination import Cursors
from recserve.errors import NotFoundError, NotReadyError, OutcomeUnknownError, StoreError
from recserve.experiments.administration import GUARDRAIL
from recserve.experiments.assignment import AssignedArm
from recserve.experiments.follower import ExperimentFollower
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.arms.answers import ArmAnswers
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.store import Exposure, Store
from recserve.telemetry.metrics import Metrics

T = TypeVar("T")
P = ParamSpec("P")

_PING_SECONDS = 1.0


class AnsweringBackend:
    """Answers of a pipeline, with a store beside it. Hosts say how a request is answered.

    Args:
        store: The store; not closed here.
        pipeline: The pipeline in service. Writes do without it while it raises NotReadyError.
        scenarios: Names of the configured scenarios.
        reports: Makes reports.
        metrics: Where exposures are counted; None makes some that nobody reads.
        bundles: Bundles that arms of experiments may name now.
    """

    def __init__(
        self,
        store: Store,
        pipeline: Callable[[], Pipeline],
        scenarios: Collection[str],
        reports: ReportDesk,
        metrics: Metrics | None = None,
        bundles: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.cursors = Cursors(store.secret("cursors"))
        self._store = store
        self._served = pipeline
        self.reports = reports
        self.vectors = VectorMap(pipeline, store)
        self.metrics = metrics or Metrics()
        # Threads of their own: a store that hangs must not take those that stages need, and writes that
        # wait for a lock must not stop reads, which on SQLite need none.
        self._readers = StoreThreads("store-reads", threads=16, queue=256)
        # Many, because writes that wait together are made durable together.
        self._writers = StoreThreads("store-writes", threads=32, queue=256, late=OutcomeUnknownError)
        self._exposures = ExposureLog(store, self.metrics)
        follower = ExperimentFollower(store, scenarios, bundles)
        self.arms = ArmAnswers(follower, self, lambda: self._served().context.default_scenario, self.metrics)
        self.newest = NewestItems(pipeline, store)
        self.experiments = ExperimentDesk(store, self._readers, self._writers, pipeline, follower)

    async def read_store(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a reading method of the store without blocking the event loop."""
        return await self._readers.run(partial(call, *arguments, **named))

    async def write_store(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a writing method of the store without blocking the event loop."""
        return await self._writers.run(partial(call, *arguments, **named))

    def _pipeline(self) -> Pipeline | None:
        try:
            return self._served()
        except NotReadyError:
            return None

    async def store_problem(self) -> str | None:
        """What is wrong with the store in one line, None if it answers."""
        try:
            await asyncio.wait_for(self.read_store(self._store.ping), _PING_SECONDS)
        except StoreError as error:
            return error.message
        except TimeoutError:
            return f"no answer within {_PING_SECONDS:g} s"
        return None

    @property
    def busy(self) -> bool:
        """See :class:`recserve.serving.requests.arms.answers.AnsweringHost`."""
        return False

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request by the arm that it carries; hosts say how."""
        raise NotImplementedError

    async def recommend(self, request: Request) -> Recommendation:
        """See :meth:`recserve.api.Backend.recommend`."""
        if request.told is not None:  # shown to nobody, so no arm's answer either
            return await self.answer(request)
        return await self.arms.answer(request)

    def answered(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Note what was answered to whom; returns at once.

        Args:
            pipeline: The pipeline that answered.
            served: Requests and their answers.
            asked: When they were asked for.
        """
        shown = [(request, answer) for request, answer in served if request.told is None]
        if len(shown) < len(served):
            for request, answer in served:
                if request.told is not None:
                    request.told(answer, asked)
        if shown:
            self.log_answers(pipeline, shown, asked)

    def shown(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log a page that was put together of several answers."""
        self.log_answers(self._served(), [(request, answer)], asked)

    def shadowed(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log an answer that nobody was shown."""
        self._exposures.shadow(request, answer, asked)

    async def exposure(self, recommendation_id: str) -> Exposure | None:
        """What an answer showed, by whichever process."""
        return await self.read_store(self._store.exposures, recommendation_id)

    async def stop_arm(self, arm: AssignedArm, reason: str) -> None:
        """Have the store stop an arm that a guardrail found wanting."""
        await self.experiments.stop(arm.experiment or "", reason, arm.name, GUARDRAIL)

    def log_answers(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Log what was shown to whom; returns at once.

        Args:
            pipeline: The pipeline that answered.
            served: Requests and their answers.
            asked: When they were asked for.
        """
        self._exposures.shown(pipeline, served, asked)


def not_loaded(bundle: str, loaded: Sequence[str]) -> NotFoundError:
    """What a request is told that asks for a bundle which is not loaded here."""
    return NotFoundError(f"bundle {bundle!r} is not loaded; loaded: {', '.join(loaded)}", field="bundle")
