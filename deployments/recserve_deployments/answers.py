"""Request batching: cached answers in one queue, answers that the stages make in another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from recserve.config import ServerConfig
from recserve.serving.pending import Asked, PendingRequest
from recserve.serving.pipeline import Pipeline
from recserve.serving.request import Recommendation, Request
from recserve_deployments.batching import MicroBatcher

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
