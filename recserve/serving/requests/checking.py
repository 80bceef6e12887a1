"""Check of requests: what can be refused by names alone, before any plugin is asked."""

from __future__ import annotations

from recserve.config import nearest
from recserve.errors import InvalidRequestError, NotFoundError, RecserveError
from recserve.serving.requests.request import Request
from recserve.serving.scenario import ScenarioContext


def check_request(request: Request, context: ScenarioContext) -> str | RecserveError:
    """The name of a request's scenario, or what is wrong with the request; runs no plugin code."""
    scenario = request.scenario or context.default_scenario
    if scenario not in context.scenarios:
        hint = nearest(scenario, context.scenarios)
        return NotFoundError(f"unknown scenario {scenario!r}{hint}", field="scenario")
    filters = context.filter_arguments[scenario]
    for name in request.filter:
        if name not in filters:
            return InvalidRequestError(
                f"scenario {scenario!r} has no filter {name!r}{nearest(name, filters)}",
                field=f"filter.{name}",
            )
    for event in request.session:
        if event.event not in context.event_types:
            return InvalidRequestError(
                f"unknown event type {event.event!r} (known: {', '.join(context.event_types)})",
                field="session.event",
            )
    return scenario
