"""Background queue: work that nobody waits for, a piece at a time, with a bound on what waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundQueue(Generic[T]):
    """Bounded queue of work off the path of requests. For one event loop; not thread-safe.

    Args:
        work: Does one piece; what it raises is logged.
        size: Pieces that may wait.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]], size: int) -> None:
        self._work = work
        self._size = size
        self._waiting: deque[T] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Pieces that wait."""
        return len(self._waiting)

    def add(self, piece: T) -> bool:
        """Have a piece of work done later; False, and it is dropped, if too many wait."""
        if len(self._waiting) >= self._size:
            return False
        self._waiting.append(piece)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def drained(self) -> None:
        """Wait until all that was added so far is done."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def close(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._waiting:
            piece = self._waiting.popleft()
            try:
                await self._work(piece)
            except Exception:
                logger.exception("work in the background failed")
