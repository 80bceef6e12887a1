"""Routes about the server itself: what is installed, metrics, health."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.middleware.metrics import metrics
from recserve.api.routes.recommendations import Routes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import about


def add_server(add: Adder, routes: Routes) -> None:
    """Add what is installed, metrics and health."""
    add(
        "GET",
        "/v1/plugins",
        routes.plugins,
        "Installed plugins",
        "Where each comes from, what it contributes, and the JSON schema of every component's parameters.",
        openapi.responses(about.PluginsAnswer, "The plugins."),
    )
    add(
        "GET",
        "/v1/about",
        routes.about,
        "What this server can be asked",
        "Scenarios, event types with their scales, and a few users to try.",
        openapi.responses(about.AboutAnswer, "What there is."),
    )
    add(
        "GET",
        "/v1/metrics",
        metrics,
        "Metrics",
        "For Prometheus, in its text format: every replica of every stage, by `stage`, `replica` and `node`.",
        openapi.text_responses("The metrics.", 'recserve_requests_total{route="/",status="200"} 12\n'),
    )
    add(
        "GET",
        "/v1/health/live",
        routes.live,
        "Liveness",
        "Whether the process works; if not, restart it.",
        openapi.responses(about.LiveAnswer, "It works.", public=True),
    )
    add(
        "GET",
        "/v1/health/ready",
        routes.ready,
        "Readiness",
        "Whether requests should be sent here.",
        openapi.responses(about.ReadyAnswer, "It is ready.", public=True),
    )
