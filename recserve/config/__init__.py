"""Configuration: pydantic models that refuse what they do not know.

A file (``recserve.yaml`` in the home folder, or ``--config``) is layered over the defaults here.
Whether the named components exist and accept their parameters is checked by
:func:`recserve.plugin.registry.Registry.resolve`, before anything trains or starts.
"""

from __future__ import annotations

from recserve.config.loading import from_environment, load_config, parse_config, plain_config
from recserve.config.mistakes import (
    Mistake,
    describe_all,
    describe_validation_error,
    keys_at,
    location,
    nearest,
)
from recserve.config.outcomes import OutcomesConfig
from recserve.config.root import Config, StoreConfig
from recserve.config.scenarios import (
    COUNTED_IMPRESSIONS,
    DEFAULT_SCENARIO,
    LANGUAGE,
    MAX_DIMENSIONS,
    SEARCH_SCENARIO,
    ColdStartConfig,
    ComponentConfig,
    EncoderConfig,
    ExploreConfig,
    FrequencyCapConfig,
    PipelineConfig,
    RetrieverConfig,
    VectorSpaceConfig,
    default_scenarios,
)
from recserve.config.server import GorseConfig, ServerConfig, StageConfig
from recserve.config.streams import (
    FieldConfig,
    HookConfig,
    HookFieldsConfig,
    KafkaConfig,
    SignatureConfig,
    SinkConfig,
    SinkKind,
    SourceConfig,
    StreamsConfig,
    TopicKind,
    WebhookConfig,
)
from recserve.config.training import PromotionConfig, RetrainConfig, TrainConfig, TuneConfig

__all__ = [
    "COUNTED_IMPRESSIONS",
    "DEFAULT_SCENARIO",
    "LANGUAGE",
    "MAX_DIMENSIONS",
    "SEARCH_SCENARIO",
    "ColdStartConfig",
    "ComponentConfig",
    "Config",
    "EncoderConfig",
    "ExploreConfig",
    "FieldConfig",
    "FrequencyCapConfig",
    "GorseConfig",
    "HookConfig",
    "HookFieldsConfig",
    "KafkaConfig",
    "Mistake",
    "OutcomesConfig",
    "PipelineConfig",
    "PromotionConfig",
    "RetrainConfig",
    "RetrieverConfig",
    "ServerConfig",
    "SignatureConfig",
    "SinkConfig",
    "SinkKind",
    "SourceConfig",
    "StageConfig",
    "StoreConfig",
    "StreamsConfig",
    "TopicKind",
    "TrainConfig",
    "TuneConfig",
    "VectorSpaceConfig",
    "WebhookConfig",
    "default_scenarios",
    "describe_all",
    "describe_validation_error",
    "from_environment",
    "keys_at",
    "load_config",
    "location",
    "nearest",
    "parse_config",
    "plain_config",
]
