"""Builds the FastAPI application around a backend. Knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI

import recserve
from recserve.api import openapi
from recserve.api.backends.protocol import Backend
from recserve.api.middleware import errors, security
from recserve.api.middleware.plain import PlainRoutes
from recserve.api.routes.console import pages
from recserve.api.routes.gorse import table as gorse
from recserve.api.routes.tables import assembly
from recserve.api.settings import ApiSettings
from recserve.auth.keyring import Keyring
from recserve.telemetry.metrics import Metrics, Snapshot

_DESCRIPTION = """
Recommendations that follow what users do: post events, and the very next answer counts them.

Every error is `{"error": {"code", "message", "field"}}`. Unknown fields are refused. Ids are any non-empty
strings up to 10,000 characters. All times are UTC.

Once the server has an API key, every call needs one: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
"""


def create_app(
    backend: Backend | None = None,
    settings: ApiSettings | None = None,
    keyring: Keyring | None = None,
    metrics: Metrics | None = None,
    scrape: Callable[[], Awaitable[Sequence[Snapshot]]] | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        backend: Answers the requests. A host that has none yet sets ``app.state.backend`` later; until then
            every route answers 503.
        settings: Settings; the defaults if None.
        keyring: The API keys; None lets every call in.
        metrics: Where the application counts.
        scrape: Gathers what ``/v1/metrics`` and ``/v1/live`` show; None where ``metrics`` is all there is.
    """
    settings = settings or ApiSettings()
    app = FastAPI(
        title="recserve",
        version=recserve.__version__,
        description=_DESCRIPTION,
        openapi_tags=assembly.TAGS,
        license_info={"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend = backend
    app.state.metrics = metrics = metrics or Metrics()
    app.state.scrape = scrape or _scrape_of(metrics)
    plain = assembly.add_routes(app, settings)
    pages.install(app)
    app.add_middleware(PlainRoutes, routes=plain)
    gorse.add_routes(app, settings)
    security.install_guard(app, keyring, gorse.access(settings))
    errors.install(app)
    security.install_edge(app, metrics, settings.cors_origins, settings.returns_request_id)
    app.openapi = lambda: _document_once(app, settings)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _scrape_of(metrics: Metrics) -> Callable[[], Awaitable[Sequence[Snapshot]]]:
    async def scrape() -> Sequence[Snapshot]:
        return [metrics.snapshot()]

    return scrape


def _document_once(app: FastAPI, settings: ApiSettings) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = openapi.document(app, settings)
    return app.openapi_schema
