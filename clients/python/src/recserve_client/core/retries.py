"""When a call is sent again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

UNDECIDED = frozenset({"outcome_unknown", "timeout"})
"""Codes after which nobody knows whether the call was carried out."""

_BUSY = 503
_LIMITED = 429
_GATEWAY = frozenset({502, 504})


@dataclass(frozen=True)
class Retries:
    """How often a call is sent, and how long it may take in all.

    Waits grow exponentially with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015),
    so that clients that failed together do not come back together. A server that names a time by
    ``Retry-After`` is not asked earlier.

    Attributes:
        attempts: How often a call is sent at most; 1 never sends it again.
        first: Longest first wait, in seconds.
        longest: No single wait is longer; where the server asks for more, the call fails at once.
        total: Seconds since the call began after which no further wait begins.
    """

    attempts: int = 5
    first: float = 0.2
    longest: float = 10.0
    total: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if min(self.first, self.longest, self.total) < 0:
            raise ValueError("first, longest and total are seconds, not less than 0")

    def wait(self, attempt: int, elapsed: float, retry_after: float | None) -> float | None:
        """Seconds to wait after an attempt that failed; None gives up.

        Args:
            attempt: Number of the attempt, from 1.
            elapsed: Seconds since the call began.
            retry_after: What the server asks for, if anything.
        """
        if attempt >= self.attempts:
            return None
        # Jitter between clients, nothing secret.
        jitter = random.uniform(0, min(self.longest, self.first * 2 ** (attempt - 1)))
        wait = (retry_after or 0.0) + jitter
        if (retry_after or 0.0) > self.longest or elapsed + wait > self.total:
            return None
        return wait


def may_repeat(status: int, code: str, *, repeatable: bool) -> bool:
    """Whether a call that was answered by an error may be sent again.

    Args:
        status: HTTP status.
        code: The server's code.
        repeatable: Carrying the call out twice does no harm.
    """
    if status == _LIMITED:
        return True
    if status == _BUSY:
        # What something before the server answers says nothing of the call.
        return repeatable or code not in UNDECIDED | {"http_error"}
    return status in _GATEWAY and repeatable


def seconds_of(retry_after: str | None) -> float | None:
    """The header ``Retry-After``, seconds or a date (RFC 9110, 10.2.3), as seconds from now."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
