"""Typed client of recserve, a recommendation server.

:class:`Client` waits for its answers, :class:`AsyncClient` is for ``asyncio``; both have a method for every
call of the API. Answers are dataclasses (:mod:`recserve_client.answers`), errors are exceptions with the
server's code.
"""

from recserve_client.async_client import AsyncClient
from recserve_client.client import Client
from recserve_client.core.errors import (
    AnswerError,
    ClientError,
    ConflictError,
    EventsNotRecordedError,
    ForbiddenError,
    InvalidRequestError,
    NoAnswerError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from recserve_client.core.retries import Retries
from recserve_client.params import (
    ErrorCode,
    EventParam,
    ItemParam,
    ItemPatchParam,
    SessionStepParam,
    UserParam,
    UserPatchParam,
)

__all__ = [
    "AnswerError",
    "AsyncClient",
    "Client",
    "ClientError",
    "ConflictError",
    "ErrorCode",
    "EventParam",
    "EventsNotRecordedError",
    "ForbiddenError",
    "InvalidRequestError",
    "ItemParam",
    "ItemPatchParam",
    "NoAnswerError",
    "NotFoundError",
    "RateLimitedError",
    "Retries",
    "ServerError",
    "SessionStepParam",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UserParam",
    "UserPatchParam",
]
