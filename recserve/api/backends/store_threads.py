"""Threads that call a store for an event loop, with a bounded queue in front of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from recserve.errors import OverloadedError, StoreError

T = TypeVar("T")

# Together less than a request may take, so that its client hears what became of it.
BEGIN_SECONDS = 4.0
END_SECONDS = 22.0


class StoreBusyError(StoreError):
    """The threads of a store are all taken and so is every place in their queue; nothing was begun."""

    code = OverloadedError.code


class StoreThreads:
    """A pool of threads for one kind of call.

    Args:
        name: Name of the threads.
        threads: Calls that run at a time.
        queue: Further calls that may wait for a thread.
        begin_seconds: A call that has no thread by then never runs.
        end_seconds: A call that runs is waited for so much longer at most.
        late: Raised when it is not done by then.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue: int,
        begin_seconds: float = BEGIN_SECONDS,
        end_seconds: float = END_SECONDS,
        late: type[StoreError] = StoreError,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads + queue
        self._inside = 0
        self._lock = threading.Lock()
        self._begin_seconds = begin_seconds
        self._end_seconds = end_seconds
        self._late = late

    async def run(self, call: Callable[[], T]) -> T:
        """Call in a thread, without blocking the event loop.

        Raises:
            StoreBusyError: There is no room, or no thread became free in time; the call never runs.
            StoreError: What the call raised, or it takes too long.
        """
        work = self._submit(call)
        try:
            done = asyncio.wrap_future(work)
            # What comes when nobody waits any more is not an error that nobody looked at.
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            await asyncio.wait({done}, timeout=self._begin_seconds)
            if not done.done() and work.cancel():
                raise StoreBusyError(f"no thread for the store became free within {self._begin_seconds:g} s")
            await asyncio.wait({done}, timeout=self._end_seconds)
            if not done.done():
                raise self._late(f"the store has not answered for {self._end_seconds:g} s")
            return done.result()
        finally:
            work.cancel()  # nobody waits any more: what has not begun never will

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._inside >= self._most:
                raise StoreBusyError(f"{self._inside} calls of the store are waiting already")
            self._inside += 1
        work = self._pool.submit(call)
        work.add_done_callback(self._left)
        return work

    def _left(self, work: Future[T]) -> None:
        with self._lock:
            self._inside -= 1
