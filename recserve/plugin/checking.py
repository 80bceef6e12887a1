"""Check of a configuration that finds all mistakes, and where components are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from recserve.config import ComponentConfig, Config, Mistake, PipelineConfig, describe_all
from recserve.errors import ConfigError
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry


@dataclass(frozen=True, slots=True)
class Use:
    """One place of a configuration that names a component.

    Attributes:
        stage: Stage of the component.
        name: Its name.
        where: The key, such as ``scenarios.home.retrievers[0]``.
        scenario: The scenario, None for what all of them share.
        params: The parameters that are set there.
    """

    stage: Stage
    name: str
    where: str
    scenario: str | None
    params: Mapping[str, Any]


def uses(config: Config) -> Iterator[Use]:
    """Every place of a configuration that names a component; a fallback that is a retriever too is one."""
    for stage, component, where, scenario in _places(config):
        yield Use(stage, component.use, where, scenario, component.params)


def mistakes(raw: object, registry: Registry) -> tuple[Config | None, list[Mistake]]:
    """Check a configuration against the installed plugins.

    Args:
        raw: The configuration as plain data.
        registry: All components.

    Returns:
        The configuration, None where it is none; and every mistake that could be told, a line each.
    """
    if not isinstance(raw, dict):
        return None, [Mistake(None, "the configuration must be a mapping of keys to values")]
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        return None, describe_all(error, Config)
    found = [mistake for place in _places(config) for mistake in _of_component(registry, *place[:3])]
    if not found:
        try:
            registry.resolve(config)
        except ConfigError as error:
            found.append(Mistake(error.field, error.message))
    return config, found


def _of_component(registry: Registry, stage: Stage, config: ComponentConfig, where: str) -> list[Mistake]:
    try:
        component, _ = registry.get(stage, config.use, f"{where}.use")
        component.params.model_validate(config.params)
    except ConfigError as error:
        return [Mistake(error.field, error.message)]
    except ValidationError as error:
        params = f"{where}.params"
        return [
            Mistake(
                f"{params}.{mistake.field}" if mistake.field else params,
                f"{params} ({stage.value} {config.use!r}): {mistake.message}",
            )
            for mistake in describe_all(error, component.params)
        ]
    return []


def _places(config: Config) -> Iterator[tuple[Stage, ComponentConfig, str, str | None]]:
    if config.encoder is not None:
        yield Stage.ENCODER, config.encoder.component(), "encoder", None
    yield Stage.ITEM_TEXT, config.item_text, "item_text", None
    for name, space in config.vectors.items():
        if space.encoder is not None:
            yield Stage.ITEM_ENCODER, space.encoder, f"vectors.{name}.encoder", None
    for name, pipeline in config.scenarios.items():
        for stage, component, key in _places_of(pipeline):
            yield stage, component, f"scenarios.{name}.{key}", name


def _places_of(pipeline: PipelineConfig) -> Iterator[tuple[Stage, ComponentConfig, str]]:
    several = (
        (Stage.RETRIEVER, "retrievers", pipeline.retrievers),
        (Stage.RERANKER, "rerankers", pipeline.rerankers),
        (Stage.FILTER, "filters", pipeline.filters),
    )
    for stage, key, components in several:
        for index, component in enumerate(components):
            yield stage, component, f"{key}[{index}]"
    if pipeline.ranker is not None:
        yield Stage.RANKER, pipeline.ranker, "ranker"
    yield Stage.EXPLAINER, pipeline.explainer, "explainer"
    if pipeline.fallback.use not in {retriever.use for retriever in pipeline.retrievers}:
        yield Stage.RETRIEVER, pipeline.fallback, "fallback"
