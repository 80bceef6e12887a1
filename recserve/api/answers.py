"""Answers as the OpenAPI document describes them, and the fast way to write them.

The models are documentation and what tests check answers against; a request never passes through them,
because pydantic would cost more than the rest of the edge.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import Response

from recserve.api.backend import Readiness
from recserve.api.settings import ApiSettings
from recserve.domain import Event, Item
from recserve.registry import PluginInfo
from recserve.stages import Component


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Answer):
    """What is wrong."""

    code: str = Field(description="Stable, for programs.", examples=["invalid_request"])
    message: str = Field(
        description="One line, for people.", examples=["n must be less than or equal to 1000"]
    )
    field: str | None = Field(description="The field at fault, where there is one.", examples=["n"])


class ErrorAnswer(_Answer):
    """Every answer that is not a success looks like this."""

    error: ErrorDetail


class RecommendedItemAnswer(_Answer):
    """One recommended item."""

    item_id: str = Field(examples=["1196"])
    score: float | None = Field(
        description="The last stage's score; comparable only within one answer.", examples=[3.21]
    )
    rank: int = Field(description="1 is best.", examples=[1])
    sources: list[str] = Field(
        description="Retrievers that proposed it, strongest first.", examples=[["mf", "content"]]
    )
    explanation: str | None = Field(
        description="Why, in words; null unless asked for.", examples=["Because you liked Star Wars"]
    )
    metadata: dict[str, Any] = Field(
        description="The item's attributes.", examples=[{"title": "The Empire Strikes Back", "year": 1980}]
    )


class RecommendationAnswer(_Answer):
    """Recommendations, best first."""

    recommendation_id: str = Field(examples=["0d8e1c6be7a24c4f8a6c2a4b7c0f9d11"])
    scenario: str = Field(description="The pipeline that answered.", examples=["home"])
    items: list[RecommendedItemAnswer]
    bundle: str = Field(description="The trained bundle that every stage used.", examples=["4f1a09c2d7"])
    degraded: list[str] = Field(
        description="What was lost on the way, such as `ranking` or `retriever:mf`; normally empty.",
        examples=[[]],
    )
    timings: dict[str, float] = Field(
        description="Milliseconds each stage took, and `total`.",
        examples=[{"history": 0.8, "retrieval": 3.1, "ranking": 4.0, "total": 8.9}],
    )


class EventsAnswer(_Answer):
    """The events are durable and count in the next recommendation."""

    accepted: int = Field(description="Events in the request.", examples=[1])
    stored: int = Field(description="Events stored; fewer where an `event_id` was known.", examples=[1])
    duplicates: int = Field(description="Events whose `event_id` was known already.", examples=[0])


class ItemAnswer(_Answer):
    """One item of the catalogue."""

    item_id: str = Field(examples=["260"])
    title: str = Field(description="Attribute `title` or `name`, else the id.", examples=["Star Wars"])
    attributes: dict[str, Any] = Field(examples=[{"title": "Star Wars", "year": 1977}])


class HistoryEvent(_Answer):
    """One event of a user."""

    item_id: str = Field(examples=["260"])
    event: str = Field(examples=["rating"])
    timestamp: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    value: float | None = Field(examples=[4.5])
    event_id: str = Field(examples=["3f9c1a"])


class HistoryAnswer(_Answer):
    """A user's newest events, newest first; empty for a user who is not known."""

    user_id: str = Field(examples=["42"])
    events: list[HistoryEvent]


class LiveAnswer(_Answer):
    """The process works."""

    status: Literal["live"]


class ReadyAnswer(_Answer):
    """What is ready."""

    ready: bool
    bundle: str | None = Field(description="The bundle in service.", examples=["4f1a09c2d7"])
    store: bool = Field(description="The store answers.")
    stages: dict[str, bool] = Field(description="Stage -> it answers.", examples=[{"retrieval": True}])
    details: dict[str, str] = Field(description="Part -> what is wrong with it.", examples=[{}])


class EventTypeAnswer(_Answer):
    """What an event type means."""

    weight: float = Field(description="Signed confidence; negative for a dislike.", examples=[1.0])
    value_range: list[float] | None = Field(description="Scale of the value.", examples=[[0.5, 5.0]])


class AboutAnswer(_Answer):
    """What this server can be asked."""

    version: str = Field(examples=["0.1.0"])
    scenarios: list[str] = Field(examples=[["home"]])
    default_scenario: str = Field(examples=["home"])
    events: dict[str, EventTypeAnswer] = Field(description="Event types that may be sent.")
    sample_users: list[str] = Field(description="A few known users to try.", examples=[["1", "42"]])


class ComponentAnswer(_Answer):
    """One component of a plugin."""

    stage: str = Field(examples=["retriever"])
    name: str = Field(description="What configuration calls it.", examples=["mf"])
    summary: str = Field(examples=["Implicit-feedback matrix factorisation."])
    needs_vectors: bool = Field(description="It needs a text encoder.")
    parameters: dict[str, Any] = Field(description="JSON schema of its parameters.")
    argument: dict[str, Any] | None = Field(
        description="JSON schema of a filter's argument in requests; null for other stages."
    )


class PluginAnswer(_Answer):
    """One installed plugin."""

    name: str = Field(description="Its entry point.", examples=["mf"])
    distribution: str = Field(examples=["recserve"])
    version: str = Field(examples=["0.1.0"])
    error: str | None = Field(description="Why it could not be loaded; null if it was.", examples=[None])
    components: list[ComponentAnswer]


class PluginsAnswer(_Answer):
    """The installed plugins."""

    plugins: list[PluginAnswer]


def json_response(content: Any, status: int = 200) -> Response:
    """An answer written in one go."""
    return Response(dumps(content), status, media_type="application/json")


def dumps(content: Any) -> bytes:
    """JSON of plain values and dataclasses; numbers that are not finite become null."""
    try:
        return orjson.dumps(content)
    except TypeError:
        # Integers beyond 64 bits and half surrogates, which attributes of an import may hold.
        return json.dumps(_plain(content), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def item_answer(item: Item) -> dict[str, Any]:
    """See :class:`ItemAnswer`."""
    return {"item_id": item.item_id, "title": item.title, "attributes": item.attributes}


def history_answer(user_id: str, oldest_first: list[Event]) -> dict[str, Any]:
    """See :class:`HistoryAnswer`."""
    return {
        "user_id": user_id,
        "events": [
            {
                "item_id": event.item_id,
                "event": event.event,
                "timestamp": event.timestamp,
                "value": event.value,
                "event_id": event.event_id,
            }
            for event in reversed(oldest_first)
        ],
    }


def ready_answer(readiness: Readiness) -> dict[str, Any]:
    """See :class:`ReadyAnswer`."""
    return {
        "ready": readiness.ready,
        "bundle": readiness.bundle,
        "store": readiness.store,
        "stages": readiness.stages,
        "details": readiness.details,
    }


def about_answer(settings: ApiSettings, version: str, sample_users: list[str]) -> dict[str, Any]:
    """See :class:`AboutAnswer`."""
    return {
        "version": version,
        "scenarios": settings.scenarios,
        "default_scenario": settings.default_scenario,
        "events": {
            name: {"weight": kind.weight, "value_range": kind.value_range}
            for name, kind in settings.event_types.items()
        },
        "sample_users": sample_users,
    }


def plugin_answer(plugin: PluginInfo) -> dict[str, Any]:
    """See :class:`PluginAnswer`."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "error": plugin.error,
        "components": [
            _component(stage.value, component)
            for stage, components in plugin.components.items()
            for component in components
        ],
    }


def _component(stage: str, component: Component) -> dict[str, Any]:
    argument = None
    if component.argument is not None:
        argument = TypeAdapter(component.argument).json_schema()
    return {
        "stage": stage,
        "name": component.name,
        "summary": component.summary,
        "needs_vectors": component.needs_vectors,
        "parameters": component.params.model_json_schema(),
        "argument": argument,
    }
