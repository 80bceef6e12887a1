"""Builds the parts of the graph from a bundle: what each replica loads, and all of it for one process.

A part names only the components it needs, so a retrieval replica never imports what only the ranker uses.
Parameters of trained components come from the bundle (their state was learnt with them); everything else
comes from the configuration that the server was started with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from recserve.bundles.bundle import Bundle
from recserve.data.catalogue import Catalogue
from recserve.errors import BundleError
from recserve.plugin.protocols import Trainable
from recserve.plugin.resolved import Resolved, ResolvedConfig, ResolvedPipeline
from recserve.serving.scenario import RequestRules, Scenario, ScenarioContext
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalStage
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import BundleStore, Store

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Loader:
    """Builds and loads components of one bundle, each once.

    Args:
        bundle: The bundle.
        resolved: The configuration, checked against the plugins of this process.
    """

    def __init__(self, bundle: Bundle, resolved: ResolvedConfig) -> None:
        self.bundle = bundle
        self.resolved = resolved
        self._built: dict[str, Any] = {}
        self._live: CatalogueFollower | None = None
        self._later: tuple[Catalogue, dict[str, Any]] | None = None

    def component(self, one: Resolved) -> Any:
        """The stage object of a component, loaded if it is trained.

        Raises:
            BundleError: The bundle lacks it, or its files do not fit.
            PluginError: The factory raised.
        """
        if one.key not in self._built:
            self._built[one.key] = self._load(one)
        return self._built[one.key]

    def _load(self, one: Resolved) -> Any:
        built = self._with_params(one).build(self.bundle.catalogue)
        if isinstance(built, Trainable):
            built.load(self.bundle.component_directory(one.key))
        return built

    def _with_params(self, one: Resolved) -> Resolved:
        """The component with the parameters that its state was learnt with."""
        entry = self.bundle.manifest.components.get(one.key)
        if entry is not None:
            try:
                params = one.component.params.model_validate(entry.params)
            except ValidationError as error:
                raise BundleError(
                    f"bundle {self.bundle.id}: parameters of {one.key} do not fit the installed plugin "
                    f"{one.plugin!r} ({error.error_count()} problems); train again"
                ) from None
            one = Resolved(one.stage, one.component, params, one.plugin, one.where)
        return one

    def follow(self, store: Store) -> CatalogueFollower:
        """Follow what happens to the catalogue, for all parts that are made from here on.

        Raises:
            StoreError: The store cannot be reached.
        """
        bundle = self.bundle
        since = trained_version(store, bundle.id)
        self._live = CatalogueFollower(bundle.catalogue, store, since, bundle.manifest.encoder_fingerprint)
        return self._live

    def on(self, one: Resolved, catalogue: Catalogue) -> Any:
        """The stage object of a component on a catalogue that new items may have joined.

        What was trained knows the bundle's items only and stays as it is.
        """
        built = self.component(one)
        if catalogue is self.bundle.catalogue or isinstance(built, Trainable):
            return built
        if self._later is None or self._later[0] is not catalogue:
            self._later = (catalogue, {})
        # Scenarios share what they have in common, here too.
        made = self._later[1]
        if one.key not in made:
            made[one.key] = self._with_params(one).build(catalogue)
        return made[one.key]

    def _scenarios(self, build: Callable[[ResolvedPipeline], Scenario]) -> dict[str, Scenario]:
        return {name: build(pipeline) for name, pipeline in self.resolved.scenarios.items()}

    def retrieval(self, deadline: float | None = None, threads: int = 1) -> RetrievalStage:
        """Retrievers and filters of all scenarios."""

        def scenarios(catalogue: Catalogue) -> dict[str, Scenario]:
            return self._scenarios(
                lambda pipeline: Scenario(
                    config=pipeline.config,
                    retrievers={one.name: self.component(one) for one in pipeline.retrievers},
                    filters={one.name: self.on(one, catalogue) for one in pipeline.filters},
                )
            )

        return RetrievalStage(scenarios(self.bundle.catalogue), deadline, threads, self._live, scenarios)

    def ranking(self) -> RankingStage:
        """Rankers of all scenarios."""
        return RankingStage(
            self._scenarios(
                lambda pipeline: Scenario(
                    config=pipeline.config,
                    retrievers={},
                    filters={},
                    ranker=None if pipeline.ranker is None else self.component(pipeline.ranker),
                )
            ),
            self._live,
        )

    def edge(self, catalogue: Catalogue | None = None) -> ScenarioContext:
        """What the pipeline itself needs: filters, rerankers, explainers and the fallback.

        Args:
            catalogue: The bundle's catalogue with what happened to it since; None for the bundle's.
        """
        resolved = self.resolved
        current = self.bundle.catalogue if catalogue is None else catalogue

        def build(pipeline: ResolvedPipeline) -> Scenario:
            return Scenario(
                config=pipeline.config,
                retrievers={},
                filters={one.name: self.on(one, current) for one in pipeline.filters},
                rerankers=[self.on(one, current) for one in pipeline.rerankers],
            )

        return ScenarioContext(
            bundle=self.bundle.id,
            catalogue=current,
            event_types=resolved.config.event_types,
            scenarios=self._scenarios(build),
            explainers={
                name: self.on(pipeline.explainer, current) for name, pipeline in resolved.scenarios.items()
            },
            fallbacks={
                name: self.component(pipeline.fallback) for name, pipeline in resolved.scenarios.items()
            },
            filter_arguments={
                name: {one.name: _argument_type(one) for one in pipeline.filters}
                for name, pipeline in resolved.scenarios.items()
            },
            item_text=resolved.item_text.build(self.bundle.catalogue),
            default_scenario=resolved.config.default_scenario,
            fingerprint=self.bundle.manifest.encoder_fingerprint,
            cold_start=resolved.config.cold_start,
            rules={
                name: RequestRules(pipeline.rerankers, resolved.rerankers, self._for_request, current)
                for name, pipeline in resolved.scenarios.items()
            },
        )

    def _for_request(self, one: Resolved, catalogue: Catalogue) -> Any:
        """A reranker with a request's parameters; a trained one has none and is shared."""
        return one.build(catalogue) if one.component.stateless else self.on(one, catalogue)


def _argument_type(one: Resolved) -> TypeAdapter[Any]:
    return TypeAdapter(Any if one.component.argument is None else one.component.argument)


def trained_version(store: BundleStore, bundle_id: str) -> int:
    """Version of the store's catalogue that a bundle was trained on, -1 if the store does not know."""
    known = {record.bundle_id: record.summary for record in store.bundles()}
    version = known.get(bundle_id, {}).get("catalogue_version")
    return version if isinstance(version, int) else -1
