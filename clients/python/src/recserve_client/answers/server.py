"""Answers about server.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a plugin.

    Attributes:
        stage: `stage`.
        name: What configuration calls it.
        summary: `summary`.
        needs_vectors: It needs a text encoder.
        parameters: JSON schema of its parameters.
        argument: JSON schema of a filter's argument in requests; null for other stages.
    """

    stage: str
    name: str
    summary: str
    needs_vectors: bool
    parameters: dict[str, Any]
    argument: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Plugin:
    """One installed plugin.

    Attributes:
        name: Its entry point.
        distribution: `distribution`.
        version: `version`.
        error: Why it could not be loaded; null if it was.
        components: `components`.
    """

    name: str
    distribution: str
    version: str
    error: str | None
    components: list[Component]


@dataclass(frozen=True, slots=True)
class Plugins:
    """The installed plugins.

    Attributes:
        plugins: `plugins`.
    """

    plugins: list[Plugin]


@dataclass(frozen=True, slots=True)
class EventType:
    """What an event type means.

    Attributes:
        weight: Signed confidence; negative for a dislike.
        value_range: Scale of the value.
    """

    weight: float
    value_range: list[float] | None


@dataclass(frozen=True, slots=True)
class About:
    """What this server can be asked.

    Attributes:
        version: `version`.
        scenarios: `scenarios`.
        default_scenario: `default_scenario`.
        events: Event types that may be sent.
        sample_users: A few known users to try; none without the scope `read`.
    """

    version: str
    scenarios: list[str]
    default_scenario: str
    events: dict[str, EventType]
    sample_users: list[str]


@dataclass(frozen=True, slots=True)
class Live:
    """The process works.

    Attributes:
        status: `status`.
    """

    status: Literal["live"]


@dataclass(frozen=True, slots=True)
class Ready:
    """What is ready.

    Attributes:
        ready: `ready`.
        bundle: The bundle in service.
        store: The store answers.
        stages: Stage -> it answers.
        details: Part -> what is wrong with it; more of it with a key that may read.
    """

    ready: bool
    bundle: str | None
    store: bool
    stages: dict[str, bool]
    details: dict[str, str]
