"""The short way to handlers that take the request alone, past FastAPI's router and dependency injection."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from recserve.api.middleware.errors import answer_error
from recserve.config import nearest
from recserve.errors import InvalidRequestError, RecserveError


class PlainRoutes:
    """Middleware that looks up method and path in a dictionary; what it does not have goes on to FastAPI.

    FastAPI has these routes all the same: it documents them, refuses wrong methods, and serves them where a
    proxy's prefix makes their path another one.

    Args:
        app: The application inside.
        routes: Routes without parameters whose handlers take the request alone.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._routes = {(method, route.path): route for route in routes for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            if scope["query_string"]:
                refuse_others(request, ())
            response = await route.endpoint(request)
        except RecserveError as error:
            response = answer_error(request, error)
        await response(scope, receive, send)


def refuse_others(request: Request, known: Collection[str]) -> None:
    """Refuse query parameters that a route does not have: a misspelt one must not be passed over.

    Raises:
        InvalidRequestError: There is one.
    """
    for name in request.query_params:
        if name not in known:
            shown = name[:80]
            hint = nearest(shown, known) or " (there are none)"
            raise InvalidRequestError(f"unknown query parameter {shown!r}{hint}", field=shown)
