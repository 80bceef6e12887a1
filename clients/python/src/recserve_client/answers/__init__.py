"""Answers of the server, as dataclasses.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from recserve_client.answers.events import Events, EventsDeleted
from recserve_client.answers.experiments import (
    Arm,
    ArmFigures,
    ArmSizes,
    Bounds,
    Comparison,
    Experiment,
    ExperimentReport,
    Experiments,
    Guardrails,
    Interleaved,
    Status,
)
from recserve_client.answers.items import Audience, AudienceUser, Deleted, Item, Items, ItemsStored
from recserve_client.answers.recommendations import Page, Rank, RecommendedItem
from recserve_client.answers.reports import Figures, Freshness, Interval, Outcomes
from recserve_client.answers.server import About, Component, EventType, Live, Plugin, Plugins, Ready
from recserve_client.answers.shared import Changed
from recserve_client.answers.users import (
    DeletedRows,
    History,
    HistoryEvent,
    Merged,
    Receipt,
    User,
    Users,
    UsersStored,
)

__all__ = [
    "About",
    "Arm",
    "ArmFigures",
    "ArmSizes",
    "Audience",
    "AudienceUser",
    "Bounds",
    "Changed",
    "Comparison",
    "Component",
    "Deleted",
    "DeletedRows",
    "EventType",
    "Events",
    "EventsDeleted",
    "Experiment",
    "ExperimentReport",
    "Experiments",
    "Figures",
    "Freshness",
    "Guardrails",
    "History",
    "HistoryEvent",
    "Interleaved",
    "Interval",
    "Item",
    "Items",
    "ItemsStored",
    "Live",
    "Merged",
    "Outcomes",
    "Page",
    "Plugin",
    "Plugins",
    "Rank",
    "Ready",
    "Receipt",
    "RecommendedItem",
    "Status",
    "User",
    "Users",
    "UsersStored",
]
