"""A short way for the busiest routes, past the framework's routing and dependency injection.

The routes are registered with FastAPI all the same, for the OpenAPI document and for wrong methods. They read
and validate their bodies themselves and use no dependencies, so the framework's handling does nothing for
them, yet it takes more time than they do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from recserve.api.middleware.errors import answer_error
from recserve.errors import RecserveError

Handler = Callable[[Request], Awaitable[Response]]


class FastLane:
    """Answers ``POST`` on some exact paths; all else goes on to the application.

    Args:
        app: The application inside.
        handlers: Path -> handler.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, Handler]) -> None:
        self._app = app
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        handler = None
        if scope["type"] == "http" and scope["method"] == "POST":
            handler = self._handlers.get(scope["path"])
        if handler is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except RecserveError as error:
            response = answer_error(request, error)
        await response(scope, receive, send)
