"""Plugin registry: discovery by entry point, collisions, and the distribution behind each component.

A replica discovers only the plugins it needs (``only=...``), so a broken neighbour stays harmless; a
configured component whose plugin failed to load is reported with the distribution and the cause.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from recserve import __version__
from recserve.config import (
    ComponentConfig,
    Config,
    PipelineConfig,
    describe_validation_error,
    nearest,
)
from recserve.errors import ConfigError, PluginError
from recserve.plugin.hookspecs import PROJECT, HookSpecs
from recserve.plugin.protocols import Component, NoParams, Stage
from recserve.plugin.resolved import (
    FALLBACK_SERVED_BY,
    ReplicaRole,
    Resolved,
    ResolvedConfig,
    ResolvedPipeline,
)

ENTRY_POINT_GROUP = "recserve"

_HOOKS: Mapping[Stage, str] = {
    Stage.RETRIEVER: "register_retrievers",
    Stage.ENCODER: "register_encoders",
    Stage.RANKER: "register_rankers",
    Stage.RERANKER: "register_rerankers",
    Stage.FILTER: "register_filters",
    Stage.EXPLAINER: "register_explainers",
    Stage.ITEM_TEXT: "register_item_texts",
    Stage.ITEM_ENCODER: "register_item_encoders",
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
        hint = nearest(name, self.names(stage)) or "; none is installed (pip install 'recserve[standard]')"
        if stage is Stage.ENCODER:
            hint += "; `encoder: null` does without"
        raise ConfigError(f"{where}: unknown {stage.value} {name!r}{hint}{also}", field=where)

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

    def resolve(self, config: Config, role: ReplicaRole = ReplicaRole.WHOLE) -> ResolvedConfig:
        """Check a configuration, as far as replicas of a role serve it.

        Args:
            config: The whole configuration.
            role: What it does not serve is not looked up, as its plugins need not be loaded: lists are empty,
                and single components refuse to be built.

        Raises:
            ConfigError: Names the key, the value and the nearest valid name.
        """

        def choose(stage: Stage, component: ComponentConfig, where: str) -> Resolved:
            if not role.serves(stage):
                return Resolved.elsewhere(stage, component.use)
            return self.choose(stage, component, where)

        encoder = None
        if config.encoder is not None:
            encoder = choose(Stage.ENCODER, config.encoder.component(), "encoder")
        resolved = ResolvedConfig(
            config=config,
            encoder=encoder,
            item_text=choose(Stage.ITEM_TEXT, config.item_text, "item_text"),
            item_encoders={
                name: choose(Stage.ITEM_ENCODER, space.encoder, f"vectors.{name}.encoder")
                for name, space in config.vectors.items()
                if space.encoder is not None
            },
            scenarios={
                name: self._resolve_pipeline(pipeline, f"scenarios.{name}", role)
                for name, pipeline in config.scenarios.items()
            },
            rerankers=self.request_rerankers() if role.serves(Stage.RERANKER) else {},
        )
        if role is ReplicaRole.WHOLE:
            self._check_consistent(resolved)
        return resolved

    def request_rerankers(self) -> dict[str, Resolved]:
        """Rerankers that learn nothing, by name, without parameters: a request brings those.

        One that asks a service outside is not among them: a request must not choose where data go.
        """
        return {
            name: Resolved(stage, component, NoParams(), plugin.name, f"rules.{name}")
            for (stage, name), (component, plugin) in self._components.items()
            if stage is Stage.RERANKER and component.stateless and not component.external
        }

    def _resolve_pipeline(self, config: PipelineConfig, where: str, role: ReplicaRole) -> ResolvedPipeline:
        def several(stage: Stage, key: str, configs: tuple[ComponentConfig, ...]) -> tuple[Resolved, ...]:
            chosen = configs if role.serves(stage) else ()
            return tuple(
                self.choose(stage, component, f"{where}.{key}[{index}]")
                for index, component in enumerate(chosen)
            )

        ranker = None
        if config.ranker is not None and role.serves(Stage.RANKER):
            ranker = self.choose(Stage.RANKER, config.ranker, f"{where}.ranker")
        explainer = Resolved.elsewhere(Stage.EXPLAINER, config.explainer.use)
        if role.serves(Stage.EXPLAINER):
            explainer = self.choose(Stage.EXPLAINER, config.explainer, f"{where}.explainer")
        retrievers = several(Stage.RETRIEVER, "retrievers", config.retrievers)
        return ResolvedPipeline(
            config=config,
            retrievers=retrievers,
            ranker=ranker,
            rerankers=several(Stage.RERANKER, "rerankers", config.rerankers),
            filters=several(Stage.FILTER, "filters", config.filters),
            explainer=explainer,
            fallback=self._resolve_fallback(config, where, role, retrievers),
        )

    def _resolve_fallback(
        self, config: PipelineConfig, where: str, role: ReplicaRole, retrievers: tuple[Resolved, ...]
    ) -> Resolved:
        """The fallback; usually one of the retrievers, and then it has that one's parameters."""
        name = config.fallback.use
        if role not in (ReplicaRole.WHOLE, FALLBACK_SERVED_BY):
            return Resolved.elsewhere(Stage.RETRIEVER, name)
        known = next((retriever for retriever in retrievers if retriever.name == name), None)
        if known is not None:
            return known
        listed = {retriever.use: retriever for retriever in config.retrievers}
        return self.choose(Stage.RETRIEVER, listed.get(name, config.fallback), f"{where}.fallback")

    def _check_consistent(self, resolved: ResolvedConfig) -> None:
        first: dict[str, Resolved] = {}
        for pipeline in resolved.scenarios.values():
            for chosen in pipeline.components():
                if chosen.needs_vectors and resolved.encoder is None:
                    raise ConfigError(
                        f"{chosen.where}: {chosen.stage.value} {chosen.name!r} needs text vectors, but "
                        "'encoder' is null; configure an encoder such as {model: bundled:minilm}",
                        field=chosen.where,
                    )
                known = first.setdefault(chosen.key, chosen)
                if known.params != chosen.params:
                    raise ConfigError(
                        f"{chosen.where}: {chosen.stage.value} {chosen.name!r} has other params than at "
                        f"{known.where}; a component is trained once and shared by all scenarios",
                        field=chosen.where,
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
                    raise TypeError(f"{_HOOKS[stage]} returned {component!r}, not a recserve.Component")
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
