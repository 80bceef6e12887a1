"""The whole configuration."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from recserve.config.mistakes import nearest
from recserve.config.outcomes import OutcomesConfig
from recserve.config.scenarios import (
    DEFAULT_SCENARIO,
    SPACE_NAME,
    ColdStartConfig,
    ComponentConfig,
    EncoderConfig,
    PipelineConfig,
    VectorSpaceConfig,
    default_scenarios,
)
from recserve.config.server import ServerConfig
from recserve.config.streams import StreamsConfig
from recserve.config.strict import Strict
from recserve.config.training import PromotionConfig, RetrainConfig, TrainConfig, TuneConfig
from recserve.data.entities import DEFAULT_EVENT_TYPES, EventType

_NOT_TRAINED = (
    "store",
    "bundles",
    "server",
    "cold_start",
    "tune",
    "promotion",
    "retrain",
    "outcomes",
    "streams",
)


class StoreConfig(Strict):
    """Where behaviour and catalogue live."""

    url: str | None = Field(
        None,
        description="SQLAlchemy URL; default: an SQLite file in the home folder. `${NAME}` is replaced by "
        "the environment variable of whoever opens it.",
    )
    lake: str | None = Field(
        None,
        description="Folder or pyarrow filesystem URI, such as s3://bucket/events, that `recserve export` "
        "writes events into as Parquet, a folder a day. `${NAME}` as above.",
    )
    retention_days: float | None = Field(
        None,
        gt=0,
        description="`recserve store expire` removes events and exposures older than this from the database, "
        "once they are in the lake if there is one; null keeps them.",
    )


class Config(Strict):
    """The whole configuration, as in ``recserve.yaml``."""

    store: StoreConfig = StoreConfig()
    bundles: str | None = Field(
        None,
        description="Folder or pyarrow filesystem URI of the bundles; default: <home>/bundles. `${NAME}` is "
        "replaced by the environment variable of whoever opens it.",
    )
    encoder: EncoderConfig | None = EncoderConfig()
    vectors: dict[Annotated[str, StringConstraints(pattern=SPACE_NAME)], VectorSpaceConfig] = Field(
        default_factory=dict,
        description="Spaces of item vectors beside those of texts, by name, such as `image`.",
    )
    item_text: ComponentConfig = ComponentConfig(use="fields")
    events: dict[str, EventType] = Field(default_factory=dict, description="Added to the defaults.")
    scenarios: dict[str, PipelineConfig] = Field(default_factory=default_scenarios, min_length=1)
    cold_start: ColdStartConfig = ColdStartConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    promotion: PromotionConfig = PromotionConfig()
    retrain: RetrainConfig = RetrainConfig()
    outcomes: OutcomesConfig = OutcomesConfig()
    server: ServerConfig = ServerConfig()
    streams: StreamsConfig = StreamsConfig()

    @model_validator(mode="after")
    def _scenario_names(self) -> Config:
        for name in self.scenarios:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"scenario name {name!r} must consist of letters, digits, - and _")
        return self

    @model_validator(mode="after")
    def _caps_within_retention(self) -> Config:
        kept = self.store.retention_days
        for name, scenario in self.scenarios.items():
            cap = scenario.frequency_cap
            if cap is not None and kept is not None and cap.window_hours > kept * 24:
                raise ValueError(
                    f"scenarios.{name}.frequency_cap.window_hours ({cap.window_hours:g}) is longer than "
                    f"store.retention_days ({kept:g}) keeps impressions; shorten it to {kept * 24:g}"
                )
        return self

    @model_validator(mode="after")
    def _outcome_types(self) -> Config:
        for name in self.outcomes.unknown_types(self.event_types):
            raise ValueError(f"outcomes: unknown event type {name!r}{nearest(name, self.event_types)}")
        return self

    @model_validator(mode="after")
    def _feedback_types(self) -> Config:
        for name in self.server.gorse.feedback_types.values():
            if name not in self.event_types:
                raise ValueError(
                    f"server.gorse.feedback_types: unknown event type {name!r}"
                    f"{nearest(name, self.event_types)}"
                )
        return self

    @model_validator(mode="after")
    def _hook_types(self) -> Config:
        for place, name in self.streams.event_types_named():
            if name not in self.event_types:
                raise ValueError(f"{place}: unknown event type {name!r}{nearest(name, self.event_types)}")
        return self

    @property
    def event_types(self) -> dict[str, EventType]:
        """All event types in a fixed order: the defaults, then the configured ones."""
        return {**DEFAULT_EVENT_TYPES, **self.events}

    @property
    def space_dimensions(self) -> dict[str, int]:
        """Numbers of a vector of each named space."""
        return {name: space.dimensions for name, space in self.vectors.items()}

    @property
    def default_scenario(self) -> str:
        """``home`` if there is one, else the first."""
        return DEFAULT_SCENARIO if DEFAULT_SCENARIO in self.scenarios else next(iter(self.scenarios))

    def trained(self) -> dict[str, Any]:
        """What decides a bundle's content, as plain data; serving and storage settings do not count."""
        return self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(_NOT_TRAINED, True),
                # Without any, a bundle is what it was before there were such spaces.
                **({} if self.vectors else {"vectors": True}),
                "scenarios": {
                    "__all__": {"seen", "seen_half_life_days", "frequency_cap", "explore", "language"}
                },
            },
        )

    def training_hash(self) -> str:
        """sha256 of :meth:`trained`."""
        return hashlib.sha256(json.dumps(self.trained(), sort_keys=True).encode()).hexdigest()
