"""Answers about the server itself: health, what is installed and what it can be asked."""

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
    events: dict[str, EventTypeAnswer] = Field(description="Event types that may be sent.")
    sample_users: list[str] = Field(
        description="A few known users to try; none without the scope `read`.", examples=[["1", "42"]]
    )


class ComponentAnswer(Answer):
    """One component of a plugin."""

    stage: str = Field(examples=["retriever"])
    name: str = Field(description="What configuration calls it.", examples=["mf"])
    summary: str = Field(examples=["Implicit-feedback matrix factorisation."])
    needs_vectors: bool = Field(description="It needs a text encoder.")
    parameters: dict[str, Any] = Field(description="JSON schema of its parameters.")
    argument: dict[str, Any] | None = Field(
        description="JSON schema of a filter's argument in requests; null for other stages."
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
        ComponentAnswer, component, stage=stage.value, parameters=parameters, argument=argument, used=used
    )
