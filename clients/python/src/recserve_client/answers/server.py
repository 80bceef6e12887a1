"""Answers about server.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration in service, without secrets.

    Attributes:
        config: What was written, and always the scenarios; what is left out is as by default.
        text: The same as YAML.
        masked: Something is shown as `***`.
    """

    config: dict[str, Any]
    text: str
    masked: bool


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a configuration.

    Attributes:
        field: The key at fault.
        message: `message`.
    """

    field: str | None
    message: str


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """A value that differs; null where there is none on that side.

    Attributes:
        key: `key`.
        before: `before`.
        after: `after`.
    """

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ConfigurationCheck:
    """What is to be said of a changed configuration. Nothing was applied.

    Attributes:
        valid: `valid`.
        mistakes: `mistakes`.
        changes: `changes`.
        diff: The same as a unified diff of YAML.
        needs: What a server needs to follow it; null where it is not valid.
        masked: It holds `***`, to be replaced by the secrets before it is used.
    """

    valid: bool
    mistakes: list[Mistake]
    changes: list[ConfigurationChange]
    diff: str
    needs: Literal["nothing", "restart", "training"] | None
    masked: bool


@dataclass(frozen=True, slots=True)
class Use:
    """One place of the configuration that names a component.

    Attributes:
        where: `where`.
        scenario: Null for what all scenarios share.
        params: The parameters set there, without secrets.
    """

    where: str
    scenario: str | None
    params: dict[str, Any]


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
        used: Where the configuration names it; empty for what is not used.
    """

    stage: str
    name: str
    summary: str
    needs_vectors: bool
    parameters: dict[str, Any]
    argument: dict[str, Any] | None
    used: list[Use]


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


@dataclass(frozen=True, slots=True)
class RouteCount:
    """Requests of one route with one outcome.

    Attributes:
        route: `route`.
        status: `status`.
        count: `count`.
    """

    route: str
    status: str
    count: float


@dataclass(frozen=True, slots=True)
class CodeCount:
    """Errors of one code.

    Attributes:
        code: `code`.
        count: `count`.
    """

    code: str
    count: float


@dataclass(frozen=True, slots=True)
class PartCount:
    """Answers that went on without one part, for one cause.

    Attributes:
        part: `part`.
        cause: `cause`.
        count: `count`.
    """

    part: str
    cause: str
    count: float


@dataclass(frozen=True, slots=True)
class EventCount:
    """Events of one type.

    Attributes:
        event: `event`.
        count: `count`.
    """

    event: str
    count: float


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Events since the processes began.

    Attributes:
        accepted: Acknowledged, by type.
        stored: Stored, each once.
    """

    accepted: list[EventCount]
    stored: float


@dataclass(frozen=True, slots=True)
class ExposureTotals:
    """Answers handed to the log of what was shown.

    Attributes:
        logged: `logged`.
        lost: `lost`.
    """

    logged: float
    lost: float


@dataclass(frozen=True, slots=True)
class CacheCount:
    """Lookups in one cache.

    Attributes:
        cache: `cache`.
        outcome: `hit` or `miss`.
        count: `count`.
    """

    cache: str
    outcome: str
    count: float


@dataclass(frozen=True, slots=True)
class RouteLatency:
    """Seconds of the requests of one route.

    Attributes:
        buckets: How many fell between two bounds each; the last: above all of them.
        seconds: Their sum.
        route: `route`.
    """

    buckets: list[float]
    seconds: float
    route: str


@dataclass(frozen=True, slots=True)
class StepLatency:
    """Seconds of one step of a batch as the ingress sees it, the hop to the stage included.

    Attributes:
        buckets: How many fell between two bounds each; the last: above all of them.
        seconds: Their sum.
        step: `step`.
    """

    buckets: list[float]
    seconds: float
    step: str


@dataclass(frozen=True, slots=True)
class CallLatency:
    """Seconds of one call of a stage as its replica sees it.

    Attributes:
        buckets: How many fell between two bounds each; the last: above all of them.
        seconds: Their sum.
        call: `call`.
    """

    buckets: list[float]
    seconds: float
    call: str


@dataclass(frozen=True, slots=True)
class Latencies:
    """Histograms over all replicas.

    Attributes:
        bounds: Upper bounds of the buckets in seconds.
        requests: `requests`.
        steps: `steps`.
        calls: `calls`.
    """

    bounds: list[float]
    requests: list[RouteLatency]
    steps: list[StepLatency]
    calls: list[CallLatency]


@dataclass(frozen=True, slots=True)
class BundleNow:
    """What is served.

    Attributes:
        id: In service; null where this host does not count it.
        loaded: All bundles that are loaded.
        age_seconds: Since the newest event that it was trained on.
        served_seconds: Since it went into service.
        live_items: Items that are served though they came after training.
    """

    id: str | None
    loaded: list[str]
    age_seconds: float | None
    served_seconds: float | None
    live_items: float | None


@dataclass(frozen=True, slots=True)
class ReplicaNow:
    """One process.

    Attributes:
        replica: `replica`.
        node: Its machine.
        bundle: `bundle`.
        calls: Requests, or calls of the stage, that ended.
        cpu_seconds: `cpu_seconds`.
        memory_bytes: `memory_bytes`.
        threads: Calls of plugin code by state.
    """

    replica: str
    node: str
    bundle: str | None
    calls: float
    cpu_seconds: float | None
    memory_bytes: float | None
    threads: dict[str, float]


@dataclass(frozen=True, slots=True)
class StageNow:
    """One stage of the graph.

    Attributes:
        stage: `stage`.
        missing: Replicas that did not answer in time.
        replicas: `replicas`.
    """

    stage: str
    missing: int
    replicas: list[ReplicaNow]


@dataclass(frozen=True, slots=True)
class LiveNow:
    """What all replicas have counted; counts only grow while a process lives.

    Attributes:
        at: When; milliseconds since the epoch.
        every: Seconds; within them everybody gets the same answer.
        requests: `requests`.
        errors: `errors`.
        degraded: `degraded`.
        events: `events`.
        exposures: `exposures`.
        caches: `caches`.
        queue: Requests that wait for a place in a batch.
        latency: `latency`.
        bundle: `bundle`.
        stages: In the order in which a request meets them.
    """

    at: int
    every: float
    requests: list[RouteCount]
    errors: list[CodeCount]
    degraded: list[PartCount]
    events: EventTotals
    exposures: ExposureTotals
    caches: list[CacheCount]
    queue: float
    latency: Latencies
    bundle: BundleNow
    stages: list[StageNow]
