"""Circuit breaker and budget of a client: when it does not even ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class CircuitBreaker:
    """Breaker that opens after failures in a row and lets a single call through now and then.

    Args:
        failures: Failures in a row that open it.
        pauses: First and longest time that it stays open, seconds; the time doubles with each failed trial.
        clock: The time, seconds.
    """

    def __init__(
        self,
        failures: int = 5,
        pauses: tuple[float, float] = (1.0, 60.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._pauses = pauses
        self._clock = clock
        self._lock = Lock()
        self._in_a_row = 0
        self._pause = pauses[0]
        self._retry_at = 0.0

    def admits(self) -> bool:
        """Whether a call may be made; while it is open, one trial a pause."""
        with self._lock:
            if self._in_a_row < self._failures:
                return True
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause
            return True

    def succeeded(self) -> None:
        """Note a call that was answered."""
        with self._lock:
            self._in_a_row, self._pause = 0, self._pauses[0]

    def failed(self) -> None:
        """Note a call that was not."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row >= self._failures:
                self._retry_at = self._clock() + self._pause
                self._pause = min(2 * self._pause, self._pauses[1])


class Budget:
    """Token bucket of calls: what a minute allows may come at once, and then evenly.

    Args:
        a_minute: Calls a minute; None for no limit.
        clock: The time, seconds.
    """

    def __init__(self, a_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._lock = Lock()
        self._left = max(a_minute or 0.0, 1.0)
        self._filled = clock()

    def take(self) -> bool:
        """Whether one more call is within the budget; if so it is spent."""
        if self._a_minute is None:
            return True
        with self._lock:
            now = self._clock()
            grown = self._left + (now - self._filled) * self._a_minute / 60.0
            self._left, self._filled = min(grown, max(self._a_minute, 1.0)), now
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True
