"""Waiting between attempts: ended by a request to stop, and by patience where there is any."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import TypeVar

from recserve.errors import RuntimeEnvironmentError

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 30.0
_CANCELLED_SECONDS = 5.0

T = TypeVar("T")


class StoppedError(Exception):
    """Somebody asked to end before something was done."""


class Stop:
    """Request to end, which waits are ended by. Made inside of the event loop that waits."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """End soon."""
        self._asked.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, or until somebody asks to end."""
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except TimeoutError:
            return

    async def unless(self, work: Awaitable[T], seconds: float) -> T:
        """The result of ``work``, which is cancelled when it takes too long or somebody asks to end.

        Raises:
            StoppedError: Somebody asked.
            TimeoutError: It took too long.
        """
        doing = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({doing, asked}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
        finally:
            asked.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing}, timeout=_CANCELLED_SECONDS)
        if self:
            raise StoppedError
        raise TimeoutError(f"nothing was heard for {seconds:g} s")


class Backoff:
    """Delays between attempts that failed: doubled up to half a minute, and of random length.

    Random, so that many processes do not all come at the same moment.

    Args:
        stop: Ends a wait.
        patience: Seconds without any success after which no further attempt is made; None waits for ever.
    """

    def __init__(self, stop: Stop, patience: float | None = None) -> None:
        self._stop = stop
        self._patience = patience
        self._failures = 0
        self._since = time.monotonic()

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0
        self._since = time.monotonic()

    @property
    def next_seconds(self) -> float:
        """Longest that the next wait may be."""
        return min(FIRST_SECONDS * 2.0**self._failures, LONGEST_SECONDS)

    async def wait(self, reason: str, at_least: float = 0.0) -> None:
        """Wait before the next attempt.

        Args:
            reason: What failed, for the error.
            at_least: Seconds that the other side asked for; the longest delay limits them.

        Raises:
            RuntimeEnvironmentError: Nothing has succeeded for as long as the patience.
        """
        self.check(reason)
        longest = self.next_seconds
        self._failures += 1
        await self._stop.sleep(min(max(random.uniform(longest / 2, longest), at_least), LONGEST_SECONDS))

    def check(self, reason: str) -> None:
        """Give up if nothing has succeeded for as long as the patience.

        Raises:
            RuntimeEnvironmentError: It has not.
        """
        failed_for = time.monotonic() - self._since
        if self._patience is not None and failed_for > self._patience:
            raise RuntimeEnvironmentError(f"gave up after {failed_for:.0f} s: {reason}")
