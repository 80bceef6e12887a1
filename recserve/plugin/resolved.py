"""Resolved configuration: checked against plugins, whole or for one replica role."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import compress
from typing import Any, NoReturn

from pydantic import BaseModel

from recserve.config import ComponentConfig, Config, PipelineConfig
from recserve.data.catalogue import Catalogue
from recserve.errors import ConfigError, PluginError
from recserve.plugin.protocols import Component, NoParams, Stage


class ReplicaRole(StrEnum):
    """Role of a replica: the stages that it serves and whose plugins it loads."""

    WHOLE = "whole"
    INGRESS = "ingress"
    RETRIEVAL = "retrieval"
    ENCODING = "encoding"
    RANKING = "ranking"

    def serves(self, stage: Stage) -> bool:
        """Whether components of a stage are built in a replica of this role."""
        return self is ReplicaRole.WHOLE or self in _SERVED_BY.get(stage, ())


_SERVED_BY: Mapping[Stage, tuple[ReplicaRole, ...]] = {
    Stage.RETRIEVER: (ReplicaRole.RETRIEVAL,),
    Stage.ENCODER: (ReplicaRole.ENCODING,),
    Stage.RANKER: (ReplicaRole.RANKING,),
    Stage.RERANKER: (ReplicaRole.INGRESS,),
    Stage.FILTER: (ReplicaRole.INGRESS, ReplicaRole.RETRIEVAL),
    Stage.EXPLAINER: (ReplicaRole.INGRESS,),
    Stage.ITEM_TEXT: (ReplicaRole.INGRESS,),
    Stage.ITEM_ENCODER: (ReplicaRole.INGRESS,),
}
FALLBACK_SERVED_BY = ReplicaRole.INGRESS
"""The last resort must not need another process."""


@dataclass(frozen=True)
class Resolved:
    """A component chosen by configuration, with validated parameters.

    Attributes:
        stage: Its stage.
        component: What the plugin registered.
        params: Validated parameters.
        plugin: Name of the entry point that contributed it.
        where: The config key that chose it.
    """

    stage: Stage
    component: Component
    params: BaseModel
    plugin: str
    where: str

    @classmethod
    def elsewhere(cls, stage: Stage, name: str) -> Resolved:
        """Stands in for a component that replicas of another role load; it refuses to be built."""

        def refuse(params: NoParams, catalogue: Catalogue) -> NoReturn:
            raise PluginError(f"{stage.value} {name!r} is not loaded in a replica of this role")

        return cls(stage, Component(name, refuse), NoParams(), "", "")

    @property
    def name(self) -> str:
        """The component's registered name."""
        return self.component.name

    @property
    def key(self) -> str:
        """``stage.name``: names its folder in a bundle.

        For stateless components ``stage.name-<parameters>``, so that each use has parameters of its own.
        """
        name = f"{self.stage.value}.{self.component.name}"
        if not self.component.stateless:
            return name
        params = json.dumps(self.params.model_dump(mode="json"), sort_keys=True)
        return f"{name}-{hashlib.sha256(params.encode()).hexdigest()[:12]}"

    @property
    def needs_vectors(self) -> bool:
        """Whether it reads text vectors with these parameters."""
        decide = self.component.needs_vectors
        return decide(self.params) if callable(decide) else decide

    @property
    def trains_encoder(self) -> bool:
        """Whether its fit trains the text encoder too."""
        decide = self.component.trains_encoder
        return decide is not None and decide(self.params)

    def build(self, catalogue: Catalogue) -> Any:
        """Make the stage object.

        Raises:
            ConfigError: The parameters do not suit this catalogue.
            PluginError: The factory raised anything else.
        """
        try:
            return self.component.factory(self.params, catalogue)
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error.message}", field=self.where) from None
        except Exception as error:
            raise PluginError(
                f"{self.where}: {self.stage.value}.{self.name} of plugin {self.plugin!r} could not be "
                f"built: {error}"
            ) from error


@dataclass(frozen=True)
class ResolvedPipeline:
    """A scenario whose components all exist and accept their parameters."""

    config: PipelineConfig
    retrievers: tuple[Resolved, ...]
    ranker: Resolved | None
    rerankers: tuple[Resolved, ...]
    filters: tuple[Resolved, ...]
    explainer: Resolved
    fallback: Resolved

    def without(self, keys: Collection[str]) -> ResolvedPipeline:
        """The scenario without some of its trained parts; the first retriever stays if none else would.

        A replica of a role that does not serve a stage has none of its components, and does without them in
        the configuration alone.
        """

        def stays(stage: Stage, one: ComponentConfig, resolved: Sequence[Resolved]) -> bool:
            found = {part.key for part in resolved if part.name == one.use}
            return not (found or {f"{stage.value}.{one.use}"}) & set(keys)

        config = self.config
        retrievers = tuple(
            one for one in config.retrievers if stays(Stage.RETRIEVER, one, self.retrievers)
        ) or (config.retrievers[0],)
        ranker, own = config.ranker, () if self.ranker is None else (self.ranker,)
        if ranker is not None and not stays(Stage.RANKER, ranker, own):
            ranker = None
        reranking = [stays(Stage.RERANKER, one, self.rerankers) for one in config.rerankers]
        changes = {
            "retrievers": retrievers,
            "ranker": ranker,
            "rerankers": tuple(compress(config.rerankers, reranking)),
        }
        names = {one.use for one in retrievers}
        return replace(
            self,
            config=config.model_copy(update=changes),
            retrievers=tuple(one for one in self.retrievers if one.name in names),
            ranker=None if ranker is None else self.ranker,
            rerankers=tuple(one for one in self.rerankers if one.key not in keys),
        )

    @property
    def reads_impressions(self) -> bool:
        """Whether answers of the scenario depend on what the user was shown."""
        reading = (reranker.component.needs_impressions for reranker in self.rerankers)
        return self.config.frequency_cap is not None or any(reading)

    def components(self) -> Iterator[Resolved]:
        """All components of the scenario."""
        yield from self.retrievers
        yield self.fallback
        if self.ranker is not None:
            yield self.ranker
        yield from self.rerankers
        yield from self.filters
        yield self.explainer


@dataclass(frozen=True)
class ResolvedConfig:
    """A configuration checked against the installed plugins.

    Attributes:
        config: The configuration.
        encoder: The text encoder, if any.
        item_text: Renders items for it.
        scenarios: By name.
        rerankers: By name, without parameters: those that a request may add to a scenario's.
        item_encoders: By the named space that each computes.
    """

    config: Config
    encoder: Resolved | None
    item_text: Resolved
    scenarios: Mapping[str, ResolvedPipeline]
    rerankers: Mapping[str, Resolved] = field(default_factory=dict)
    item_encoders: Mapping[str, Resolved] = field(default_factory=dict)

    def without(self, keys: Collection[str]) -> ResolvedConfig:
        """The configuration with scenarios that do without some retrievers, rankers and rerankers."""
        if not keys:
            return self
        narrowed = {name: pipeline.without(keys) for name, pipeline in self.scenarios.items()}
        return replace(self, scenarios=narrowed)

    def with_encoder(self, params: Mapping[str, Any]) -> ResolvedConfig:
        """The configuration with some parameters of the text encoder replaced."""
        if self.encoder is None or self.config.encoder is None:
            raise ConfigError("no text encoder is configured ('encoder' is null)", field="encoder")
        known = {
            name: value for name, value in params.items() if name in type(self.config.encoder).model_fields
        }
        further = {name: value for name, value in params.items() if name not in known}
        settled = self.config.encoder.model_copy(
            update={**known, "params": {**self.config.encoder.params, **further}}
        )
        validated = self.encoder.component.params.model_validate(settled.component().params)
        return replace(
            self,
            config=self.config.model_copy(update={"encoder": settled}),
            encoder=replace(self.encoder, params=validated),
        )

    @property
    def counts_impressions(self) -> bool:
        """Whether some scenario's answers depend on what users were shown."""
        return any(pipeline.reads_impressions for pipeline in self.scenarios.values())

    def components(self) -> dict[str, Resolved]:
        """Distinct components of all scenarios by key, in a fixed order."""
        found: dict[str, Resolved] = {}
        for pipeline in self.scenarios.values():
            for component in pipeline.components():
                found.setdefault(component.key, component)
        return found

    def plugins(self, role: ReplicaRole = ReplicaRole.WHOLE) -> frozenset[str]:
        """Entry points that replicas of a role need to serve this configuration."""
        needed = [self.item_text] if self.encoder is None else [self.item_text, self.encoder]
        needed += self.item_encoders.values()
        for pipeline in self.scenarios.values():
            needed += pipeline.components()
        found = {component.plugin for component in needed if role.serves(component.stage)}
        if role in (ReplicaRole.WHOLE, FALLBACK_SERVED_BY):
            found.update(pipeline.fallback.plugin for pipeline in self.scenarios.values())
        return frozenset(found)
