"""Builds the FastAPI application around a backend. Knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from starlette.convertors import CONVERTOR_TYPES, StringConvertor, register_url_convertor
from starlette.responses import Response

import recserve
from recserve.api import answers, errors, openapi, pages
from recserve.api.backend import Backend
from recserve.api.fastlane import FastLane
from recserve.api.models import EventBatchBody, EventBody, RecommendBody, SimilarBody
from recserve.api.routes import Routes
from recserve.api.settings import ApiSettings

_DESCRIPTION = """
Recommendations that follow what users do: post events, and the very next answer counts them.

Every error is `{"error": {"code", "message", "field"}}`. Unknown fields are refused. Ids are any non-empty
strings up to 10,000 characters. All times are UTC.
"""

_TAGS = [
    {"name": "recommendations", "description": "Ask for items."},
    {"name": "events", "description": "Tell what users do."},
    {"name": "catalogue", "description": "Look up items and users."},
    {"name": "server", "description": "Health and what is installed."},
]


class _AnyIdConvertor(StringConvertor):
    """Ids in paths: unlike ``path``, line breaks are part of an id and an id is never empty."""

    regex = r"[\s\S]+"


def create_app(backend: Backend | None = None, settings: ApiSettings | None = None) -> FastAPI:
    """Build the application.

    Args:
        backend: Answers the requests. A host that has none yet sets ``app.state.backend`` later; until then
            every route answers 503.
        settings: Settings; the defaults if None.
    """
    settings = settings or ApiSettings()
    app = FastAPI(
        title="recserve",
        version=recserve.__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        license_info={"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend = backend
    routes = Routes(settings)
    _add_routes(app, routes)
    pages.install(app)
    handlers = {"/v1/recommend": routes.recommend, "/v1/similar": routes.similar, "/v1/events": routes.events}
    app.add_middleware(FastLane, handlers=handlers)
    errors.install(app)
    app.openapi = lambda: _document_once(app, settings)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _document_once(app: FastAPI, settings: ApiSettings) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = openapi.document(app, settings)
    return app.openapi_schema


def _add_routes(app: FastAPI, routes: Routes) -> None:
    if "anyid" not in CONVERTOR_TYPES:
        register_url_convertor("anyid", _AnyIdConvertor())

    def add(
        method: str,
        path: str,
        handler: Callable[..., Awaitable[Response]],
        tag: str,
        summary: str,
        description: str,
        documented: dict[int | str, dict[str, Any]],
        extra: dict[str, Any] | None = None,
    ) -> None:
        app.add_api_route(
            path,
            handler,
            methods=[method],
            tags=[tag],
            summary=summary,
            description=description,
            operation_id=handler.__name__,
            # Handlers write their answers themselves; see recserve.api.answers.
            response_model=None,
            responses=documented,
            openapi_extra=extra,
        )

    add(
        "POST",
        "/v1/recommend",
        routes.recommend,
        "recommendations",
        "Recommend items",
        "For a user, a session, an item, free text, or any combination; with none of them, what is popular. "
        "If a part of the server is down the answer is less personal and `degraded` says so.",
        openapi.responses(answers.RecommendationAnswer, "Recommendations, best first.", 404, body=True),
        openapi.request_body(
            RecommendBody,
            examples={
                "A user": {"user_id": "42", "n": 10},
                "An anonymous session": {"session": ["260", {"item_id": "1196", "event": "like"}]},
                "Free text": {"query": "space opera with robots", "n": 5},
                "Everything": {"user_id": "42", "query": "funny", "exclude": ["1"], "explain": False},
            },
        ),
    )
    add(
        "POST",
        "/v1/similar",
        routes.similar,
        "recommendations",
        "Similar items",
        "Served by the scenario called `similar` if there is one, else by the default one.",
        openapi.responses(answers.RecommendationAnswer, "Similar items, best first.", 404, body=True),
        openapi.request_body(SimilarBody, examples={"Ten similar items": {"item_id": "260", "n": 10}}),
    )
    add(
        "POST",
        "/v1/events",
        routes.events,
        "events",
        "Record events",
        "One event, or up to 10,000 in `events`: all are stored, or none. They are durable when this answers "
        "and count in the very next recommendation.",
        openapi.responses(answers.EventsAnswer, "Stored.", body=True),
        openapi.request_body(
            EventBody,
            EventBatchBody,
            examples={
                "One event": {"user_id": "42", "item_id": "260", "event": "rating", "value": 5},
                "A batch": {
                    "events": [
                        {"user_id": "42", "item_id": "260", "event": "view", "event_id": "a1"},
                        {"user_id": "7", "item_id": "1196", "event": "like", "event_id": "a2"},
                    ]
                },
            },
        ),
    )
    _add_reading_routes(add, routes)


def _add_reading_routes(add: Callable[..., None], routes: Routes) -> None:
    add(
        "GET",
        "/v1/items/{item_id:anyid}",
        routes.item,
        "catalogue",
        "One item",
        "Its id, title and attributes.",
        openapi.responses(answers.ItemAnswer, "The item.", 404, 422),
    )
    add(
        "GET",
        "/v1/users/{user_id:anyid}/history",
        routes.history,
        "catalogue",
        "A user's history",
        "The newest events, newest first.",
        openapi.responses(answers.HistoryAnswer, "The events; none for an unknown user.", 422),
    )
    add(
        "GET",
        "/v1/plugins",
        routes.plugins,
        "server",
        "Installed plugins",
        "Where each comes from, what it contributes, and the JSON schema of every component's parameters.",
        openapi.responses(answers.PluginsAnswer, "The plugins."),
    )
    add(
        "GET",
        "/v1/about",
        routes.about,
        "server",
        "What this server can be asked",
        "Scenarios, event types with their scales, and a few users to try.",
        openapi.responses(answers.AboutAnswer, "What there is."),
    )
    add(
        "GET",
        "/v1/health/live",
        routes.live,
        "server",
        "Liveness",
        "Whether the process works; if not, restart it.",
        openapi.responses(answers.LiveAnswer, "It works."),
    )
    add(
        "GET",
        "/v1/health/ready",
        routes.ready,
        "server",
        "Readiness",
        "Whether requests should be sent here.",
        openapi.responses(answers.ReadyAnswer, "It is ready."),
    )
