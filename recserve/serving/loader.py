"""Loader of the graph's parts from a bundle: what each replica loads, and all of it for one process.

A part names only the components it needs, so a retrieval replica never imports what only the ranker uses.
Parameters of trained components come from the bundle (their state was learnt with them); everything else
comes from the configuration that the server was started with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from recserve.bundles.bundle import Bundle
from recserve.config import EncoderConfig
from recserve.data.catalogue import Catalogue
from recserve.errors import BundleError
from recserve.plugin.protocols import ChoosesModel, Encoder, ItemEncoder, Trainable
from recserve.plugin.resolved import Resolved, ResolvedConfig, ResolvedPipeline
from recserve.serving.scenario import RequestRules, Scenario, ScenarioContext
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import Guard, RetrievalStage
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import BundleStore, Store


class Loader:
    """Builder of the components of one bundle, each built and loaded once.

    Args:
        bundle: The bundle.
        resolved: The configuration, checked against the plugins of this process.
        live: Follows the catalogue, see :func:`follow_catalogue`; None where it stands still.
    """

    def __init__(
        self, bundle: Bundle, resolved: ResolvedConfig, live: CatalogueFollower | None = None
    ) -> None:
        self.bundle = bundle
        self.resolved = resolved.without(bundle.manifest.left_out)
        self._live = live
        self._built: dict[str, Any] = {}
        self._later: tuple[Catalogue, dict[str, Any]] | None = None

    def component(self, wanted: Resolved) -> Any:
        """The stage object of a component, loaded if it is trained.

        Raises:
            BundleError: The bundle lacks it, or its files do not fit.
            PluginError: The factory raised.
        """
        if wanted.key not in self._built:
            self._built[wanted.key] = self._load(wanted)
        return self._built[wanted.key]

    def encoder(self) -> Encoder | None:
        """The text encoder: with what training made of it, if the bundle has that, else as it comes.

        Raises:
            BundleError: Its files are damaged, or were learnt on another model.
            ConfigError: Its model cannot be loaded.
        """
        wanted = self.resolved.encoder
        if wanted is None:
            return None
        if wanted.key in self.bundle.manifest.components:
            trained: Encoder = self.component(wanted)
            return trained
        built: Encoder | ChoosesModel = wanted.build(Catalogue())
        return self._chosen(wanted) if isinstance(built, ChoosesModel) else built

    def _chosen(self, wanted: Resolved) -> Encoder:
        """The text encoder with the model that the bundle's training chose."""
        settled = EncoderConfig.model_validate(self.bundle.manifest.config.get("encoder") or {})
        params = wanted.component.params.model_validate(settled.component().params)
        encoder: Encoder = replace(wanted, params=params).build(Catalogue())
        return encoder

    def _load(self, wanted: Resolved) -> Any:
        built = self._with_params(wanted).build(self.bundle.catalogue)
        if isinstance(built, Trainable):
            built.load(self.bundle.component_directory(wanted.key))
        return built

    def _with_params(self, wanted: Resolved) -> Resolved:
        """The component with the parameters that its state was learnt with."""
        entry = self.bundle.manifest.components.get(wanted.key)
        if entry is None:
            return wanted
        try:
            params = wanted.component.params.model_validate(entry.params)
        except ValidationError as error:
            raise BundleError(
                f"bundle {self.bundle.id}: parameters of {wanted.key} do not fit the installed plugin "
                f"{wanted.plugin!r} ({error.error_count()} problems); train again"
            ) from None
        return Resolved(wanted.stage, wanted.component, params, wanted.plugin, wanted.where)

    def on(self, wanted: Resolved, catalogue: Catalogue) -> Any:
        """The stage object of a component on a catalogue that new items may have joined.

        What was trained knows the bundle's items only and stays as it is.
        """
        built = self.component(wanted)
        if catalogue is self.bundle.catalogue or isinstance(built, Trainable):
            return built
        if self._later is None or self._later[0] is not catalogue:
            self._later = (catalogue, {})
        # Scenarios share what they have in common, here too.
        made = self._later[1]
        if wanted.key not in made:
            made[wanted.key] = self._with_params(wanted).build(catalogue)
        return made[wanted.key]

    def _scenarios(self, build: Callable[[ResolvedPipeline], Scenario]) -> dict[str, Scenario]:
        """Scenarios with the order of candidates that the bundle's training chose."""
        orders = self.bundle.manifest.orders
        return {
            name: replace(build(pipeline), order=orders.get(name))
            for name, pipeline in self.resolved.scenarios.items()
        }

    def retrieval(self, guard: Guard | None = None) -> RetrievalStage:
        """Retrievers and filters of all scenarios.

        Args:
            guard: Limits of the plugin code.
        """

        def scenarios(catalogue: Catalogue) -> dict[str, Scenario]:
            return self._scenarios(
                lambda pipeline: Scenario(
                    config=pipeline.config,
                    retrievers={chosen.name: self.component(chosen) for chosen in pipeline.retrievers},
                    filters={chosen.name: self.on(chosen, catalogue) for chosen in pipeline.filters},
                )
            )

        return RetrievalStage(scenarios(self.bundle.catalogue), guard, self._live, scenarios)

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

    def context(self, catalogue: Catalogue | None = None) -> ScenarioContext:
        """The scenario context, what the pipeline itself needs: filters, rerankers, explainers, fallbacks.

        Args:
            catalogue: The bundle's catalogue with what happened to it since; None for the bundle's.
        """
        resolved = self.resolved
        current = self.bundle.catalogue if catalogue is None else catalogue

        def build(pipeline: ResolvedPipeline) -> Scenario:
            return Scenario(
                config=pipeline.config,
                retrievers={},
                filters={chosen.name: self.on(chosen, current) for chosen in pipeline.filters},
                rerankers=[(chosen.name, self.on(chosen, current)) for chosen in pipeline.rerankers],
                reads_impressions=pipeline.reads_impressions,
            )

        counted = resolved.counts_impressions
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
                name: {chosen.name: _argument_type(chosen) for chosen in pipeline.filters}
                for name, pipeline in resolved.scenarios.items()
            },
            item_text=resolved.item_text.build(self.bundle.catalogue),
            default_scenario=resolved.config.default_scenario,
            fingerprint=self.bundle.manifest.encoder_fingerprint,
            cold_start=resolved.config.cold_start,
            rules={
                name: RequestRules(
                    pipeline.rerankers, resolved.rerankers, self._for_request, current, counted
                )
                for name, pipeline in resolved.scenarios.items()
            },
            impressions=resolved.config.server.impressions if counted else 0,
            item_encoders=self._item_encoders(),
        )

    def _item_encoders(self) -> dict[str, ItemEncoder]:
        """Item encoders by the space of the bundle that they compute."""
        known = self.bundle.manifest.spaces
        built = {
            name: chosen.build(Catalogue())
            for name, chosen in self.resolved.item_encoders.items()
            if name in known and name in self.bundle.catalogue.spaces
        }
        return {name: encoder for name, encoder in built.items() if encoder.fingerprint == known[name]}

    def _for_request(self, wanted: Resolved, catalogue: Catalogue) -> Any:
        """A reranker with a request's parameters; a trained one has none and is shared."""
        return wanted.build(catalogue) if wanted.component.stateless else self.on(wanted, catalogue)


def _argument_type(chosen: Resolved) -> TypeAdapter[Any]:
    return TypeAdapter(Any if chosen.component.argument is None else chosen.component.argument)


def follow_catalogue(bundle: Bundle, store: Store) -> CatalogueFollower:
    """A follower of what happens to a bundle's catalogue in a store.

    Raises:
        StoreError: The store cannot be reached.
    """
    since = trained_version(store, bundle.id)
    manifest = bundle.manifest
    return CatalogueFollower(bundle.catalogue, store, since, manifest.encoder_fingerprint, manifest.spaces)


def trained_version(store: BundleStore, bundle_id: str) -> int:
    """Version of the store's catalogue that a bundle was trained on, -1 if the store does not know."""
    summaries = {record.bundle_id: record.summary for record in store.bundles()}
    version = summaries.get(bundle_id, {}).get("catalogue_version")
    return version if isinstance(version, int) else -1
