"""Configuration: pydantic models that refuse what they do not know.

A file (``recserve.yaml`` in the home folder, or ``--config``) is layered over the defaults here.
Whether the named components exist and accept their parameters is checked by
:func:`recserve.plugin.registry.Registry.resolve`, before anything trains or starts.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from recserve.data.entities import DEFAULT_EVENT_TYPES, EventType
from recserve.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentConfig(_Strict):
    """A component by name, with its parameters."""

    use: str = Field(description="Registered name of the component.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")


class RetrieverConfig(ComponentConfig):
    """A retriever of a scenario."""

    candidates: int = Field(200, ge=1, le=10_000, description="Items asked of this retriever.")
    weight: float = Field(1.0, gt=0, description="Weight in reciprocal rank fusion.")


class EncoderConfig(_Strict):
    """The text encoder; every field but ``use`` and ``params`` is a parameter of the ``bert`` one."""

    use: str = "bert"
    model: str = Field(
        "bundled:minilm",
        description="bundled:minilm, bundled:e5-multilingual, a local directory, or a hub id.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    pooling: Literal["mean", "cls"] | None = Field(None, description="Default: the model's own.")
    max_length: int | None = Field(None, ge=8, le=8192, description="Tokens a text is cut to.")
    prefix: str | None = Field(None, description="Put before each text, such as 'query: '.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further parameters.")

    def component(self) -> ComponentConfig:
        """The same as a plain component with parameters."""
        own = self.model_dump(exclude={"use", "params"}, exclude_none=True)
        return ComponentConfig(use=self.use, params={**own, **self.params})


class ExploreConfig(_Strict):
    """How much of a page is spent on finding out whether new items are any good."""

    share: float = Field(0.1, gt=0, le=0.5, description="Share of a page's places.")
    clicks: float = Field(
        1.0, gt=0, description="Prior of an item's click rate: imagined clicks before anything is known."
    )
    views: float = Field(20.0, gt=0, description="Prior of an item's click rate: imagined views.")
    first_place: int = Field(3, ge=1, description="The best places of a page, up to this one, are spared.")


class PipelineConfig(_Strict):
    """One scenario: which components serve it."""

    retrievers: tuple[RetrieverConfig, ...] = Field(min_length=1)
    budget: int = Field(300, ge=1, le=10_000, description="Candidates kept for the ranker.")
    ranker: ComponentConfig | None = None
    rerankers: tuple[ComponentConfig, ...] = ()
    filters: tuple[ComponentConfig, ...] = ()
    explainer: ComponentConfig = ComponentConfig(use="template")
    fallback: ComponentConfig = Field(
        ComponentConfig(use="popular"),
        description="Retriever used when all others fail or are empty.",
    )
    seen: Literal["exclude", "decay", "allow"] = Field(
        "exclude",
        description="Items of the user's history: never again, lower the more recent they are, or as good "
        "as any.",
    )
    seen_half_life_days: float = Field(
        30.0, gt=0, description="With `seen: decay`: after this long an item has half its penalty."
    )
    explore: ExploreConfig | None = Field(None, description="Give places to items that are new.")

    @field_validator("retrievers", "filters")
    @classmethod
    def _distinct(
        cls, components: tuple[ComponentConfig, ...], info: ValidationInfo
    ) -> tuple[ComponentConfig, ...]:
        names = [component.use for component in components]
        for name in names:
            # A request gives arguments by the filter's name.
            if names.count(name) > 1:
                raise ValueError(f"{str(info.field_name).removesuffix('s')} {name!r} is listed twice")
        return components


DEFAULT_SCENARIO = "home"


def _default_scenarios() -> dict[str, PipelineConfig]:
    return {
        DEFAULT_SCENARIO: PipelineConfig(
            retrievers=(
                RetrieverConfig(use="mf"),
                RetrieverConfig(use="content"),
                RetrieverConfig(use="popular", candidates=100),
            ),
            ranker=ComponentConfig(use="bert_lstm"),
        )
    }


class TrainConfig(_Strict):
    """Windows and seed of a training run; windows are fractions of the events in time order."""

    seed: int = Field(0, ge=0, lt=2**32)
    next_window: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the training events the ranker learns to blend on."
    )
    test_window: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the newest events that the model is evaluated on."
    )
    ranking_examples: int = Field(
        4000, ge=10, description="At most this many queries teach the ranker to blend."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all.")


class StageConfig(_Strict):
    """Size and deadline of one stage of the Serve graph."""

    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1, description="Set to autoscale up to this many.")
    cpus: float = Field(0.1, ge=0, description="CPUs Ray reserves for a replica.")
    gpus: float = Field(0.0, ge=0, description="GPUs Ray reserves for a replica.")
    threads: int = Field(1, ge=1, description="Threads of numerical libraries in a replica.")
    deadline_ms: int = Field(1000, ge=10, description="The stage's answer is dropped if it comes later.")


class ServerConfig(_Strict):
    """The HTTP server and its Serve graph."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    topology: Literal["staged", "fused"] = "staged"
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
    repeats: int = Field(
        10_000,
        ge=0,
        description="Answers in an ingress replica's result cache, reused while neither the history nor the "
        "catalogue has changed; 0 switches it off.",
    )
    repeats_seconds: float = Field(60.0, gt=0, description="How long a cached answer is reused, at most.")
    reload_seconds: float = Field(2.0, gt=0, description="How often replicas look for a new bundle.")
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


class ColdStartConfig(_Strict):
    """What to go by while a user has done little."""

    attributes: tuple[str, ...] = Field(
        ("interests",), description="User attributes whose text describes what the user likes."
    )
    until_events: int = Field(
        5, ge=0, description="Stated interests count until the user has this many positive events."
    )


class TuneConfig(_Strict):
    """How ``recserve tune`` searches; the command's options come before."""

    trials: int = Field(20, ge=1, le=10_000, description="Trials, the first of which is the configuration.")
    max_concurrent: int | None = Field(
        None, ge=1, description="Trials at a time; default: as many as their resources allow."
    )
    cpus: float = Field(1.0, gt=0, description="CPUs of a trial.")
    gpus: float = Field(0.0, ge=0, description="GPUs of a trial; 0.5 lets two trials share one.")
    validation_window: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="Share of the newest events before the test window that trials are scored on.",
    )
    queries_per_user: int = Field(50, ge=1, description="At most this many validation queries of a user.")
    grace: int = Field(
        3, ge=1, description="Validations of its own that a fit may do before it can be stopped early."
    )
    reduction: float = Field(
        3.0, gt=1, description="At each halving the best 1/reduction of the trials go on."
    )


class PromotionConfig(_Strict):
    """The gate of ``recserve promote``."""

    margin: float = Field(
        0.005,
        ge=0,
        le=1,
        description="A bundle whose nDCG@10 is lower than the current one's by more than this is refused.",
    )


class StoreConfig(_Strict):
    """Where behaviour and catalogue live."""

    url: str | None = Field(
        None,
        description="SQLAlchemy URL; default: an SQLite file in the home folder. `${NAME}` is replaced by "
        "the environment variable of whoever opens it.",
    )


class Config(_Strict):
    """The whole configuration, as in ``recserve.yaml``."""

    store: StoreConfig = StoreConfig()
    bundles: str | None = Field(
        None,
        description="Folder or pyarrow filesystem URI of the bundles; default: <home>/bundles. `${NAME}` is "
        "replaced by the environment variable of whoever opens it.",
    )
    encoder: EncoderConfig | None = EncoderConfig()
    item_text: ComponentConfig = ComponentConfig(use="fields")
    events: dict[str, EventType] = Field(default_factory=dict, description="Added to the defaults.")
    scenarios: dict[str, PipelineConfig] = Field(default_factory=_default_scenarios, min_length=1)
    cold_start: ColdStartConfig = ColdStartConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    promotion: PromotionConfig = PromotionConfig()
    server: ServerConfig = ServerConfig()

    @model_validator(mode="after")
    def _scenario_names(self) -> Config:
        for name in self.scenarios:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"scenario name {name!r} must consist of letters, digits, - and _")
        return self

    @property
    def event_types(self) -> dict[str, EventType]:
        """All event types in a fixed order: the defaults, then the configured ones."""
        return {**DEFAULT_EVENT_TYPES, **self.events}

    @property
    def default_scenario(self) -> str:
        """``home`` if there is one, else the first."""
        return DEFAULT_SCENARIO if DEFAULT_SCENARIO in self.scenarios else next(iter(self.scenarios))

    def trained(self) -> dict[str, Any]:
        """What decides a bundle's content, as plain data; serving and storage settings do not count."""
        return self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(("store", "bundles", "server", "cold_start", "tune", "promotion"), True),
                "scenarios": {"__all__": {"seen", "seen_half_life_days", "explore"}},
            },
        )

    def training_hash(self) -> str:
        """sha256 of :meth:`trained`."""
        return hashlib.sha256(json.dumps(self.trained(), sort_keys=True).encode()).hexdigest()


def load_config(path: Path | None) -> Config:
    """Read a YAML configuration; ``None`` gives the defaults.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or holds an unknown key or a bad value.
    """
    if path is None:
        return Config()
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    return parse_config(raw, str(path))


def parse_config(raw: object, origin: str = "configuration") -> Config:
    """Validate a plain mapping.

    Raises:
        ConfigError: Names the key, the value and the nearest valid key.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin} must be a mapping of keys to values")
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"{origin}: {describe_validation_error(error, Config)}",
            field=location(error.errors()[0]["loc"]),
        ) from None


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem: where, what, and the nearest valid key for a typing slip."""
    first = error.errors(include_url=False)[0]
    place = location(first["loc"]) or "value"
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        known = keys_at(model, parents)
        return f"unknown key {place!r}{nearest(str(key), known)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"missing key {place!r}"
    shown = repr(first["input"])
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place} = {shown}: {message}{more}"


def from_environment(text: str, field: str) -> str:
    """A setting with each ``${NAME}`` replaced by that environment variable of this process.

    Settings that hold secrets are replaced where they are used, so that a configuration which travels to
    other processes, or is shown, never holds them.

    Raises:
        ConfigError: A variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            raise ConfigError(f"{field}: the environment variable {name} is not set", field=field)
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'mf'? (known: content, mf, popular)``, of bounded length."""
    known = sorted(valid)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{hint} (known: {shown})" if known else hint


def location(parts: Iterable[int | str]) -> str:
    """``("session", 0, "item_id")`` -> ``session[0].item_id``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def keys_at(model: type[BaseModel], path: Iterable[int | str]) -> set[str]:
    """Valid keys of the nested model at ``path``; dict keys and list indices are stepped over."""
    current: type[BaseModel] = model
    for part in path:
        info = current.model_fields.get(part) if isinstance(part, str) else None
        if info is None:
            continue
        inner = _model_within(info.annotation)
        if inner is None:
            return set()
        current = inner
    return {field.alias or name for name, field in current.model_fields.items()}


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_within(argument)
        if found is not None:
            return found
    return None
