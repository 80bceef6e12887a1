"""The route that shows the metrics, and the counters of the application that a request came to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from recserve.telemetry.metrics import CONTENT_TYPE, Metrics, render


def metrics_of(request: Request) -> Metrics:
    """The counters of the application that a request came to."""
    found: Metrics = request.app.state.metrics
    return found


async def metrics(request: Request) -> Response:
    """Answer `GET /v1/metrics`: every replica of every stage, or this process where it is alone."""
    return Response(render(await request.app.state.scrape()), headers={"Content-Type": CONTENT_TYPE})
