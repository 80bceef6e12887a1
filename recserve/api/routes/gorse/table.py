"""Table of Gorse's routes: each path with its handler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from recserve.api.middleware.security import Access
from recserve.api.routes.gorse.access import GorseAccess
from recserve.api.routes.gorse.catalogue import ItemRoutes
from recserve.api.routes.gorse.feedback import FeedbackRoutes
from recserve.api.routes.gorse.people import UserRoutes
from recserve.api.routes.gorse.recommendations import RecommendationRoutes
from recserve.api.routes.gorse.wire.answers import answer
from recserve.api.routes.gorse.wire.errors import Handler, NotMappedError, in_plain_text
from recserve.api.routes.recommendations import backend_of
from recserve.api.settings import ApiSettings
from recserve.errors import NotReadyError

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def access(settings: ApiSettings) -> Sequence[Access]:
    """What keys must be good for; nothing where the routes are not wanted."""
    return [GorseAccess(settings.gorse.prefix)] if settings.gorse.enabled else []


def add_routes(app: FastAPI, settings: ApiSettings) -> None:
    """Add the routes, if they are wanted. The OpenAPI document, which is of own routes, leaves them out."""
    if not settings.gorse.enabled:
        return
    for method, path, handler in _routes(settings):
        # Clients write some paths with a slash at the end, where an empty category would be.
        for written in (path, f"{path}/"):
            _add(app, [method], f"{settings.gorse.prefix}{written}", handler)
    _add(app, _METHODS, f"{settings.gorse.prefix}/{{rest:path}}", _not_offered)


class _Route(Route):
    """A route that metrics know by its path, as they know those of FastAPI."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, found if match is Match.NONE else {**found, "route": self}


def _add(app: FastAPI, methods: list[str], path: str, handler: Handler) -> None:
    app.router.routes.append(_Route(path, in_plain_text(handler), methods=methods, include_in_schema=False))


def _routes(settings: ApiSettings) -> Iterator[tuple[str, str, Handler]]:
    recommendations = RecommendationRoutes(settings)
    feedback, users = FeedbackRoutes(settings), UserRoutes(settings)
    items = ItemRoutes(settings, recommendations)
    yield from (
        ("POST", "/user", users.insert),
        ("GET", "/user/{user_id}", users.show),
        ("PATCH", "/user/{user_id}", users.modify),
        ("DELETE", "/user/{user_id}", users.delete),
        ("GET", "/users", users.list_users),
        ("POST", "/users", users.insert_many),
        ("GET", "/user/{user_id}/feedback", feedback.of_user),
        ("GET", "/user/{user_id}/feedback/{feedback_type}", feedback.of_user),
        ("GET", "/user/{user_id}/neighbors", recommendations.similar_users),
        ("GET", "/user-to-user/{name}/{user_id}", recommendations.similar_users),
    )
    yield from (
        ("POST", "/item", items.insert),
        ("GET", "/item/{item_id}", items.show),
        ("PATCH", "/item/{item_id}", items.modify),
        ("DELETE", "/item/{item_id}", items.delete),
        ("GET", "/items", items.list_items),
        ("POST", "/items", items.insert_many),
        ("PUT", "/item/{item_id}/category/{category}", items.add_category),
        ("DELETE", "/item/{item_id}/category/{category}", items.remove_category),
        ("GET", "/item/{item_id}/feedback", feedback.of_item),
        ("GET", "/item/{item_id}/feedback/{feedback_type}", feedback.of_item),
        ("GET", "/item/{item_id}/neighbors", recommendations.similar),
        ("GET", "/item/{item_id}/neighbors/{category}", recommendations.similar),
        ("GET", "/item-to-item/{name}/{item_id}", recommendations.similar),
    )
    yield from (
        ("GET", "/feedback", feedback.list_feedback),
        ("POST", "/feedback", feedback.insert),
        ("PUT", "/feedback", feedback.overwrite),
        ("GET", "/feedback/{feedback_type}", feedback.list_feedback),
        ("GET", "/feedback/{user_id}/{item_id}", feedback.of_pair),
        ("DELETE", "/feedback/{user_id}/{item_id}", feedback.delete_of_pair),
        ("GET", "/feedback/{feedback_type}/{user_id}/{item_id}", feedback.of_pair_and_type),
        ("DELETE", "/feedback/{feedback_type}/{user_id}/{item_id}", feedback.delete_of_pair_and_type),
    )
    yield from (
        ("GET", "/recommend/{user_id}", recommendations.to_user),
        ("GET", "/recommend/{user_id}/{category}", recommendations.to_user),
        ("POST", "/session/recommend", recommendations.to_session),
        ("POST", "/session/recommend/{category}", recommendations.to_session),
        ("GET", "/popular", recommendations.popular),
        ("GET", "/popular/{category}", recommendations.popular),
        ("GET", "/latest", recommendations.latest),
        ("GET", "/latest/{category}", recommendations.latest),
        ("GET", "/non-personalized/{name}", recommendations.nobodys),
        ("GET", "/collaborative-filtering/{user_id}", recommendations.collaborative),
        ("GET", "/collaborative-filtering/{user_id}/{category}", recommendations.collaborative),
        ("GET", "/intermediate/recommend/{user_id}", recommendations.collaborative),
        ("GET", "/intermediate/recommend/{user_id}/{category}", recommendations.collaborative),
    )
    yield from (
        ("GET", "/measurements/{name}", _measurements),
        ("GET", "/health/live", _live),
        ("GET", "/health/ready", _ready),
    )


async def _live(request: Request) -> Response:
    """Answer ``GET /health/live``: the parts, whatever is wrong with them."""
    if not await backend_of(request).live():
        raise NotReadyError("the server cannot work any more; restart it")
    return answer(await _health(request))


async def _ready(request: Request) -> Response:
    """Answer ``GET /health/ready``."""
    health = await _health(request)
    told = answer(health)
    if not health["Ready"]:
        told.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return told


async def _health(request: Request) -> dict[str, object]:
    """The bundle takes the place of Gorse's cache, where its recommendations are."""
    readiness = await backend_of(request).ready()
    served = readiness.bundle is not None
    return {
        "Ready": readiness.ready,
        "DataStoreError": None if readiness.store else "the store cannot be used now",
        "CacheStoreError": None if served else "there is no bundle yet",
        "DataStoreConnected": readiness.store,
        "CacheStoreConnected": served,
    }


async def _measurements(request: Request) -> Response:
    raise NotMappedError(
        "there are no time series of measurements: outcomes by day are at GET /v1/reports/outcomes, metrics "
        "at GET /v1/metrics, and what a bundle is worth offline is in the report of its training"
    )


async def _not_offered(request: Request) -> Response:
    raise NotMappedError(
        f"{request.method} {request.url.path[:80]} is not offered here; see 'Migrate from Gorse' in the "
        "documentation"
    )
