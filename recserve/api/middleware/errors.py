"""Every error leaves as ``{"error": {"code", "message", "field"}}``, one line, no internals."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recserve.api.middleware.deadlines import Deadlines
from recserve.api.schemas.responses import dumps
from recserve.auth.errors import SignatureError
from recserve.config import LANGUAGE, location, nearest
from recserve.errors import (
    InvalidRequestError,
    OutcomeUnknownError,
    OverloadedError,
    RecserveError,
    StoreError,
)
from recserve.telemetry.instruments import ERRORS
from recserve.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 1
REQUEST_SECONDS = 28.0
"""How long a request may take, its body included: less than Serve allows, so that its client gets JSON."""

SEND_AGAIN = (
    "whether a write was stored is not known, so send it again: what is there already, such as an event with "
    "the same event_id, does not count twice"
)
_SHOWN = 80


class MalformedJsonError(RecserveError):
    """The body is not JSON at all."""

    code = "malformed_json"
    status = 400


class UnsupportedMediaTypeError(RecserveError):
    """The body is declared as something other than plain JSON."""

    code = "unsupported_media_type"
    status = 415


class RequestTimeoutError(RecserveError):
    """A request that is not done when its time is over."""

    code = "timeout"
    status = 503


class BodyTooLargeError(RecserveError):
    """The body is longer than the server accepts."""

    code = "body_too_large"
    status = 413


def answer_error(request: Request, error: RecserveError) -> Response:
    """Tell the client, and the log if it is not the client's mistake."""
    headers = {"WWW-Authenticate": "Signature"} if isinstance(error, SignatureError) else None
    return envelope(error.status, error.code, told(request, error), error.field, headers)


def told(request: Request, error: RecserveError) -> str:
    """What the client is told, after the log was told if it is not the client's mistake."""
    # A line for each refusal would make an overload worse, and what is not offered is the caller's to know;
    # metrics count them.
    silent = error.code == OverloadedError.code or error.status == HTTPStatus.NOT_IMPLEMENTED
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not silent:
        logger.warning("%s %s: %s: %s", request.method, _shown_path(request.scope), error.code, error)
    # Where the database is, and what it said, is for the log.
    if isinstance(error, OutcomeUnknownError):
        return f"the store stopped answering; {SEND_AGAIN}"
    if isinstance(error, StoreError):
        return "the store cannot be used now; nothing was stored, come back in a moment"
    return error.message


def _shown_path(scope: Scope) -> str:
    """The path for a log: encoded again, because a line feed in it would begin a line of its own."""
    return quote(scope["path"][:200])


def envelope(
    status: int, code: str, message: str, field: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that is an error."""
    body = dumps({"error": {"code": code, "message": message, "field": field}})
    return ErrorResponse(code, body, status, headers)


class ErrorResponse(Response):
    """An answer that is an error, counted by its code when it is sent."""

    def __init__(
        self,
        code: str,
        body: bytes | str,
        status: int,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        sent = dict(headers or {})
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            sent.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        super().__init__(body, status, sent, media_type)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        metrics: Metrics = scope["app"].state.metrics
        metrics.count(ERRORS, self._code)
        await super().__call__(scope, receive, send)


def invalid(errors: Sequence[Mapping[str, Any]], known: Iterable[str]) -> InvalidRequestError:
    """Put pydantic's findings into one line about the first of them.

    Args:
        errors: As ``ValidationError.errors()`` gives them.
        known: Valid names where the first problem is, for the one nearest to an unknown field.
    """
    first = errors[0]
    field = _cut(location(first["loc"]))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = nearest(_cut(str(first["loc"][-1])), known)
        return InvalidRequestError(f"unknown field {field!r}{hint}{more}", field=field)
    return InvalidRequestError(f"{field or 'the body'} {_wording(first)}{more}", field=field or None)


def _wording(error: Mapping[str, Any]) -> str:
    """What is wrong, to be read after the field's name."""
    kind, message = error["type"], str(error["msg"])
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch" and LANGUAGE in message:
        return f"must be a language tag such as zh or zh-CN{_shown(error)}"
    if kind == "string_pattern_mismatch":
        return "must not hold a NUL character"
    if kind == "string_unicode":
        return "holds half of a surrogate pair, which is not valid Unicode"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"must be a JSON object{_shown(error)}"
    for start in ("Input should ", "String should ", "List should ", "Value should "):
        if message.startswith(start):
            return f"must {message.removeprefix(start)}{_shown(error)}"
    return f"is wrong: {message}"


def _shown(error: Mapping[str, Any]) -> str:
    """The offending value, where it is short enough to help."""
    value = error.get("input")
    if value is None or isinstance(value, (bool, int, float, str)):
        return f" (got {_cut(json.dumps(value, ensure_ascii=False))})"
    return ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class ErrorMiddleware:
    """Last line of defence: logs what nobody expected and answers 500 without details.

    Starlette's own handler would re-raise, and the host would log a second traceback or drop the connection.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._deadlines: Deadlines | None = None

    def _deadlines_here(self) -> Deadlines:
        """The deadlines of the running event loop: nearly always the only one that there ever is."""
        loop = asyncio.get_running_loop()
        if self._deadlines is None or self._deadlines.loop is not loop:
            self._deadlines = Deadlines(loop, REQUEST_SECONDS)
        return self._deadlines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._deadlines_here().keep(self._app(scope, receive, watched))
        except ClientDisconnect:
            logger.debug("client left before its request was complete")
        except TimeoutError:
            logger.warning(
                "%s %s is not done after %g s", scope["method"], _shown_path(scope), REQUEST_SECONDS
            )
            if started:
                raise
            text = f"not done after {REQUEST_SECONDS:g} s; {SEND_AGAIN}"
            response = envelope(RequestTimeoutError.status, RequestTimeoutError.code, text, None)
            await response(scope, receive, send)
        except Exception:
            logger.exception("unhandled error in %s %s", scope["method"], _shown_path(scope))
            if started:
                raise
            response = envelope(500, RecserveError.code, "internal error; see the server's log", None)
            await response(scope, receive, send)


async def _on_recserve_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecserveError)
    return answer_error(request, error)


async def _on_parameter_error(request: Request, error: Exception) -> Response:
    """A path or query parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    # The first part of a location is only "query" or "path".
    errors = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]
    return answer_error(request, invalid(errors, ()))


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the router itself answers: no such path, wrong method."""
    assert isinstance(error, HTTPException)
    path = _cut(request.url.path)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return envelope(404, "not_found", f"no such path {path}; see /docs", None)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.method} is not possible on {path}; allowed: {allowed}"
        return envelope(405, "method_not_allowed", message, None, error.headers)
    return envelope(error.status_code, "http_error", str(error.detail), None, error.headers)


def install(app: FastAPI) -> None:
    """Map every error of an application to the envelope."""
    app.add_exception_handler(RecserveError, _on_recserve_error)
    app.add_exception_handler(RequestValidationError, _on_parameter_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_middleware(ErrorMiddleware)
