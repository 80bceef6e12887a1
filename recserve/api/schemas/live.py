"""The answer about what the server does at this moment."""

from __future__ import annotations

from pydantic import Field

from recserve.api.schemas.responses import Answer


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
