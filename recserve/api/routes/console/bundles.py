"""Handlers of bundles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recserve.api.middleware.body import read, validate
from recserve.api.routes.recommendations import backend_of
from recserve.api.schemas import bundles as schemas
from recserve.api.schemas.responses import json_response
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of

_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
_EXAMPLES = [schemas.BUNDLE_ID]

BundleId = Annotated[str, Path(pattern=_ID, description="The bundle's id.", examples=_EXAMPLES)]
First = Annotated[str, Query(pattern=_ID, description="A bundle's id.", examples=_EXAMPLES)]
Second = Annotated[str, Query(pattern=_ID, description="Another one's.", examples=[schemas.OTHER_ID])]
Newest = Annotated[int, Query(ge=1, le=1_000, description="Most bundles, and most promotions.")]

# A page by itself: it runs nothing, loads nothing, and nobody's origin is its own.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
)


class BundleRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def list_bundles(self, request: Request, limit: Newest = 50) -> Response:
        """Answer `GET /v1/bundles`."""
        backend = backend_of(request)
        found = await backend.bundles.list(limit)
        return json_response(schemas.bundles_answer(found, (await backend.ready()).bundle))

    async def bundle(self, request: Request, bundle_id: BundleId) -> Response:
        """Answer `GET /v1/bundles/{bundle_id}`."""
        state, manifest, current = await backend_of(request).bundles.get(bundle_id)
        return json_response(schemas.bundle_answer(state, manifest, current))

    async def bundle_report(self, request: Request, bundle_id: BundleId) -> Response:
        """Answer `GET /v1/bundles/{bundle_id}/report`."""
        page = await backend_of(request).bundles.report(bundle_id)
        return HTMLResponse(page, headers={"Content-Security-Policy": _REPORT_POLICY})

    async def compare_bundles(self, request: Request, a: First, b: Second) -> Response:
        """Answer `GET /v1/bundles/compare`."""
        first, second, measured = await backend_of(request).bundles.compare(a, b)
        return json_response(schemas.comparison_answer((a, b), (first, second), measured))

    async def promote_bundle(self, request: Request, bundle_id: BundleId) -> Response:
        """Answer `POST /v1/bundles/{bundle_id}/promote`."""

        def parse(data: Any) -> schemas.PromoteBody:
            return validate(schemas.PromoteBody, data)

        body = await read(request, self._settings.max_body_bytes, parse)
        before, findings = await backend_of(request).bundles.promote(
            bundle_id, caller_of(request).actor, reason=body.reason, forced=body.force
        )
        return json_response(schemas.promoted_answer(bundle_id, before, findings))

    async def roll_back_bundle(self, request: Request) -> Response:
        """Answer `POST /v1/bundles/rollback`."""

        def parse(data: Any) -> schemas.RollbackBody:
            return validate(schemas.RollbackBody, data)

        body = await read(request, self._settings.max_body_bytes, parse)
        desk = backend_of(request).bundles
        earlier, before = await desk.roll_back(caller_of(request).actor, body.reason)
        return json_response(schemas.promoted_answer(earlier, before, ()))
