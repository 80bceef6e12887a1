"""Routes that the console is made of beside the others."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.console.live import LiveRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas.live import LiveNowAnswer


def add_live(add: Adder, routes: LiveRoutes) -> None:
    """Add what the server does at this moment."""
    add(
        "GET",
        "/v1/live",
        routes.live_now,
        "What the server does now",
        "Requests, events, latencies, caches, what was degraded, the bundle, and every replica of every "
        "stage. All counts are totals: ask twice and take the difference. It is gathered at most every two "
        "seconds, however many ask.",
        openapi.responses(LiveNowAnswer, "What all replicas have counted."),
    )
