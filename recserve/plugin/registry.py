"""Finds plugins, refuses collisions and remembers which distribution gave what.

A replica discovers only the plugins it needs (``only=...``), so a broken neighbour stays harmless; a
configured component whose plugin failed to load is reported with the distribution and the cause.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ValidationError

from recserve import __version__
from recserve.config import (
    ComponentConfig,
    Config,
    PipelineConfig,
    describe_validation_error,
    nearest,
)
from recserve.data.catalogue import Catalogue
from recserve.errors import ConfigError, PluginError
from recserve.plugin.hookspecs import PROJECT, HookSpecs
from recserve.plugin.protocols import Component, NoParams, Stage

ENTRY_POINT_GROUP = "recserve"

_HOOKS: Mapping[Stage, str] = {
    Stage.RETRIEVER: "register_retrievers",
    Stage.ENCODER: "register_encoders",
    Stage.RANKER: "register_rankers",
    Stage.RERANKER: "register_rerankers",
    Stage.FILTER: "register_filters",
    Stage.EXPLAINER: "register_explainers",
    Stage.ITEM_TEXT: "register_item_texts",
    Stage.DATASET: "register_datasets",
}


@dataclass(frozen=True)
class PluginInfo:
    """One entry point: where it came from and what it contributed.

    Attributes:
        name: Name of the entry point.
        distribution: Distribution that declares it.
        version: Version of that distribution.
        components: Contributed components by stage.
        error: Why it could not be loaded, None if it was.
    """

    name: str
    distribution: str
    version: str
    components: Mapping[Stage, tuple[Component, ...]] = field(default_factory=dict)
    error: str | None = None


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
    """

    config: Config
    encoder: Resolved | None
    item_text: Resolved
    scenarios: Mapping[str, ResolvedPipeline]
    rerankers: Mapping[str, Resolved] = field(default_factory=dict)

    def components(self) -> dict[str, Resolved]:
        """Distinct components of all scenarios by key, in a fixed order."""
        found: dict[str, Resolved] = {}
        for pipeline in self.scenarios.values():
            for one in pipeline.components():
                found.setdefault(one.key, one)
        return found

    def plugins(self) -> frozenset[str]:
        """Entry points needed to serve this configuration."""
        chosen = [*self.components().values(), self.item_text]
        if self.encoder is not None:
            chosen.append(self.encoder)
        return frozenset(one.plugin for one in chosen)


class Registry:
    """Components by stage and name.

    Args:
        plugins: What was found; see :meth:`discover`.
        manager: The pluggy manager holding the loaded plugins (for observers).

    Raises:
        PluginError: Two plugins register the same name for one stage.
    """

    def __init__(self, plugins: Collection[PluginInfo], manager: pluggy.PluginManager) -> None:
        self.plugins = tuple(plugins)
        self.manager = manager
        self._components: dict[tuple[Stage, str], tuple[Component, PluginInfo]] = {}
        for plugin in self.plugins:
            for stage, components in plugin.components.items():
                for component in components:
                    self._add(stage, component, plugin)

    def _add(self, stage: Stage, component: Component, plugin: PluginInfo) -> None:
        known = self._components.get((stage, component.name))
        if known is not None:
            raise PluginError(
                f"two plugins register the {stage.value} {component.name!r}: {known[1].name!r} of "
                f"{known[1].distribution} and {plugin.name!r} of {plugin.distribution}; "
                "uninstall one of them"
            )
        self._components[stage, component.name] = (component, plugin)

    @classmethod
    def discover(cls, only: Collection[str] | None = None) -> Registry:
        """Load plugins from the entry-point group ``recserve``.

        Args:
            only: Names of entry points to load; None loads all. A plugin that fails to load is
                remembered with its cause and otherwise left out.

        Raises:
            PluginError: A name in ``only`` is not installed, or names collide.
        """
        found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        if only is not None:
            for name in sorted(only):
                if name not in found:
                    raise PluginError(f"plugin {name!r} is not installed here{nearest(name, found)}")
            found = {name: found[name] for name in found if name in only}
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(HookSpecs)
        return cls([_load(manager, found[name]) for name in sorted(found)], manager)

    def names(self, stage: Stage) -> list[str]:
        """Registered names of a stage, sorted."""
        return sorted(name for kind, name in self._components if kind is stage)

    def get(self, stage: Stage, name: str, where: str) -> tuple[Component, PluginInfo]:
        """Look a component up.

        Args:
            stage: Its stage.
            name: Its name.
            where: The config key or option that asks, for the message.

        Raises:
            ConfigError: Unknown name, or a name of another stage.
        """
        known = self._components.get((stage, name))
        if known is not None:
            return known
        for other in Stage:
            if other is not stage and (other, name) in self._components:
                raise ConfigError(
                    f"{where}: {name!r} is a {other.value}, not a {stage.value}"
                    f"{nearest(name, self.names(stage))}",
                    field=where,
                )
        broken = [plugin for plugin in self.plugins if plugin.error is not None]
        also = "".join(
            f"; plugin {plugin.name!r} of {plugin.distribution} {plugin.version} failed to load: "
            f"{plugin.error}"
            for plugin in broken
        )
        raise ConfigError(
            f"{where}: unknown {stage.value} {name!r}{nearest(name, self.names(stage))}{also}",
            field=where,
        )

    def choose(self, stage: Stage, config: ComponentConfig, where: str) -> Resolved:
        """Resolve one configured component.

        Raises:
            ConfigError: Unknown name, wrong stage, or bad parameters.
        """
        component, plugin = self.get(stage, config.use, f"{where}.use")
        try:
            params = component.params.model_validate(config.params)
        except ValidationError as error:
            raise ConfigError(
                f"{where}.params ({stage.value} {config.use!r}): "
                f"{describe_validation_error(error, component.params)}",
                field=f"{where}.params",
            ) from None
        return Resolved(stage, component, params, plugin.name, where)

    def resolve(self, config: Config) -> ResolvedConfig:
        """Check a whole configuration.

        Raises:
            ConfigError: Names the key, the value and the nearest valid name.
        """
        encoder = None
        if config.encoder is not None:
            encoder = self.choose(Stage.ENCODER, config.encoder.component(), "encoder")
        item_text = self.choose(Stage.ITEM_TEXT, config.item_text, "item_text")
        scenarios = {
            name: self._resolve_pipeline(pipeline, f"scenarios.{name}")
            for name, pipeline in config.scenarios.items()
        }
        resolved = ResolvedConfig(config, encoder, item_text, scenarios, self.request_rerankers())
        self._check_consistent(resolved)
        return resolved

    def request_rerankers(self) -> dict[str, Resolved]:
        """Rerankers that learn nothing, by name, without parameters: a request brings those."""
        return {
            name: Resolved(stage, component, NoParams(), plugin.name, f"rules.{name}")
            for (stage, name), (component, plugin) in self._components.items()
            if stage is Stage.RERANKER and component.stateless
        }

    def _resolve_pipeline(self, config: PipelineConfig, where: str) -> ResolvedPipeline:
        def several(stage: Stage, key: str, configs: tuple[ComponentConfig, ...]) -> tuple[Resolved, ...]:
            return tuple(
                self.choose(stage, one, f"{where}.{key}[{index}]") for index, one in enumerate(configs)
            )

        retrievers = several(Stage.RETRIEVER, "retrievers", config.retrievers)
        fallback = next(
            (one for one in retrievers if one.name == config.fallback.use),
            None,
        ) or self.choose(Stage.RETRIEVER, config.fallback, f"{where}.fallback")
        ranker = None
        if config.ranker is not None:
            ranker = self.choose(Stage.RANKER, config.ranker, f"{where}.ranker")
        return ResolvedPipeline(
            config=config,
            retrievers=retrievers,
            ranker=ranker,
            rerankers=several(Stage.RERANKER, "rerankers", config.rerankers),
            filters=several(Stage.FILTER, "filters", config.filters),
            explainer=self.choose(Stage.EXPLAINER, config.explainer, f"{where}.explainer"),
            fallback=fallback,
        )

    def _check_consistent(self, resolved: ResolvedConfig) -> None:
        first: dict[str, Resolved] = {}
        for pipeline in resolved.scenarios.values():
            for one in pipeline.components():
                if one.component.needs_vectors and resolved.encoder is None:
                    raise ConfigError(
                        f"{one.where}: {one.stage.value} {one.name!r} needs text vectors, but "
                        "'encoder' is null; configure an encoder such as {model: bundled:minilm}",
                        field=one.where,
                    )
                known = first.setdefault(one.key, one)
                if known.params != one.params:
                    raise ConfigError(
                        f"{one.where}: {one.stage.value} {one.name!r} has other params than at "
                        f"{known.where}; a component is trained once and shared by all scenarios",
                        field=one.where,
                    )


def _load(manager: pluggy.PluginManager, point: EntryPoint) -> PluginInfo:
    distribution = point.dist.name if point.dist is not None else "unknown"
    version = point.dist.version if point.dist is not None else "unknown"
    try:
        _check_contract(point)
        plugin = point.load()
        manager.register(plugin, name=point.name)
        manager.check_pending()
        components = {
            stage: tuple(component for component in _call(manager, point.name, hook))
            for stage, hook in _HOOKS.items()
        }
        for stage, contributed in components.items():
            for component in contributed:
                if not isinstance(component, Component):
                    raise TypeError(f"{_HOOKS[stage]} gave {component!r}, not a recserve.Component")
    except Exception as error:
        if manager.has_plugin(point.name):
            manager.unregister(name=point.name)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return PluginInfo(point.name, distribution, version, error=cause)
    return PluginInfo(point.name, distribution, version, components)


def _check_contract(point: EntryPoint) -> None:
    """Refuse a plugin whose distribution asks for another version of recserve, before its code is run.

    Raises:
        PluginError: Names what it asks for.
    """
    for line in (point.dist.requires if point.dist is not None else None) or ():
        needed = Requirement(line)
        if canonicalize_name(needed.name) != "recserve" or (needed.marker and not needed.marker.evaluate()):
            continue
        if not needed.specifier.contains(__version__, prereleases=True):
            raise PluginError(
                f"made for recserve {needed.specifier}, but {__version__} is installed; "
                "install a version of the plugin that fits"
            )


def _call(manager: pluggy.PluginManager, name: str, hook: str) -> list[Any]:
    """Results of one plugin's implementation of a hook, flattened."""
    others = [plugin for known, plugin in manager.list_name_plugin() if known != name]
    answers = manager.subset_hook_caller(hook, remove_plugins=others)()
    return [component for answer in answers for component in answer]
