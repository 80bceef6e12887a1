"""Fits the components of a configuration on windows of data."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recserve.bundles.catalogue_vectors import Progress, encode_again, item_texts
from recserve.bundles.manifest import OrderEntry
from recserve.bundles.text_language import settle_encoder
from recserve.config import Config
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset, Tables
from recserve.data.system.cpus import usable_threads
from recserve.errors import ConfigError, DataError
from recserve.evaluation.metrics.cost import stored_bytes
from recserve.evaluation.splits import Split
from recserve.plugin.executor import Executor, InProcess
from recserve.plugin.protocols import Encoder, FitContext, LearnsFromCandidates, Stage, Trainable
from recserve.plugin.resolved import Resolved, ResolvedConfig
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import Ask
from recserve.training.fitted_pipeline import FittedPipeline
from recserve.training.selection.orders import HeldOutQueries, choose_order
from recserve.training.selection.proposals import QuerySample, ordered, proposals, ranked_across
from recserve.training.selection.shared_retrieval import SharedRetrieval
from recserve.training.selection.trade_offs import Figures, order_figures
from recserve.training.selection.unsuited import has_texts, unsuited_parts
from recserve.training.selection.validation import asks_for_repeats, next_window

logger = logging.getLogger(__name__)


def silent(description: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


def catalogue_of(tables: Tables) -> Catalogue:
    """The items of a data set with their named vectors, in the order of their ids."""
    items = tables.items.sort_by("item_id")
    catalogue = Catalogue(items["item_id"].to_pylist(), items["attributes"].to_pylist())
    return catalogue.with_named(tables.vectors) if tables.vectors else catalogue


def fit_context(config: Config, progress: Progress = silent, executor: Executor | None = None) -> FitContext:
    """Context of the fits of a configuration.

    Args:
        config: Seed, event types, device and threads are taken from here.
        progress: Called with (description, done, total).
        executor: Computes parts; None for this process.
    """
    train = config.train
    threads = train.threads or usable_threads()
    return FitContext(
        seed=train.seed,
        event_types=tuple(config.event_types),
        progress=progress,
        threads=threads,
        device=train.device,
        executor=executor or InProcess(train.device, threads),
    )


@dataclass
class Fitted:
    """A configuration's components, fitted on some data.

    Attributes:
        resolved: The configuration.
        catalogue: The items that they were fitted on, with a trained encoder's vectors if there is one.
        objects: Stage objects by component key, a trained encoder included.
        facts: What each fit reported, by component key.
        orders: The order of candidates that was chosen, by scenario.
        left_out: Configured components that were not fitted, by key, and why.
        seconds: What each fit took, by component key.
        trade_offs: What each order of candidates is worth beyond accuracy and costs, by scenario.
    """

    resolved: ResolvedConfig
    catalogue: Catalogue
    objects: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, OrderEntry] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    trade_offs: dict[str, Figures] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the trained encoder, None where none was trained."""
        chosen = self.resolved.encoder
        encoder = None if chosen is None else self.objects.get(chosen.key)
        return None if encoder is None else str(encoder.fingerprint)

    def scenario(self, name: str) -> Scenario:
        """One scenario with every stage object in place."""
        pipeline = self.resolved.scenarios[name]
        return Scenario(
            config=pipeline.config,
            retrievers={chosen.name: self.objects[chosen.key] for chosen in pipeline.retrievers},
            filters={chosen.name: self.objects[chosen.key] for chosen in pipeline.filters},
            ranker=None if pipeline.ranker is None else self.objects.get(pipeline.ranker.key),
            rerankers=[
                (chosen.name, self.objects[chosen.key])
                for chosen in pipeline.rerankers
                if not chosen.component.external
            ],
            order=self.orders.get(name),
        )

    def parts(self, scenario: str) -> dict[str, Any]:
        """Fitted components of one scenario by key."""
        keys = [chosen.key for chosen in self.resolved.scenarios[scenario].components()]
        return {key: self.objects[key] for key in keys if key in self.objects}

    def sizes(self, scenario: str, known: Mapping[str, float] | None = None) -> dict[str, float]:
        """Bytes that a bundle would keep of each part by key; those that are known are not saved again."""
        parts, measured = self.parts(scenario), known or {}
        new = {key: stored_bytes([part]) for key, part in parts.items() if key not in measured}
        return {**measured, **new}

    def recommender(self, scenario: str, ask: Ask | None = None) -> FittedPipeline:
        """The whole pipeline of a scenario but for what asks a service outside, for evaluation.

        Args:
            scenario: Name of the scenario.
            ask: Asks a retriever; None asks it every time.
        """
        pipeline = self.resolved.scenarios[scenario]
        if external := [chosen.name for chosen in pipeline.rerankers if chosen.component.external]:
            logger.warning("evaluated without %s: it asks a service outside", ", ".join(external))
        fallback = self.objects[pipeline.fallback.key]
        return FittedPipeline(self.scenario(scenario), fallback, self.catalogue, ask)


def fit_component(one: Resolved, data: Dataset, context: FitContext) -> tuple[Any, dict[str, Any]]:
    """Build one component and fit it if it is trainable.

    Returns:
        The object and what its fit reported.

    Raises:
        PluginError: The factory raised.
        RecserveError: The fit refused the data.
    """
    built = one.build(data.catalogue)
    if not isinstance(built, Trainable):
        return built, {}
    named = replace(
        context,
        progress=lambda description, done, total: context.progress(
            f"Fitting {one.name}: {description}", done, total
        ),
    )
    named.progress("started", 0, 1)
    return built, dict(built.fit(data, named))


def with_texts(context: FitContext, resolved: ResolvedConfig, data: Dataset) -> FitContext:
    """The context of a fit on some data, whose items' texts it gives."""
    return replace(context, item_texts=partial(item_texts, resolved, data.catalogue))


def fit_encoder(
    fitted: Fitted,
    data: Dataset,
    context: FitContext,
    previous: Fitted,
    done: Fitted | None = None,
    trainer: Resolved | None = None,
) -> Dataset:
    """Fit the text encoder on ``data`` if behaviour trains it, and encode the catalogue with it.

    Args:
        fitted: Gets the encoder and the catalogue, and the component that trained the encoder.
        data: Events to learn from; its catalogue has the untrained encoder's vectors.
        context: As for :func:`fit_all`.
        previous: As there.
        done: As there.
        trainer: Component that trains the encoder; None for that of the configuration, or the encoder itself.

    Returns:
        The data with the encoder's vectors, or as they were.

    Raises:
        ConfigError: Components train an encoder that is not to be trained, or several of them do.
    """
    if data.catalogue.vectors is not None:
        fitted.resolved = settle_encoder(fitted.resolved, data.catalogue)
    chosen = fitted.resolved.encoder
    if chosen is None or data.catalogue.vectors is None:
        return data
    key = chosen.key
    if done is not None and key in done.objects:
        fitted.objects[key], fitted.facts[key] = done.objects[key], dict(done.facts[key])
        fitted.seconds[key], fitted.catalogue = done.seconds.get(key, 0.0), done.catalogue
        return data.with_catalogue(fitted.catalogue)
    encoder: Encoder = chosen.build(Catalogue())
    trainer = trainer or _trainer_of_encoder(fitted.resolved)
    if trainer is None and not isinstance(encoder, Trainable):
        return data
    if trainer is not None and not isinstance(encoder, Trainable):
        raise ConfigError(
            f"{trainer.where}: {trainer.name} is to train the text encoder, and 'encoder' says nothing of "
            "training; set encoder.params.tune, such as to last_n",
            field=trainer.where,
        )
    started = time.perf_counter()
    context = with_texts(context, fitted.resolved, data)
    if trainer is None:
        # Its validations are a series of their own, which tuning must not take for a component's.
        own = replace(context, previous=previous.facts.get(key), validated=lambda step, score: None)
        encoder, fitted.facts[key] = fit_component(chosen, data, own)
    else:
        own = replace(context, previous=previous.facts.get(trainer.key), encoder=encoder)
        built, fitted.facts[trainer.key] = fit_component(trainer, data, own)
        fitted.facts[key] = {"trained_by": trainer.key}
    fitted.objects[key] = encoder
    fitted.catalogue = encode_again(fitted.resolved, encoder, data.catalogue, context)
    if trainer is not None:
        fitted.objects[trainer.key] = _rebuilt(trainer, built, fitted.catalogue)
    fitted.seconds[key if trainer is None else trainer.key] = time.perf_counter() - started
    return data.with_catalogue(fitted.catalogue)


def _trainer_of_encoder(resolved: ResolvedConfig) -> Resolved | None:
    """The component whose fit trains the text encoder, None where there is none."""
    trainers = [part for part in resolved.components().values() if part.trains_encoder]
    if len(trainers) > 1:
        names = " and ".join(part.key for part in trainers)
        raise ConfigError(
            f"{names} would each train the text encoder, of which there is one; let one of them train it",
            field=trainers[1].where,
        )
    return trainers[0] if trainers else None


def _rebuilt(chosen: Resolved, fitted: Any, catalogue: Catalogue) -> Any:
    """A fitted component over the same items with other vectors, as a bundle would restore it."""
    built = chosen.build(catalogue)
    with TemporaryDirectory() as folder:
        fitted.save(Path(folder))
        built.load(Path(folder))
    return built


def fit_single(
    resolved: ResolvedConfig, chosen: Resolved, data: Dataset, context: FitContext
) -> tuple[Any, dict[str, Any]]:
    """Fit one component as :func:`fit_component` does, with or after the encoder whose vectors it reads."""
    context = with_texts(context, resolved, data)
    if chosen.needs_vectors:
        first = Fitted(resolved, data.catalogue)
        trainer = chosen if chosen.trains_encoder else None
        data = fit_encoder(first, data, context, Fitted(resolved, data.catalogue), trainer=trainer)
        if chosen.key in first.objects:
            return first.objects[chosen.key], first.facts[chosen.key]
    return fit_component(chosen, data, context)


def fit_all(
    resolved: ResolvedConfig,
    data: Dataset,
    context: FitContext,
    previous: Fitted | None = None,
    done: Fitted | None = None,
) -> Fitted:
    """Fit every component of every scenario on ``data``, a text encoder that is trained before the others.

    Args:
        resolved: The configuration.
        data: Events to learn from; its catalogue has vectors if an encoder is configured.
        context: Seed, progress, device, threads.
        previous: An earlier fit, whose decisions are taken over: facts, orders and what is left out.
        done: Components that were fitted on the same data before.
    """
    if previous is None:
        previous = Fitted(resolved, data.catalogue)
    resolved = resolved.without(previous.left_out)
    fitted = Fitted(resolved, data.catalogue, orders=previous.orders, left_out=previous.left_out)
    context = with_texts(context, resolved, data)
    data = fit_encoder(fitted, data, context, previous, done)
    for key, one in resolved.components().items():
        if one.stage is Stage.EXPLAINER or key in fitted.objects:
            continue
        if done is not None and key in done.objects:
            fitted.objects[key], fitted.facts[key] = done.objects[key], dict(done.facts[key])
            fitted.seconds[key] = done.seconds.get(key, 0.0)
            continue
        started = time.perf_counter()
        own = replace(context, previous=previous.facts.get(key))
        fitted.objects[key], fitted.facts[key] = fit_component(one, data, own)
        fitted.seconds[key] = time.perf_counter() - started
    return fitted


def fit_windows(
    resolved: ResolvedConfig, data: Dataset, context: FitContext, done: Fitted | None = None
) -> Fitted:
    """Fit retrievers and rankers on the earlier window, and learn on the next one how to order candidates.

    Rankers learn to blend on what retrievers propose for held-out queries, and each scenario's order of
    candidates is chosen on the same queries: the ranker's only if it is better than any order without it.
    Rerankers that learn from candidates come last, as they get them in that order.

    Args:
        resolved: The configuration.
        data: Training data.
        context: Seed, progress, device, threads.
        done: Components that were fitted on the earlier window of this very data before.

    Returns:
        Components fitted on the earlier window; they serve as ``previous`` of a final fit.
    """
    config = resolved.config.train
    start = Fitted(resolved, data.catalogue, left_out=unsuited_parts(resolved, data))
    for key, why in start.left_out.items():
        logger.info("%s is left out: %s", key, why)
    try:
        split = next_window(data, config, repeats=False)
    except DataError as error:
        logger.warning("too little data for a next window, rankers keep their default blend: %s", error)
        return fit_all(resolved, data, context, start)
    fitted = fit_all(resolved, split.training, context, start, done)
    taught: set[str] = set()
    samples = _samples(fitted, split, data, context.seed)
    shared = {
        id(sample): SharedRetrieval(fitted.scenario(name) for name, own in samples.items() if own is sample)
        for sample in samples.values()
    }
    for name, sample in samples.items():
        _learn_order(fitted, name, sample, shared[id(sample)], context, taught)
    for name, sample in samples.items():
        _teach_rerankers(fitted, name, sample, context, taught)
    for key in _idle_rankers(fitted):
        fitted.left_out[key] = "its order is not better than one without it"
    return fitted


def _samples(fitted: Fitted, split: Split, data: Dataset, seed: int) -> Mapping[str, QuerySample]:
    """The held-out queries of each scenario, one sample for all that are asked the same."""
    config = fitted.resolved.config.train
    once = QuerySample.of(split, config.ranking_examples, seed)
    repeating = [
        name for name, pipeline in fitted.resolved.scenarios.items() if asks_for_repeats(pipeline.config)
    ]
    again = once
    if repeating:
        repeated = next_window(data, config, repeats=True)
        # Of items held out of each user none is a repeat.
        again = QuerySample.of(repeated, config.ranking_examples, seed) if repeated.repeats else once
    return {name: again if name in repeating else once for name in fitted.resolved.scenarios}


def _learn_order(
    fitted: Fitted, name: str, sample: QuerySample, ask: Ask, context: FitContext, taught: set[str]
) -> None:
    """Teach a scenario's ranker, unless another scenario did, and choose the order of its candidates."""
    pipeline = fitted.recommender(name, ask)
    proposed = proposals(pipeline.retrieve, sample, context.threads)
    held_out = HeldOutQueries(proposed.split, proposed.found, pipeline.weights)
    chosen, ranker = fitted.resolved.scenarios[name].ranker, pipeline.ranker
    lists = None
    if chosen is not None and ranker is not None:
        if chosen.key in taught or not isinstance(ranker, LearnsFromCandidates):
            lists = ordered(ranker, proposed.examples)
        else:
            context.progress(f"Teaching {chosen.name} on candidates", 0, 1)
            lists = ranked_across(ranker, proposed, context)
            fitted.facts[chosen.key].update(ranker.fit_candidates(proposed.examples, context))
            taught.add(chosen.key)
    context.progress(f"Choosing the order of {name}", 0, 1)
    order = choose_order(held_out, None if lists is None else held_out.per_user(lists), context.threads)
    if order is not None:
        fitted.orders[name] = order
        fitted.trade_offs[name] = order_figures(
            fitted.recommender(name), held_out, proposed.examples.queries, order, lists
        )


def _teach_rerankers(
    fitted: Fitted, name: str, sample: QuerySample, context: FitContext, taught: set[str]
) -> None:
    """Teach a scenario's rerankers on its candidates as they are ranked, unless another scenario did."""
    for chosen in fitted.resolved.scenarios[name].rerankers:
        reranker = fitted.objects[chosen.key]
        if chosen.key in taught or not isinstance(reranker, LearnsFromCandidates):
            continue
        context.progress(f"Teaching {chosen.name} on candidates", 0, 1)
        ranked = proposals(fitted.recommender(name).rank, sample)
        fitted.facts[chosen.key].update(reranker.fit_candidates(ranked.examples, context))
        taught.add(chosen.key)


def _idle_rankers(fitted: Fitted) -> set[str]:
    """Rankers that order nothing: chosen in no scenario, and there are no texts for a request to be about."""
    if has_texts(fitted.resolved, fitted.catalogue):
        return set()
    idle: set[str] = set()
    used: set[str] = set()
    for name, pipeline in fitted.resolved.scenarios.items():
        if pipeline.ranker is not None:
            order = fitted.orders.get(name)
            (used if order is None or order.ranked else idle).add(pipeline.ranker.key)
    return idle - used


def fit_pipeline(resolved: ResolvedConfig, data: Dataset, context: FitContext) -> Fitted:
    """Learn on windows of ``data``, then fit everything on all of ``data``."""
    return fit_all(resolved, data, context, fit_windows(resolved, data, context))
