"""Micro-batching in the ingress: the batcher, and its queues for cached answers and for new ones.

An idle server answers a lone request at once. While the allowed number of batches is in flight, requests
queue; the next free place takes all of them (up to ``max_batch``) in one batch. Latency is traded for
throughput exactly as far as the load asks for it, and there is no timer to tune.

The queue is bounded in number and in time: who would wait for longer than a client is willing to is told so
at once, while there is time to ask elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from recserve.config import ServerConfig
from recserve.errors import NotReadyError, OverloadedError, RecserveError
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.batch import Outcome, PendingRequest, Result
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.telemetry.instruments import BATCH_SIZE, QUEUE_SECONDS
from recserve.telemetry.metrics import Metrics

T = TypeVar("T")
R = TypeVar("R")

# How much the newest batch counts in what a batch takes.
_NEWEST = 0.25


class MicroBatcher(Generic[T, R]):
    """Groups concurrent calls of :meth:`submit` into batches. For one event loop; not thread-safe.

    Args:
        run: Answers a batch: as many results as it got elements, in order. A result that is an exception
            is raised to the caller of that element alone; an exception that ``run`` raises goes to every
            caller of that batch.
        max_batch: Elements a batch holds at most.
        in_flight: Batches that may run at the same time.
        max_queue: Elements that may wait for a place, beyond those in flight.
        max_wait: Seconds that an element may have to wait before its batch starts, by how long batches took
            lately. What fits into the next batch is always let in.
        begun: Told of each batch: its size, and the seconds that its first element waited.
        sharing: How many batchers share the places in flight at the moment, this one included; each has one
            at least.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        max_batch: int,
        in_flight: int,
        max_queue: int,
        max_wait: float = float("inf"),
        begun: Callable[[int, float], None] = lambda size, seconds: None,
        sharing: Callable[[], int] = lambda: 1,
    ) -> None:
        if min(max_batch, in_flight, max_queue) < 1:
            raise ValueError("max_batch, in_flight and max_queue must be at least 1")
        self._run = run
        self._max_batch = max_batch
        self._in_flight = in_flight
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._begun = begun
        self._sharing = sharing
        self._pace = 0.0
        self._finished = 0.0
        self._progress = 0.0
        self._queue: deque[tuple[T, asyncio.Future[R], float]] = deque()
        self._active = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """Elements that wait for a place."""
        return len(self._queue)

    async def submit(self, element: T) -> R:
        """Answer one element as part of some batch.

        Cancelling the caller withdraws an element that still waits.

        Raises:
            OverloadedError: The queue is full; nothing was queued.
            NotReadyError: The batcher was closed.
            Exception: What ``run`` returned for this element, or raised for its batch.
        """
        if self._closed:
            raise NotReadyError("the server is shutting down")
        if self._full():
            self._forget_withdrawn()
            if self._full():
                raise OverloadedError(
                    f"{len(self._queue)} requests are waiting already; try again in a moment"
                )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((element, future, time.monotonic()))
        self._start_worker()
        return await future

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batches in flight finish."""
        self._closed = True
        while self._queue:
            _, future, _ = self._queue.popleft()
            if not future.done():
                future.set_exception(NotReadyError("the server is shutting down"))
        while self._workers:
            await asyncio.wait(self._workers)

    @property
    def busy(self) -> bool:
        """Whether a batch runs or elements wait."""
        return self._active > 0 or bool(self._queue)

    def stalled(self, seconds: float) -> bool:
        """Whether batches run and none has ended for so long; for any thread."""
        return self._active > 0 and time.monotonic() - self._progress > seconds

    def _full(self) -> bool:
        waiting = len(self._queue)
        return waiting >= self._max_queue or waiting // self._max_batch * self._pace > self._max_wait

    def _forget_withdrawn(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if not waiting[1].done())

    def _places(self) -> int:
        return max(1, self._in_flight // self._sharing())

    def _start_worker(self) -> None:
        if self._active < self._places():
            if not self._active:
                self._finished = asyncio.get_running_loop().time()
                self._progress = time.monotonic()
            self._active += 1
            # The task first runs in the loop's next round, so calls made in this round share its batch.
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while self._active <= self._places() and (batch := self._take()):
                await self._answer(batch)
                self._note_pace()
        finally:
            # Here and not when the task is reaped: an element that comes in between needs a new worker.
            self._active -= 1

    def _note_pace(self) -> None:
        """How long after the last one this batch ended: with several in flight less than it took."""
        self._progress = time.monotonic()
        now = asyncio.get_running_loop().time()
        self._pace += _NEWEST * (now - self._finished - self._pace)
        self._finished = now

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        since = 0.0
        while self._queue and len(batch) < self._max_batch:
            element, future, queued = self._queue.popleft()
            if not future.done():
                since = since or queued
                batch.append((element, future))
        if batch:
            self._begun(len(batch), time.monotonic() - since)
        return batch

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        futures = [future for _, future in batch]
        try:
            results = await self._run([element for element, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} got {len(results)} results")
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            for future in futures:
                future.cancel()
            raise
        except BaseException as error:
            # Whatever it is, it must not end the worker: the next batch is waiting.
            _fail(futures, error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
            return
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def _fail(futures: Sequence[asyncio.Future[R]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


Note = Callable[[Pipeline, Sequence[tuple[Request, Recommendation]], Asked], None]
"""Told of answers: by which pipeline, to which requests, and when they were asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What became of a request so far, and the pipeline that it stays with."""

    pipeline: Pipeline
    outcome: Outcome


class RequestBatcher:
    """Batcher of the halves of :meth:`recserve.serving.pipeline.Pipeline.recommend`, with queues for each.

    A cached answer takes a fraction of a millisecond, one that the stages compute takes hundreds of them on a
    busy machine: in one batch all would wait for the slowest. And what many ask for is computed once:
    computed for each of them it would take the longer, and so be asked for by even more.

    Each scenario computes in batches of its own, so that a slow component of one holds up no other, and so do
    its requests with filter arguments: their masks may have to be computed. Arms of an experiment that change
    the scenario have batches of their own, too, so that a slow one holds up nobody who does not have it.
    While both are asked for they share the places in flight, or their batches would be many and small.

    Args:
        server: Limits of each queue.
        current: The pipeline that a request begins with now, and stays with.
        note: Called once for each answer that is given.
        metrics: Where batches are counted.
    """

    def __init__(
        self,
        server: ServerConfig,
        current: Callable[[Request], Pipeline],
        note: Note,
        metrics: Metrics | None = None,
    ) -> None:
        self._server = server
        self._current = current
        self._note = note
        self._metrics = metrics or Metrics()
        self._recalling = self._batcher("recall", self._recall)
        self._computing: dict[tuple[str, bool, bool], MicroBatcher[_Step, Recommendation]] = {}
        self._under_way: dict[Hashable, asyncio.Future[Recommendation | None]] = {}
        self._closed = False

    def __len__(self) -> int:
        """Requests that wait for a place in a batch."""
        return sum(len(batcher) for batcher in self._batchers())

    @property
    def busy(self) -> bool:
        """Whether some batch runs or waits."""
        return any(batcher.busy for batcher in self._batchers())

    def stalled(self, seconds: float) -> bool:
        """Whether some batches run and none of their kind has ended for so long."""
        return any(batcher.stalled(seconds) for batcher in self._batchers())

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request.

        Raises:
            RecserveError: The request is wrong, or too many wait already; see :class:`MicroBatcher`.
        """
        step = await self._recalling.submit(request)
        while step.outcome.pending is not None:
            step = await self._computed_once(step, step.outcome.pending)
        return _given(step.outcome)

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batches in flight finish."""
        self._closed = True
        for batcher in self._batchers():
            await batcher.close()

    def _batchers(self) -> list[MicroBatcher[Any, Any]]:
        return [self._recalling, *list(self._computing.values())]

    def _batcher(
        self,
        name: str,
        run: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        sharing: Callable[[], int] = lambda: 1,
    ) -> MicroBatcher[T, R]:
        server, metrics = self._server, self._metrics

        def begun(size: int, seconds: float) -> None:
            metrics.observe(BATCH_SIZE, size, name)
            metrics.observe(QUEUE_SECONDS, seconds, name)

        return MicroBatcher(
            run,
            max_batch=server.max_batch,
            in_flight=server.batches_in_flight,
            max_queue=server.max_queue,
            max_wait=server.max_wait_ms / 1000,
            begun=begun,
            sharing=sharing,
        )

    def _sharing(self, scenario: str, filtered: bool) -> int:
        """Batchers that are busy with requests of one kind: those of arms that change it, and all others."""
        lanes = (self._computing.get((scenario, filtered, changed)) for changed in (False, True))
        return max(1, sum(lane is not None and lane.busy for lane in lanes))

    async def _computed_once(self, step: _Step, pending: PendingRequest) -> _Step:
        """Have an answer computed, or wait for another request that does; ``step`` if that one gave up."""
        same = pending.deduplication_key
        if same is None:
            return await self._computed(step, pending)
        if (first := self._under_way.get(same)) is not None:
            # A caller that stops waiting must not stop the others.
            answer = await asyncio.shield(first)
            if answer is None:
                return step
            answer = answer.again()
            self._note(step.pipeline, [(pending.request, answer)], pending.snapshot.asked)
            return _Step(step.pipeline, Outcome(answer))
        first = self._under_way[same] = asyncio.get_running_loop().create_future()
        try:
            computed = await self._computed(step, pending)
            first.set_result(_given(computed.outcome))
            return computed
        except Exception as error:
            first.set_exception(error)
            first.exception()  # nobody else need have asked
            raise
        finally:
            del self._under_way[same]
            if not first.done():
                first.set_result(None)

    async def _computed(self, step: _Step, pending: PendingRequest) -> _Step:
        """Have plugins read the request's own wishes, then compute its answer in a batch."""
        outcome = await step.pipeline.prepare(pending)
        if outcome.pending is None:
            self._tell(step.pipeline, [pending.request], [outcome.result], pending.snapshot.asked)
            return _Step(step.pipeline, outcome)
        arm = pending.request.arm
        changed = arm is not None and arm.parameters is not None
        kind = (pending.scenario, bool(pending.request.filter))
        lane = (*kind, changed)
        batcher = self._computing.get(lane)
        if batcher is None:
            if self._closed:
                raise NotReadyError("the server is shutting down")
            batcher = self._computing[lane] = self._batcher(
                "compute", self._compute, lambda: self._sharing(*kind)
            )
        answer = await batcher.submit(_Step(step.pipeline, outcome))
        return _Step(step.pipeline, Outcome(answer))

    async def _recall(self, requests: list[Request]) -> Sequence[_Step | Exception]:
        found: dict[int, _Step | Exception] = {}
        groups: dict[int, tuple[Pipeline, list[int]]] = {}
        for place, request in enumerate(requests):
            try:
                pipeline = self._current(request)
            except RecserveError as error:
                found[place] = error
            else:
                groups.setdefault(id(pipeline), (pipeline, []))[1].append(place)
        for pipeline, places in groups.values():
            mine = [requests[place] for place in places]
            asked, outcomes = await pipeline.recall(mine)
            self._tell(pipeline, mine, [outcome.result for outcome in outcomes], asked)
            found.update(zip(places, (_Step(pipeline, outcome) for outcome in outcomes), strict=True))
        return [found[place] for place in range(len(requests))]

    async def _compute(self, steps: list[_Step]) -> Sequence[Recommendation | Exception]:
        results: dict[_Step, Result] = {}
        for pipeline in {id(step.pipeline): step.pipeline for step in steps}.values():
            mine = [step for step in steps if step.pipeline is pipeline]
            pending = [step.outcome.pending for step in mine if step.outcome.pending is not None]
            computed = await pipeline.compute(pending)
            requests = [waiting.request for waiting in pending]
            # The earliest of all: who was deleted since then stays so.
            moments = [waiting.snapshot.asked for waiting in pending]
            earliest = Asked(min(asked.at for asked in moments), min(asked.deletions for asked in moments))
            self._tell(pipeline, requests, computed, earliest)
            results.update(zip(mine, computed, strict=True))
        return [results[step] for step in steps]

    def _tell(
        self, pipeline: Pipeline, requests: Sequence[Request], results: Sequence[Result | None], asked: Asked
    ) -> None:
        served = [
            (request, result)
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, Recommendation)
        ]
        if served:
            self._note(pipeline, served, asked)


def _given(outcome: Outcome) -> Recommendation:
    """The answer of an outcome.

    Raises:
        RecserveError: It is an error.
    """
    if isinstance(outcome.result, RecserveError):
        raise outcome.result
    assert outcome.result is not None
    return outcome.result
