"""Micro-batching in the ingress: the batcher, and its two queues for cached answers and for new ones.

An idle server answers a lone request at once. While the allowed number of batches is in flight, requests
queue; the next free place takes all of them (up to ``max_batch``) in one batch. Latency is traded for
throughput exactly as far as the load asks for it, and there is no timer to tune.

The queue is bounded in number and in time: who would wait for longer than a client is willing to is told so
at once, while there is time to ask elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from recserve.config import ServerConfig
from recserve.errors import NotReadyError, OverloadedError
from recserve.serving.batch import Asked, PendingRequest
from recserve.serving.pipeline import Pipeline
from recserve.serving.request import Recommendation, Request

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
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        max_batch: int,
        in_flight: int,
        max_queue: int,
        max_wait: float = float("inf"),
    ) -> None:
        if min(max_batch, in_flight, max_queue) < 1:
            raise ValueError("max_batch, in_flight and max_queue must be at least 1")
        self._run = run
        self._max_batch = max_batch
        self._in_flight = in_flight
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._pace = 0.0
        self._finished = 0.0
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
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
        self._queue.append((element, future))
        self._start_worker()
        return await future

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batches in flight finish."""
        self._closed = True
        while self._queue:
            _, future = self._queue.popleft()
            if not future.done():
                future.set_exception(NotReadyError("the server is shutting down"))
        while self._workers:
            await asyncio.wait(self._workers)

    def _full(self) -> bool:
        waiting = len(self._queue)
        return waiting >= self._max_queue or waiting // self._max_batch * self._pace > self._max_wait

    def _forget_withdrawn(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if not waiting[1].done())

    def _start_worker(self) -> None:
        if self._active < self._in_flight:
            if not self._active:
                self._finished = asyncio.get_running_loop().time()
            self._active += 1
            # The task first runs in the loop's next round, so calls made in this round share its batch.
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while batch := self._take():
                await self._answer(batch)
                self._note_pace()
        finally:
            # Here and not when the task is reaped: an element that comes in between needs a new worker.
            self._active -= 1

    def _note_pace(self) -> None:
        """How long after the last one this batch ended: with several in flight less than it took."""
        now = asyncio.get_running_loop().time()
        self._pace += _NEWEST * (now - self._finished - self._pace)
        self._finished = now

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                batch.append(waiting)
        return batch

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        futures = [future for _, future in batch]
        try:
            results = await self._run([element for element, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} got {len(results)} results")
        except Exception as error:
            _fail(futures, error)
            return
        except BaseException:
            for future in futures:
                future.cancel()
            raise
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
class _Waiting:
    """A request whose answer has to be made, and the pipeline that makes it."""

    pipeline: Pipeline
    asked: PendingRequest


class RequestBatcher:
    """Both halves of :meth:`recserve.serving.pipeline.Pipeline.recommend`, each with a queue of its own.

    An answer from memory takes a fraction of a millisecond, one that stages make takes hundreds of them on a
    busy machine: in one batch all would wait for the slowest. And an answer that many ask for is made once:
    made for each of them it would take the longer, and so be asked for by even more.

    Args:
        server: Limits of both queues.
        current: The pipeline of the moment; a request stays with the one that it began with.
        note: Called once for each answer that is given.
    """

    def __init__(self, server: ServerConfig, current: Callable[[], Pipeline], note: Note) -> None:
        limits = (server.max_batch, server.batches_in_flight, server.max_queue, server.max_wait_ms / 1000)
        self._current = current
        self._note = note
        self._recalling = MicroBatcher[Request, Recommendation | _Waiting](self._recall, *limits)
        self._making = MicroBatcher[_Waiting, Recommendation](self._make, *limits)
        self._under_way: dict[Hashable, asyncio.Future[Recommendation | None]] = {}

    def __len__(self) -> int:
        """Requests that wait for a place in a batch."""
        return len(self._recalling) + len(self._making)

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request.

        Raises:
            RecserveError: The request is wrong, or too many wait already; see :class:`MicroBatcher`.
        """
        found = await self._recalling.submit(request)
        while isinstance(found, _Waiting):
            found = await self._made_once(found)
        return found

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batches in flight finish."""
        await self._recalling.close()
        await self._making.close()

    async def _made_once(self, waiting: _Waiting) -> Recommendation | _Waiting:
        """Have an answer made, or wait for who is having it made; ``waiting`` if that one gave up."""
        same = waiting.asked.same
        if same is None:
            return await self._making.submit(waiting)
        if (first := self._under_way.get(same)) is not None:
            # Who stops waiting must not stop the others.
            answer = await asyncio.shield(first)
            if answer is None:
                return waiting
            answer = answer.again()
            self._tell(waiting.pipeline, [waiting.asked.request], [answer], waiting.asked.moment.asked)
            return answer
        first = self._under_way[same] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._making.submit(waiting)
            first.set_result(answer)
            return answer
        except Exception as error:
            first.set_exception(error)
            first.exception()  # nobody else need have asked
            raise
        finally:
            del self._under_way[same]
            if not first.done():
                first.set_result(None)

    async def _recall(self, requests: list[Request]) -> Sequence[Recommendation | _Waiting | Exception]:
        pipeline = self._current()
        asked, found = await pipeline.recall(requests)
        self._tell(pipeline, requests, found, asked)
        return [_Waiting(pipeline, one) if isinstance(one, PendingRequest) else one for one in found]

    async def _make(self, waiting: list[_Waiting]) -> Sequence[Recommendation | Exception]:
        made: dict[_Waiting, Recommendation | Exception] = {}
        for pipeline in {id(one.pipeline): one.pipeline for one in waiting}.values():
            mine = [one for one in waiting if one.pipeline is pipeline]
            answers = await pipeline.make([one.asked for one in mine])
            requests = [one.asked.request for one in mine]
            # The earliest of all: who was deleted since then stays so.
            moments = [one.asked.moment.asked for one in mine]
            asked = Asked(min(one.at for one in moments), min(one.deletions for one in moments))
            self._tell(pipeline, requests, answers, asked)
            made.update(zip(mine, answers, strict=True))
        return [made[one] for one in waiting]

    def _tell(
        self,
        pipeline: Pipeline,
        requests: Sequence[Request],
        answers: Sequence[Recommendation | PendingRequest | Exception],
        asked: Asked,
    ) -> None:
        served = [
            (request, answer)
            for request, answer in zip(requests, answers, strict=True)
            if isinstance(answer, Recommendation)
        ]
        if served:
            self._note(pipeline, served, asked)
