"""Errors of authentication, with their HTTP statuses."""

from __future__ import annotations

from typing import ClassVar

from recserve.errors import RecserveError, StoreError


class UnauthorizedError(RecserveError):
    """401: no API key, or an invalid one."""

    code = "unauthorized"
    status = 401


class SignatureError(RecserveError):
    """401: a webhook's body that was not signed with the secret of its hook, or too long ago."""

    code = "invalid_signature"
    status = 401


class ForbiddenError(RecserveError):
    """403: a valid key without the scope that the call needs."""

    code = "forbidden"
    status = 403


class UncheckedKeyError(StoreError):
    """A key that may have been revoked: the store could not be asked for too long."""


class RateLimitedError(RecserveError):
    """429: a key beyond its rate limit.

    Args:
        message: One line for the person who has to act.
        retry_after: Seconds until the next call is let in.
    """

    code: ClassVar[str] = "rate_limited"
    status = 429

    def __init__(self, message: str, *, retry_after: int = 1, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after
