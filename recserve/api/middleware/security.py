"""What stands in front of every route: API keys, headers that browsers obey, cross-origin calls, counting.

Two ASGI middlewares. :class:`ResponseHeaders` is the outermost: it adds headers and counts. :class:`Guard`
is the last before the routes: it lets a call in or answers 401, 403 or 429. Between them
an answer to a cross-origin call gets its headers, so that a browser's script can read a refusal too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from recserve.api.middleware.errors import envelope
from recserve.auth.caller import ANONYMOUS, CALLER, NOBODY, Caller
from recserve.auth.errors import ForbiddenError, RateLimitedError, UnauthorizedError
from recserve.auth.keyring import Keyring
from recserve.errors import NotReadyError, RecserveError
from recserve.store import Scope
from recserve.telemetry.instruments import REQUEST_SECONDS, REQUESTS
from recserve.telemetry.metrics import Metrics
from recserve.telemetry.requests import (
    REQUEST_ID,
    TRACEPARENT,
    RequestContext,
    enter,
    leave,
    request_id_of,
)
from recserve.telemetry.tracing import recorder

_PUBLIC = frozenset({"/", "/docs", "/openapi.json", "/report-frame"})
# Hooks have signatures instead.
_PUBLIC_UNDER = ("/v1/health/", "/v1/hooks/", "/static/", "/docs/static/")
# Questions that are put as a POST because they are long.
_ANSWERING_POSTS = frozenset({"/v1/recommend", "/v1/similar", "/v1/rank"})
_ABOUT = "/v1/about"
_RECOMMEND_TO = "/v1/recommend/"
_USERS = "/v1/users"
_MERGE = "/merge"
_ITEMS = "/v1/items/"
_AUDIENCE = "/audience"
_ADMINISTERED = ("/v1/experiments", "/v1/bundles", "/v1/config")
_CONFIG = "/v1/config"
_HEALTH = "/v1/health/"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NOT_KEPT = (b"cache-control", b"no-store")


def is_public(path: str) -> bool:
    """Whether a path needs no key: health, hooks, the page, the documentation, and their files."""
    return path in _PUBLIC or path.startswith(_PUBLIC_UNDER)


def scope_needed(method: str, path: str) -> Scope:
    """What a key must be good for. A route that nobody thought of here counts as writing."""
    if method in ("GET", "HEAD", "OPTIONS"):
        if path == _CONFIG:
            return "admin"
        return "recommend" if path == _ABOUT or path.startswith(_RECOMMEND_TO) else "read"
    if method == "POST" and path in _ANSWERING_POSTS:
        return "recommend"
    if method == "POST" and path.startswith(_ITEMS) and path.endswith(_AUDIENCE):
        return "read"
    if path.startswith(_ADMINISTERED):
        return "admin"
    if path.startswith(_USERS) and (method == "DELETE" or path.endswith(_MERGE)):
        return "admin"
    return "write"


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that came with a request: ``Authorization: Bearer KEY``, else ``X-API-Key: KEY``."""
    other: str | None = None
    for name, value in headers:
        if name == b"authorization":
            kind, _, key = value.partition(b" ")
            if kind.lower() == b"bearer":
                return key.strip().decode("latin-1")
        elif name == b"x-api-key":
            other = value.strip().decode("latin-1")
    return other


def _path(connection: Connection) -> str:
    """The path that the router sees: without the prefix that a proxy was given for the whole server."""
    path: str = connection["path"]
    root: str = connection.get("root_path", "")
    if not root:
        return path
    root = root.rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path


class Access(Protocol):
    """Access to paths that speak another server's API.

    Attributes:
        under: What the paths begin with, a slash at its end.
    """

    under: str

    def scope(self, method: str, path: str) -> Scope | None:
        """What a key must be good for; None where none is needed."""
        ...

    def refusal(self, error: RecserveError, headers: Mapping[str, str]) -> ASGIApp:
        """The answer to a call that is not let in."""
        ...


class Guard:
    """Lets calls in that carry a good key.

    Args:
        app: The application inside.
        keyring: The keys.
        others: Access to the paths that are not this server's own.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, others: Sequence[Access] = ()) -> None:
        self._app = app
        self._keyring = keyring
        self._others = others

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        other = next((access for access in self._others if path.startswith(access.under)), None)
        needed = scope_needed(scope["method"], path) if other is None else other.scope(scope["method"], path)
        if path.startswith(_HEALTH) or needed is None:
            scope[CALLER] = self._welcome(scope)
        elif not is_public(path):
            try:
                scope[CALLER] = await self._admit(scope, needed)
            except RecserveError as error:
                headers = _headers_of(error)
                refused = other.refusal(error, headers) if other is not None else _refusal(error, headers)
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _welcome(self, connection: Connection) -> Caller:
        """Who asks for what anybody may ask; some are told more."""
        try:
            return self._checked(connection, presented_key(connection["headers"]), "read")
        except RecserveError:
            return NOBODY

    def _checked(self, connection: Connection, presented: str | None, needed: Scope) -> Caller:
        caller = self._keyring.admit(presented, needed)
        if caller.actor == ANONYMOUS:
            _check_host(connection["headers"])
        return caller

    async def _admit(self, connection: Connection, needed: Scope) -> Caller:
        presented = presented_key(connection["headers"])
        try:
            return self._checked(connection, presented, needed)
        except (UnauthorizedError, NotReadyError) as error:
            if presented is None and isinstance(error, UnauthorizedError):
                raise
            # The key may be newer than what is known here. All refused keys take this way, whatever is
            # wrong with them, so the time that it takes tells nothing.
            await self._keyring.look()
            return self._checked(connection, presented, needed)


def _check_host(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse calls without a key that were not meant for this machine.

    A page on the web can have its own name resolve to this machine's address, and its scripts then reach a
    server here past the browser's rules (DNS rebinding). Such calls carry the page's name.

    Raises:
        ForbiddenError: The ``Host`` header names another machine.
    """
    for name, value in headers:
        if name == b"host":
            host = value.decode("latin-1").lower()
            host = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
            if host not in _LOCAL:
                raise ForbiddenError(
                    f"without API keys this server answers calls to localhost only, not to {host[:80]!r}; "
                    "create a key with `recserve keys create`"
                )


def _headers_of(error: RecserveError) -> dict[str, str]:
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimitedError) else {}


def _refusal(error: RecserveError, headers: Mapping[str, str]) -> ASGIApp:
    return envelope(error.status, error.code, error.message, error.field, headers)


class ResponseHeaders:
    """Adds security headers to every answer and counts it.

    Args:
        app: The application inside.
        metrics: Counts.
        returns_request_id: See :class:`recserve.api.settings.ApiSettings`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, returns_request_id: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._returns_request_id = returns_request_id

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        request_id = request_id_of(headers)
        token = enter(RequestContext((request_id,)))
        # A connection that breaks before an answer counts as what proxies call "client closed request".
        status = 499
        extra = (*_HEADERS, _NOT_KEPT) if _path(scope).startswith("/v1/") else _HEADERS
        if self._returns_request_id:
            extra = ((REQUEST_ID, request_id.encode()), *extra)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = message.get("headers", ())
                names = {name for name, _ in there}
                added = [header for header in extra if header[0] not in names]
                message = {**message, "headers": [*there, *added]}
            await send(message)

        try:
            if (spans := recorder()) is None:
                await self._app(scope, receive, watched)
            else:
                with spans.request(dict(headers).get(TRACEPARENT)) as answered:
                    await self._app(scope, receive, watched)
                    answered(scope["method"], self._route(scope), status)
        finally:
            leave(token)
            route = self._route(scope)
            self._metrics.count(REQUESTS, route, str(status))
            self._metrics.observe(REQUEST_SECONDS, time.perf_counter() - started, route)

    def _route(self, scope: Connection) -> str:
        """A name out of a small set: ids in paths would make a time series each."""
        path = scope["path"]
        named = getattr(scope.get("route"), "path_format", None)
        if named is not None:
            return str(named)
        if path in _PUBLIC:
            return str(path)
        return next((f"{under}*" for under in _PUBLIC_UNDER if path.startswith(under)), "none")


def install_guard(app: FastAPI, keyring: Keyring | None, others: Sequence[Access] = ()) -> None:
    """Check keys before the routes. Comes before the error handling, which then surrounds it.

    Args:
        app: The application.
        keyring: The keys; None lets every call in, for a server that is embedded or tested.
        others: Access to the paths that are not this server's own.
    """
    if keyring is not None:
        app.add_middleware(Guard, keyring=keyring, others=others)


def install_edge(app: FastAPI, metrics: Metrics, origins: Sequence[str], returns_request_id: bool) -> None:
    """Add what surrounds even the error handling. Comes last.

    Args:
        app: The application.
        metrics: Counts.
        origins: Origins whose pages may call the API from a browser.
        returns_request_id: See :class:`recserve.api.settings.ApiSettings`.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-API-Version"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(ResponseHeaders, metrics=metrics, returns_request_id=returns_request_id)
