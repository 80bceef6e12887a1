"""All calls of the API.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.async_calls.bundles import BundlesCalls
from recserve_client.async_calls.events import EventsCalls
from recserve_client.async_calls.experiments import ExperimentsCalls
from recserve_client.async_calls.items import ItemsCalls
from recserve_client.async_calls.recommendations import RecommendationsCalls
from recserve_client.async_calls.reports import ReportsCalls
from recserve_client.async_calls.server import ServerCalls
from recserve_client.async_calls.users import UsersCalls


class Calls(
    RecommendationsCalls,
    EventsCalls,
    ItemsCalls,
    UsersCalls,
    ReportsCalls,
    ExperimentsCalls,
    BundlesCalls,
    ServerCalls,
):
    """All calls of the API."""


__all__ = ["Calls"]
