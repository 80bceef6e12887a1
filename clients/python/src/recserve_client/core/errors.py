"""What can go wrong with a call, as exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recserve_client.params import EventParam


class ClientError(Exception):
    """Base of all errors of this client."""


class NoAnswerError(ClientError):
    """No answer came: the server cannot be reached, or took longer than the timeout.

    Attributes:
        attempts: How often the call was sent.
        maybe_done: The server may have got the call all the same.
    """

    def __init__(self, message: str, attempts: int, *, maybe_done: bool) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.maybe_done = maybe_done


class UnexpectedAnswerError(ClientError):
    """An answer that is not what this version of the client knows."""


class AnswerError(ClientError):
    """The server refused, or failed.

    Attributes:
        status: HTTP status.
        code: The server's stable code, such as ``invalid_request``, see
            :data:`recserve_client.params.ErrorCode`; ``http_error`` where something before the server
            answered.
        message: One line for people.
        field: The field at fault, where there is one.
        retry_after: Seconds after which the server wants to be asked again.
        request_id: Stands for the call in the server's log.
        attempts: How often the call was sent.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.request_id = request_id
        self.attempts = attempts


class InvalidRequestError(AnswerError):
    """400, 405, 413, 415 or 422: the call is wrong."""


class UnauthorizedError(AnswerError):
    """401: no API key, or one that is not good."""


class ForbiddenError(AnswerError):
    """403: the key may not do this."""


class NotFoundError(AnswerError):
    """404: no such item, user, scenario or experiment."""


class ConflictError(AnswerError):
    """409: it contradicts what is there."""


class RateLimitedError(AnswerError):
    """429: the key is used more often than it may be."""


class ServerError(AnswerError):
    """500 and other faults of the server, or of what stands before it."""


class UnavailableError(ServerError):
    """503: not now."""


class EventsNotRecordedError(ClientError):
    """Some events of many could not be recorded.

    Recording ``remaining`` once more is safe: these events have their ids, so none of them counts twice.

    Attributes:
        remaining: The events of the call that failed and of those that were not made.
        accepted: How many events the server had acknowledged before.
    """

    def __init__(self, cause: ClientError, remaining: Sequence[EventParam], accepted: int) -> None:
        super().__init__(f"{len(remaining)} events are not recorded ({accepted} are): {cause}")
        self.remaining = list(remaining)
        self.accepted = accepted


_KINDS: Mapping[int, type[AnswerError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidRequestError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    503: UnavailableError,
}


def answer_error(status: int, body: Any, text: str, **others: Any) -> AnswerError:
    """The error that an answer stands for.

    Args:
        status: HTTP status.
        body: The parsed body; None where it is not JSON.
        text: The body as text.
        others: Further arguments of :class:`AnswerError`.
    """
    kind = _KINDS.get(status, ServerError if status >= 500 else AnswerError)
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict) and isinstance(error.get("code"), str):
        return kind(status, error["code"], str(error.get("message", "")), field=error.get("field"), **others)
    return kind(status, "http_error", " ".join(text.split())[:200] or "no text", **others)
