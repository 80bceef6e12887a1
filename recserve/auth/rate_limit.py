"""Rate limit of one API key: a token bucket."""

from __future__ import annotations

BURST_SECONDS = 2.0


class TokenBucket:
    """Token bucket of one key: refilled at ``rate`` a second, up to two seconds' worth."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = self._most
        self._at = now

    @property
    def _most(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def take(self, now: float) -> float:
        """Take a token; returns the seconds until there is one, 0 if it was taken."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate
