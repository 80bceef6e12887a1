"""Ends requests that take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


class Deadlines:
    """:func:`asyncio.timeout` for many tasks of one event loop, with a single timer.

    A timer for each request would take a tenth of the time of a cached answer. All have the same time, so
    they are over in the order in which they came.

    Args:
        loop: The event loop.
        seconds: How long each may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self.seconds = seconds
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, work: Awaitable[None]) -> None:
        """Await something in the current task.

        Raises:
            TimeoutError: It was not done in time and was cancelled.
        """
        task = asyncio.current_task(self.loop)
        assert task is not None
        end = self._ends[task] = self.loop.time() + self.seconds
        if self._timer is None:
            self._timer = self.loop.call_at(end, self._expire)
        try:
            await work
        except asyncio.CancelledError:
            if task not in self._ends and not task.uncancel():
                raise TimeoutError from None
            raise  # somebody else cancelled it
        finally:
            self._ends.pop(task, None)

    def _expire(self) -> None:
        """Cancel what is over, and come back for the next."""
        self._timer = None
        now = self.loop.time()
        for task, end in list(self._ends.items()):
            if end > now:
                self._timer = self.loop.call_at(end, self._expire)
                return
            del self._ends[task]
            task.cancel()
