"""The client for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from recserve_client.answers import Events
from recserve_client.async_calls import Calls
from recserve_client.core.connection import DEFAULT_TIMEOUT, headers
from recserve_client.core.errors import ClientError
from recserve_client.core.events import NONE, batches, not_recorded, recording, total, with_id
from recserve_client.core.retries import Retries
from recserve_client.core.sending import Call, Course
from recserve_client.params import EventParam

T = TypeVar("T")


class AsyncClient(Calls):
    """Client of a recserve server for ``asyncio``; use it with ``async with``, or :meth:`close` it.

    Calls are those of :class:`recserve_client.client.Client`. Tasks of one event loop can share one.

    Args:
        url: Address of the server, such as ``http://localhost:8000``, a proxy's prefix included.
        api_key: Key, where the server has keys.
        timeout: Seconds that one attempt may take to connect, and between two parts of the answer.
        retries: When a call that failed is sent again.
        transport: How requests are sent; httpx's own by default.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers(api_key), timeout=timeout, transport=transport
        )

    async def record_event(self, event: EventParam) -> Events:
        """Record one event.

        It is durable when this returns and counts in the very next recommendation. Without an ``event_id`` it
        gets one, so that a retry never counts twice.

        Args:
            event: The event.
        """
        return await self._send(recording([with_id(event)]))

    async def record_events(self, events: Iterable[EventParam], *, batch: int = 1_000) -> Events:
        """Record many events, a batch a call.

        Every event gets an ``event_id`` before it is first sent, unless it has one, so that a retry never
        counts twice. Each batch is stored as a whole or not at all.

        Args:
            events: The events, in any order of time; a generator is read batch by batch.
            batch: Most events of a call, up to 10,000.

        Raises:
            EventsNotRecordedError: A batch failed for good; ``remaining`` has what can be recorded once more.
        """
        recorded = NONE
        waiting = batches(events, batch)
        for one in waiting:
            try:
                recorded = total(recorded, await self._send(recording(one)))
            except ClientError as error:
                raise not_recorded(error, one, waiting, recorded) from error
        return recorded

    async def _send(self, call: Call[T]) -> T:
        course = Course(call, self._retries)
        while True:
            try:
                response = await self._http.send(course.request(self._http))
            except httpx.TransportError as error:
                wait = course.wait_after_failure(error)
            else:
                if response.is_success:
                    return course.answer(response)
                wait = course.wait_after_answer(response)
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
