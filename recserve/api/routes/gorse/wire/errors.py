"""Errors as Gorse words them: a line of plain text with a status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.errors import ErrorResponse, told
from recserve.errors import InvalidRequestError, RecserveError

Handler = Callable[[Request], Awaitable[Response]]


class NotMappedError(RecserveError):
    """A call of Gorse's that this server cannot do."""

    code = "not_mapped"
    status = HTTPStatus.NOT_IMPLEMENTED


def in_plain_text(handler: Handler) -> Handler:
    """A handler whose errors are plain text; what is wrong with a call's content is 400, as in Gorse."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except RecserveError as error:
            return plain_text(error, told(request, error))

    return answered


def plain_text(error: RecserveError, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that is an error."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, InvalidRequestError) else error.status
    return ErrorResponse(error.code, message, status, headers, "text/plain; charset=utf-8")
