"""The server: its limits and deadlines, and the size of each stage of the Serve graph."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from recserve.config.strict import Strict


class StageConfig(Strict):
    """Size and deadline of one stage of the Serve graph."""

    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1, description="Set to autoscale up to this many.")
    target_calls: float | None = Field(
        None,
        gt=0,
        description="Calls under way that autoscaling aims at for a replica; default: `batches_in_flight`, "
        "and `max_batch` at the ingress.",
    )
    upscale_seconds: float = Field(
        30.0, ge=0, description="How long there must be too many calls before replicas are added."
    )
    downscale_seconds: float = Field(
        600.0, ge=0, description="How long there must be too few calls before replicas are removed."
    )
    cpus: float = Field(0.1, ge=0, description="CPUs Ray reserves for a replica.")
    gpus: float = Field(0.0, ge=0, description="GPUs Ray reserves for a replica.")
    threads: int = Field(1, ge=1, description="Threads of numerical libraries in a replica.")
    deadline_ms: int = Field(1000, ge=10, description="The stage's answer is dropped if it comes later.")


class GorseConfig(Strict):
    """Routes that speak the API of Gorse, for applications that were written for it."""

    enabled: bool = Field(False, description="Whether there are such routes.")
    prefix: str = Field(
        "/api",
        description="Path that they are under. Gorse's clients put `/api` behind the address that they are "
        "given, so `/shop/api` goes with an address that ends in `/shop`.",
    )
    feedback_types: dict[str, str] = Field(
        default_factory=lambda: {"read": "view", "star": "like"},
        description="Gorse's type of feedback -> event type. Types that are configured as event types need "
        "no entry.",
    )
    categories: str = Field(
        "categories", min_length=1, description="Attribute of items that holds their `Categories`."
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_path_of_its_own(cls, prefix: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9_.~-]+)+", prefix):
            raise ValueError("write a path such as /api: it begins with a slash and does not end with one")
        if prefix.split("/")[1] in ("v1", "docs", "static"):
            raise ValueError(f"{prefix} is taken; choose another one, such as /api")
        return prefix


class ServerConfig(Strict):
    """The HTTP server and its Serve graph."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    topology: Literal["auto", "staged", "fused"] = Field(
        "staged",
        description="`staged`: each stage in replicas of its own; `fused`: all of them in each ingress "
        "replica, which saves the hops and uses one core a replica. `auto` is `fused` on one node, unless a "
        "stage is given a GPU, several replicas or several threads.",
    )
    max_batch: int = Field(64, ge=1, le=1024, description="Requests a micro-batch holds at most.")
    batches_in_flight: int = Field(2, ge=1, le=64)
    max_queue: int = Field(
        256, ge=1, description="Requests that may wait for a place in a batch; further ones get 503 at once."
    )
    max_wait_ms: int = Field(
        1000, ge=10, description="A request that would wait longer for a place in a batch gets 503 at once."
    )
    max_connections: int = Field(
        16_384,
        ge=16,
        description="Connections that are accepted; fewer where the limit of open files is lower.",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        description="Connections from one address; default: a quarter of all. Behind a load balancer, which "
        "is one address, as many as `max_connections`.",
    )
    receive_seconds: int = Field(
        10, ge=1, le=60, description="A request that has not arrived after this long is answered with 408."
    )
    max_body_bytes: int = Field(2_000_000, ge=1_000)
    max_bulk_bytes: int = Field(
        20_000_000, ge=1_000, description="Longest body of up to 10,000 events, items or users."
    )
    store_deadline_ms: int = Field(
        1000, ge=10, description="The store's answer is dropped if it comes later; see `degraded`."
    )
    filter_deadline_ms: int = Field(
        2000, ge=10, description="A filter that is later allows nothing; see `degraded`."
    )
    reranking_deadline_ms: int = Field(
        1000, ge=10, description="A reranker that is later is left out; see `degraded`."
    )
    explaining_deadline_ms: int = Field(
        500, ge=10, description="An explainer that is later is left out; see `degraded`."
    )
    catalogue_deadline_ms: int = Field(
        2000,
        ge=10,
        description="Filters, rerankers and explainers that take longer to be built on a catalogue with new "
        "items go on without these.",
    )
    history: int = Field(1000, ge=1, le=100_000, description="Newest events of a user that count.")
    impressions: int = Field(
        500,
        ge=1,
        le=5_000,
        description="Items of a user, those shown last, whose impressions are kept. Only counted where a "
        "scenario has a `frequency_cap` or a reranker that reads impressions.",
    )
    repeats: int = Field(
        10_000,
        ge=0,
        description="Answers in an ingress replica's result cache, reused while neither the history nor the "
        "catalogue has changed; 0 switches it off.",
    )
    repeats_seconds: float = Field(60.0, gt=0, description="How long a cached answer is reused, at most.")
    reload_seconds: float = Field(2.0, gt=0, description="How often replicas look for a new bundle.")
    surge: bool = Field(
        True,
        description="An upgrade on a cluster starts new replicas before it stops old ones, which needs room "
        "for one more of each stage; without, a stage of a single replica is missing for a while.",
    )
    rate_limit: float | None = Field(
        1000.0,
        gt=0,
        description="Requests a second of an API key without a limit of its own, counted by each ingress "
        "replica for itself; null for no limit.",
    )
    keys_max_age_seconds: float = Field(
        10.0,
        ge=2,
        description="How long API keys stay good while the store cannot be asked whether they were revoked; "
        "then calls get 503.",
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Log lines as text, or as JSON objects with the ids of requests. The "
        "environment variable `RECSERVE_LOG_FORMAT` comes before.",
    )
    tracing: bool = Field(
        False,
        description="Send a span of each stage of each request by OTLP, as the variables `OTEL_*` of each "
        "node say; needs `recserve[otel]`.",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins whose pages may call the API from a browser, such as https://shop.example."
    )
    gorse: GorseConfig = GorseConfig()
    ingress: StageConfig = StageConfig(cpus=0.2)
    retrieval: StageConfig = StageConfig()
    encoding: StageConfig = StageConfig(deadline_ms=2000)
    ranking: StageConfig = StageConfig(deadline_ms=2000)

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s?#*@]+", origin):
                raise ValueError("write an origin as browsers do: https://shop.example, no path and no *")
        return origins
