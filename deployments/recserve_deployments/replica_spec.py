"""Which part of the graph a replica is, and the part of the configuration it needs for that.

A replica loads only its part's plugins, so a retrieval replica never imports what only the ranker uses, and a
broken plugin stays harmless to every part that does without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from recserve.bundles.bundle import BundleRepository
from recserve.config import ComponentConfig, Config, PipelineConfig, parse_config
from recserve.data.catalogue import Catalogue
from recserve.errors import PluginError
from recserve.plugin.protocols import Component, NoParams, Stage
from recserve.plugin.registry import Registry, Resolved, ResolvedConfig, ResolvedPipeline
from recserve.store import Store, open_store


class ReplicaRole(StrEnum):
    """The parts that replicas are made of."""

    WHOLE = "whole"
    EDGE = "edge"
    RETRIEVAL = "retrieval"
    ENCODING = "encoding"
    RANKING = "ranking"


@dataclass(frozen=True)
class ReplicaSpec:
    """All that a replica is told when it starts; small and plain, because it travels.

    Attributes:
        part: What the replica is.
        home: The home folder, absolute.
        config: The whole configuration as plain data.
        plugins: Entry points that this part loads.
    """

    part: ReplicaRole
    home: str
    config: Mapping[str, Any]
    plugins: frozenset[str]

    def open(self) -> Opened:
        """Load the plugins and open what is shared by all bundles.

        Raises:
            RecserveError: A plugin is missing or broken, or the store cannot be opened.
        """
        _log_like_serve()
        config = parse_config(dict(self.config))
        registry = Registry.discover(only=self.plugins)
        home = Path(self.home)
        return Opened(
            config=config,
            registry=registry,
            resolved=resolve_part(registry, config, self.part),
            store=open_store(config.store.url, home),
            repository=BundleRepository(home, config.bundles),
        )


def _log_like_serve() -> None:
    """Have our log lines in the replica's own log file, beside Serve's."""
    handlers = logging.getLogger("ray.serve").handlers
    for name in ("recserve", "recserve_deployments"):
        ours = logging.getLogger(name)
        ours.setLevel(logging.INFO)
        ours.handlers = list(handlers)
        ours.propagate = not handlers


@dataclass(frozen=True)
class Opened:
    """What a replica holds for its whole life.

    Attributes:
        config: The whole configuration.
        registry: The part's plugins.
        resolved: The part's components; those of other parts refuse to be built.
        store: The store.
        repository: Where bundles live.
    """

    config: Config
    registry: Registry
    resolved: ResolvedConfig
    store: Store
    repository: BundleRepository


def resolve_part(registry: Registry, config: Config, part: ReplicaRole) -> ResolvedConfig:
    """Check a part's share of the configuration against the plugins that were loaded for it.

    Raises:
        ConfigError: A component is unknown here (its plugin failed to load, with the cause), or refuses
            its parameters.
    """
    if part is ReplicaRole.WHOLE:
        return registry.resolve(config)
    encoder = None
    if config.encoder is not None:
        encoder = _absent(Stage.ENCODER, config.encoder.use)
        if part is ReplicaRole.ENCODING:
            encoder = registry.choose(Stage.ENCODER, config.encoder.component(), "encoder")
    item_text = _absent(Stage.ITEM_TEXT, config.item_text.use)
    if part is ReplicaRole.EDGE:
        item_text = registry.choose(Stage.ITEM_TEXT, config.item_text, "item_text")
    scenarios = {
        name: _resolve_pipeline(registry, pipeline, f"scenarios.{name}", part)
        for name, pipeline in config.scenarios.items()
    }
    rerankers = registry.request_rerankers() if part is ReplicaRole.EDGE else {}
    return ResolvedConfig(config, encoder, item_text, scenarios, rerankers)


def _resolve_pipeline(
    registry: Registry, config: PipelineConfig, where: str, part: ReplicaRole
) -> ResolvedPipeline:
    edge, retrieval = part is ReplicaRole.EDGE, part is ReplicaRole.RETRIEVAL

    def one(wanted: bool, stage: Stage, key: str, component: ComponentConfig) -> Resolved:
        if not wanted:
            return _absent(stage, component.use)
        return registry.choose(stage, component, f"{where}.{key}")

    def several(
        wanted: bool, stage: Stage, key: str, components: tuple[ComponentConfig, ...]
    ) -> tuple[Resolved, ...]:
        if not wanted:
            return ()
        return tuple(
            one(True, stage, f"{key}[{index}]", component) for index, component in enumerate(components)
        )

    ranker = None
    if config.ranker is not None and part is ReplicaRole.RANKING:
        ranker = one(True, Stage.RANKER, "ranker", config.ranker)
    # The fallback is usually one of the retrievers, and then it has that one's parameters.
    listed = {retriever.use: retriever for retriever in config.retrievers}
    fallback = listed.get(config.fallback.use, config.fallback)
    return ResolvedPipeline(
        config=config,
        retrievers=several(retrieval, Stage.RETRIEVER, "retrievers", config.retrievers),
        ranker=ranker,
        rerankers=several(edge, Stage.RERANKER, "rerankers", config.rerankers),
        filters=several(edge or retrieval, Stage.FILTER, "filters", config.filters),
        explainer=one(edge, Stage.EXPLAINER, "explainer", config.explainer),
        fallback=one(edge, Stage.RETRIEVER, "fallback", fallback),
    )


def _absent(stage: Stage, name: str) -> Resolved:
    """Stands in for a component that another part loads."""

    def refuse(params: NoParams, catalogue: Catalogue) -> NoReturn:
        raise PluginError(f"{stage.value} {name!r} is not loaded in this part of the graph")

    return Resolved(stage, Component(name, refuse), NoParams(), "", "")
