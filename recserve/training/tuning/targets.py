"""What can be tuned: one component, or the pipeline of a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recserve.bundles.text_language import settle_encoder
from recserve.config import ComponentConfig, Config, PipelineConfig, nearest, parse_config, plain_config
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.errors import ConfigError, RecserveError
from recserve.evaluation import Recommender, RetrieverRecommender
from recserve.plugin.protocols import FitContext, Stage, Trainable
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved, ResolvedConfig, ResolvedPipeline
from recserve.training.fitting import fit_pipeline, fit_single
from recserve.training.tuning.space import Dimension, Space, dimensions_of

PIPELINE = "pipeline"
_ENCODER = "encoder."
"""Begins the names of the parameters of a text encoder that is trained."""
_BUDGETS = (100, 200, 300, 500)
_WEIGHTS = (0.25, 4.0)


@dataclass(frozen=True)
class Target:
    """What is tuned, and where its parameters are in a configuration.

    Attributes:
        name: A component's name, or ``pipeline``.
        scenario: The scenario whose pipeline it is, or that decides the component's parameters.
        space: What is searched.
        needs_vectors: Whether items have to be encoded first.
    """

    name: str
    scenario: str
    space: Space
    needs_vectors: bool

    @property
    def whole(self) -> bool:
        """Whether it is a whole pipeline."""
        return self.name == PIPELINE

    def configure(self, config: Config, values: Mapping[str, Any]) -> Config:
        """The configuration with other values of the searched parameters, in every scenario that has them.

        What was not written in the original stays unwritten.

        Args:
            config: The original.
            values: By name, as in :attr:`space`.
        """
        plain = plain_config(config)
        encoder = {key: value for key, value in values.items() if key.startswith(_ENCODER)}
        values = {key: value for key, value in values.items() if key not in encoder}
        if encoder:
            params = plain["encoder"].setdefault("params", {})
            params.update({key.removeprefix(_ENCODER): value for key, value in encoder.items()})
        for name, pipeline in plain["scenarios"].items():
            _write_fallback(pipeline, config.scenarios[name], {key.partition(".")[0] for key in values}, self)
            for component in _components(pipeline):
                prefix = f"{component['use']}." if self.whole else ""
                if not self.whole and component["use"] != self.name:
                    continue
                params = {
                    key.removeprefix(prefix): value
                    for key, value in values.items()
                    if key.startswith(prefix) and (not self.whole or "." in key)
                }
                if params:
                    component["params"] = {**component.get("params", {}), **params}
            if self.whole and name == self.scenario:
                _configure_pipeline(pipeline, values)
        return parse_config(plain, "tuned configuration")

    def check(self, registry: Registry, config: Config, catalogue: Catalogue) -> None:
        """Make sure that components take their configured values, and what is at the ends of each range.

        Args:
            registry: All components.
            config: The configuration to begin with.
            catalogue: The items.

        Raises:
            ConfigError: A component refuses a value; names it.
        """
        defaults = self.space.defaults
        tried: list[tuple[str, str, Mapping[str, Any]]] = [("", "the configured values", defaults)]
        for dimension in self.space.dimensions:
            owner = dimension.name.partition(".")[0] if self.whole else self.name
            for value in dimension.ends:
                what = f"{dimension.name} = {value!r}, which the search may choose"
                tried.append((owner, what, {**defaults, dimension.name: value}))
        for owner, what, values in tried:
            try:
                for component in self._components(registry, self.configure(config, values)):
                    if owner in ("", component.name):
                        component.build(catalogue)
            except RecserveError as error:
                raise ConfigError(f"{what}: {error.message}") from None

    def fit(self, registry: Registry, config: Config, data: Dataset, context: FitContext) -> Recommender:
        """Fit what is tuned as a configuration has it, ready to be evaluated.

        Raises:
            RecserveError: A component refuses its parameters or the data.
        """
        if not self.whole:
            (component,) = self._components(registry, config)
            built, _ = fit_single(registry.resolve(config), component, data, context)
            return RetrieverRecommender(built)
        # Components of a pipeline validate themselves one after the other: no series to compare.
        silent = replace(context, validated=lambda step, score: None)
        return fit_pipeline(self._alone(registry, config), data, silent).recommender(self.scenario)

    def _components(self, registry: Registry, config: Config) -> list[Resolved]:
        """What is fitted."""
        if not self.whole:
            return [_as_retriever(registry, registry.resolve(config).scenarios.values(), self.name)]
        return list(self._alone(registry, config).scenarios[self.scenario].components())

    def _alone(self, registry: Registry, config: Config) -> ResolvedConfig:
        """The configuration without other scenarios, which would be fitted for nothing."""
        scenarios = {self.scenario: config.scenarios[self.scenario]}
        return registry.resolve(config.model_copy(update={"scenarios": scenarios}))


def choose_target(
    registry: Registry,
    resolved: ResolvedConfig,
    name: str,
    *,
    scenario: str | None = None,
    only: Sequence[str] = (),
) -> Target:
    """Find out what is to be tuned.

    Args:
        registry: All components.
        resolved: The configuration to begin with.
        name: A component that the configuration uses, or ``pipeline``.
        scenario: For ``pipeline``: which one; default: the default scenario.
        only: Names of the parameters to search; empty for all that have a range.

    Raises:
        ConfigError: Unknown name, nothing to search, or a component that cannot rank the catalogue alone.
    """
    scenario = scenario or resolved.config.default_scenario
    if scenario not in resolved.scenarios:
        raise ConfigError(
            f"--scenario: unknown scenario {scenario!r}{nearest(scenario, resolved.scenarios)}",
            field="--scenario",
        )
    pipeline = resolved.scenarios[scenario]
    if name == PIPELINE:
        dimensions = _pipeline_dimensions(pipeline)
        encoded = any(component.needs_vectors for component in pipeline.components())
    else:
        component = _as_retriever(registry, resolved.scenarios.values(), name)
        dimensions = dimensions_of(component.params)
        encoded = component.needs_vectors
    if encoded:
        dimensions += _encoder_dimensions(resolved)
    known = [dimension.name for dimension in dimensions]
    for wanted in only:
        if wanted not in known:
            raise ConfigError(
                f"--param: {name!r} has no searched parameter {wanted!r}{nearest(wanted, known)}"
            )
    chosen = tuple(dimension for dimension in dimensions if not only or dimension.name in only)
    if not chosen:
        raise ConfigError(f"{name!r} has no parameter with a search range: there is nothing to tune")
    return Target(name, scenario, Space(chosen), encoded)


def _as_retriever(registry: Registry, pipelines: Any, name: str) -> Resolved:
    """The component of that name, to be ranked with by itself, with its configured parameters."""
    used: dict[str, Resolved] = {}
    for pipeline in pipelines:
        ranker = () if pipeline.ranker is None else (pipeline.ranker,)
        for component in (*pipeline.retrievers, *ranker, pipeline.fallback):
            used.setdefault(component.name, component)
    if name not in used:
        raise ConfigError(
            f"no scenario of the configuration uses a retriever or ranker {name!r}"
            f"{nearest(name, [*used, PIPELINE])}"
        )
    if name not in registry.names(Stage.RETRIEVER):
        raise ConfigError(f"{name!r} cannot rank the catalogue by itself; tune {PIPELINE!r} instead")
    component = used[name]
    params = component.params.model_dump(mode="json", exclude_unset=True)
    return registry.choose(Stage.RETRIEVER, ComponentConfig(use=name, params=params), component.where)


def _encoder_dimensions(resolved: ResolvedConfig) -> list[Dimension]:
    """Parameters of the text encoder, if it is trained: each trial then trains it anew."""
    # Whichever model the texts ask for, it is trained alike.
    encoder = settle_encoder(resolved, Catalogue()).encoder
    if encoder is None or not isinstance(encoder.build(Catalogue()), Trainable):
        return []
    return dimensions_of(encoder.params, _ENCODER)


def _pipeline_dimensions(pipeline: ResolvedPipeline) -> list[Dimension]:
    ranker = () if pipeline.ranker is None else (pipeline.ranker,)
    found: dict[str, Dimension] = {}
    for component in (*pipeline.retrievers, *ranker):
        for dimension in dimensions_of(component.params, f"{component.name}."):
            found.setdefault(dimension.name, dimension)
    config = pipeline.config
    if pipeline.ranker is not None:
        budgets = tuple(sorted({*_BUDGETS, config.budget}))
        found["budget"] = Dimension("budget", config.budget, choices=budgets)
    if len(config.retrievers) > 1:
        for one_config in config.retrievers:
            low, high = min(_WEIGHTS[0], one_config.weight), max(_WEIGHTS[1], one_config.weight)
            name = f"weight {one_config.use}"
            found[name] = Dimension(name, one_config.weight, low=low, high=high, log=True)
    return list(found.values())


def _configure_pipeline(pipeline: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set what belongs to the pipeline itself rather than to a component."""
    if "budget" in values:
        pipeline["budget"] = values["budget"]
    for retriever in pipeline["retrievers"]:
        if f"weight {retriever['use']}" in values:
            retriever["weight"] = values[f"weight {retriever['use']}"]


def _write_fallback(
    pipeline: dict[str, Any], config: PipelineConfig, searched: set[str], target: Target
) -> None:
    """Write a fallback that was left to its default, where what is tuned is used as such.

    A component has the same parameters wherever it is used.
    """
    name = config.fallback.use
    tuned = name in searched if target.whole else name == target.name
    if (
        tuned
        and "fallback" not in pipeline
        and name not in {retriever["use"] for retriever in pipeline["retrievers"]}
    ):
        pipeline["fallback"] = {"use": name}


def _components(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Retrievers, ranker and fallback that are written in a scenario."""
    single = [pipeline[key] for key in ("ranker", "fallback") if pipeline.get(key)]
    return [*pipeline["retrievers"], *single]
