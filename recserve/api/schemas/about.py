"""Answers about the server itself: health, what is installed, what it can be asked and what it does now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from recserve.api.backends.protocol import Readiness
from recserve.api.schemas.responses import Answer, filled
from recserve.api.settings import ApiSettings
from recserve.auth.masking import mask_settings
from recserve.plugin.checking import Use
from recserve.plugin.protocols import Component, Stage
from recserve.plugin.registry import PluginInfo


class LiveAnswer(Answer):
    """The process works."""

    status: Literal["live"]


class ReadyAnswer(Answer):
    """What is ready."""

    ready: bool
    bundle: str | None = Field(description="The bundle in service.", examples=["4f1a09c2d7"])
    store: bool = Field(description="The store answers.")
    stages: dict[str, bool] = Field(description="Stage -> it answers.", examples=[{"retrieval": True}])
    details: dict[str, str] = Field(
        description="Part -> what is wrong with it; more of it with a key that may read.", examples=[{}]
    )


class EventTypeAnswer(Answer):
    """What an event type means."""

    weight: float = Field(description="Signed confidence; negative for a dislike.", examples=[1.0])
    value_range: list[float] | None = Field(description="Scale of the value.", examples=[[0.5, 5.0]])


class AboutAnswer(Answer):
    """What this server can be asked."""

    version: str = Field(examples=["0.1.0"])
    scenarios: list[str] = Field(examples=[["home"]])
    default_scenario: str = Field(examples=["home"])
    events: dict[str, EventTypeAnswer] = Field(
        description="Event types that may be sent.",
        examples=[{"rating": {"weight": 1.0, "value_range": [0.5, 5.0]}}],
    )
    sample_users: list[str] = Field(
        description="A few known users to try; none without the scope `read`.", examples=[["1", "42"]]
    )


class ComponentAnswer(Answer):
    """One component of a plugin."""

    stage: str = Field(examples=["retriever"])
    name: str = Field(description="What configuration calls it.", examples=["mf"])
    summary: str = Field(examples=["Implicit-feedback matrix factorisation."])
    needs_vectors: bool = Field(description="It needs a text encoder.")
    parameters: dict[str, Any] = Field(
        description="JSON schema of its parameters.",
        examples=[{"type": "object", "properties": {"dimension": {"type": "integer", "default": 64}}}],
    )
    argument: dict[str, Any] | None = Field(
        description="JSON schema of a filter's argument in requests; null for other stages.",
        examples=[None],
    )
    used: list[UseAnswer] = Field(description="Where the configuration names it; empty for what is not used.")


class UseAnswer(Answer):
    """One place of the configuration that names a component."""

    where: str = Field(examples=["scenarios.home.retrievers[0]"])
    scenario: str | None = Field(description="Null for what all scenarios share.", examples=["home"])
    params: dict[str, Any] = Field(description="The parameters set there, without secrets.", examples=[{}])


class PluginAnswer(Answer):
    """One installed plugin."""

    name: str = Field(description="Its entry point.", examples=["mf"])
    distribution: str = Field(examples=["recserve"])
    version: str = Field(examples=["0.1.0"])
    error: str | None = Field(description="Why it could not be loaded; null if it was.", examples=[None])
    components: list[ComponentAnswer]


class PluginsAnswer(Answer):
    """The installed plugins."""

    plugins: list[PluginAnswer]


class RouteCount(Answer):
    """Requests of one route with one outcome."""

    route: str = Field(examples=["/v1/recommend"])
    status: str = Field(examples=["200"])
    count: float = Field(examples=[1200])


class CodeCount(Answer):
    """Errors of one code."""

    code: str = Field(examples=["invalid_request"])
    count: float = Field(examples=[3])


class PartCount(Answer):
    """Answers that went on without one part, for one cause."""

    part: str = Field(examples=["ranking"])
    cause: str = Field(examples=["late"])
    count: float = Field(examples=[2])


class EventCount(Answer):
    """Events of one type."""

    event: str = Field(examples=["view"])
    count: float = Field(examples=[400])


class EventTotals(Answer):
    """Events since the processes began."""

    accepted: list[EventCount] = Field(description="Acknowledged, by type.")
    stored: float = Field(description="Stored, each once.", examples=[380])


class ExposureTotals(Answer):
    """Answers handed to the log of what was shown."""

    logged: float = Field(examples=[1200])
    lost: float = Field(examples=[0])


class CacheCount(Answer):
    """Lookups in one cache."""

    cache: str = Field(examples=["result"])
    outcome: str = Field(description="`hit` or `miss`.", examples=["hit"])
    count: float = Field(examples=[900])


class _Buckets(Answer):
    buckets: list[float] = Field(
        description="How many fell between two bounds each; the last: above all of them.",
        examples=[[10, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    )
    seconds: float = Field(description="Their sum.", examples=[0.021])


class RouteLatency(_Buckets):
    """Seconds of the requests of one route."""

    route: str = Field(examples=["/v1/recommend"])


class StepLatency(_Buckets):
    """Seconds of one step of a batch as the ingress sees it, the hop to the stage included."""

    step: str = Field(examples=["retrieval"])


class CallLatency(_Buckets):
    """Seconds of one call of a stage as its replica sees it."""

    call: str = Field(examples=["retrieve"])


class Latencies(Answer):
    """Histograms over all replicas."""

    bounds: list[float] = Field(
        description="Upper bounds of the buckets in seconds.", examples=[[0.001, 0.0025]]
    )
    requests: list[RouteLatency]
    steps: list[StepLatency]
    calls: list[CallLatency]


class BundleNow(Answer):
    """What is served."""

    id: str | None = Field(
        description="In service; null where this host does not count it.", examples=["4f1a09c2d7"]
    )
    loaded: list[str] = Field(description="All bundles that are loaded.", examples=[["4f1a09c2d7"]])
    age_seconds: float | None = Field(
        description="Since the newest event that it was trained on.", examples=[3600]
    )
    served_seconds: float | None = Field(description="Since it went into service.", examples=[600])
    live_items: float | None = Field(
        description="Items that are served though they came after training.", examples=[12]
    )


class ReplicaNow(Answer):
    """One process."""

    replica: str = Field(examples=["x7k2p9"])
    node: str = Field(description="Its machine.", examples=["10.0.0.4"])
    bundle: str | None = Field(examples=["4f1a09c2d7"])
    calls: float = Field(description="Requests, or calls of the stage, that ended.", examples=[5000])
    cpu_seconds: float | None = Field(examples=[12.5])
    memory_bytes: float | None = Field(examples=[300000000])
    threads: dict[str, float] = Field(description="Calls of plugin code by state.", examples=[{"running": 1}])


class StageNow(Answer):
    """One stage of the graph."""

    stage: str = Field(examples=["retrieval"])
    missing: int = Field(description="Replicas that did not answer in time.", examples=[0])
    replicas: list[ReplicaNow]


class LiveNowAnswer(Answer):
    """What all replicas have counted; counts only grow while a process lives."""

    at: int = Field(description="When; milliseconds since the epoch.", examples=[1767225600000])
    every: float = Field(description="Seconds; within them everybody gets the same answer.", examples=[2.0])
    requests: list[RouteCount]
    errors: list[CodeCount]
    degraded: list[PartCount]
    events: EventTotals
    exposures: ExposureTotals
    caches: list[CacheCount]
    queue: float = Field(description="Requests that wait for a place in a batch.", examples=[0])
    latency: Latencies
    bundle: BundleNow
    stages: list[StageNow] = Field(description="In the order in which a request meets them.")


def without_places(readiness: Readiness) -> Readiness:
    """What somebody without a key is told: which parts are down, and nothing of hosts, names or drivers."""
    return replace(readiness, details=dict.fromkeys(readiness.details, "is not available"))


def ready_answer(readiness: Readiness) -> dict[str, Any]:
    """See :class:`ReadyAnswer`."""
    return filled(ReadyAnswer, readiness)


def about_answer(settings: ApiSettings, version: str, sample_users: list[str]) -> dict[str, Any]:
    """See :class:`AboutAnswer`."""
    events = {name: filled(EventTypeAnswer, kind) for name, kind in settings.event_types.items()}
    return filled(AboutAnswer, settings, version=version, events=events, sample_users=sample_users)


def plugin_answer(plugin: PluginInfo, uses: Sequence[Use] = ()) -> dict[str, Any]:
    """See :class:`PluginAnswer`.

    Args:
        plugin: The plugin.
        uses: Where the configuration names components.
    """
    components = [
        _component(stage, component, uses)
        for stage, found in plugin.components.items()
        for component in found
    ]
    return filled(PluginAnswer, plugin, components=components)


def _component(stage: Stage, component: Component, uses: Sequence[Use]) -> dict[str, Any]:
    argument = None
    if component.argument is not None:
        argument = TypeAdapter(component.argument).json_schema()
    parameters = component.params.model_json_schema()
    used = [
        filled(UseAnswer, use, params=mask_settings(use.params))
        for use in uses
        if (use.stage, use.name) == (stage, component.name)
    ]
    return filled(
        ComponentAnswer,
        component,
        stage=stage.value,
        # Where parameters decide, it needs one unless they say otherwise.
        needs_vectors=bool(component.needs_vectors),
        parameters=parameters,
        argument=argument,
        used=used,
    )
