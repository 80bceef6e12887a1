"""Fits the components of a configuration on windows of data, in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recserve.bundles.embedding_cache import VectorCache, encode_all
from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.batches import Candidates, Queries, Ragged, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset, Tables
from recserve.errors import DataError, PluginError, StageError
from recserve.evaluation.metrics.by_stage import Stages
from recserve.evaluation.splits import Split, temporal
from recserve.plugin.protocols import (
    Encoder,
    FitContext,
    LearnsFromCandidates,
    RankingExamples,
    Retriever,
    Stage,
    Trainable,
)
from recserve.plugin.resolved import Resolved, ResolvedConfig
from recserve.serving.guard.calls import PluginCall
from recserve.serving.scenario import Scenario
from recserve.serving.stages.masks import FilterMasks
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalResult, RetrievalStage
from recserve.serving.stages.run import StageBatch, completed, run_stages
from recserve.serving.stages.trace import Trace
from recserve.serving.state.live_catalogue import CatalogueView

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

T = TypeVar("T")

_BATCH = 256


def silent(description: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


def catalogue_of(tables: Tables) -> Catalogue:
    """The items of a data set, in the order of their ids."""
    items = tables.items.sort_by("item_id")
    return Catalogue(items["item_id"].to_pylist(), items["attributes"].to_pylist())


def encode_catalogue(
    resolved: ResolvedConfig, catalogue: Catalogue, home: Path, progress: Progress = silent
) -> tuple[Catalogue, str | None]:
    """Encode the text of every item; vectors are cached by content in ``<home>/cache``.

    Returns:
        The catalogue with vectors, and the encoder's fingerprint; the catalogue as it is and None
        without an encoder.
    """
    if resolved.encoder is None:
        return catalogue, None
    encoder: Encoder = resolved.encoder.build(Catalogue())
    item_text = resolved.item_text.build(catalogue)
    texts = [item_text.text(item) for item in catalogue.items()]
    cache = VectorCache(home / "cache" / "vectors", encoder.fingerprint, encoder.dimension)
    vectors, encoded = encode_all(
        encoder, texts, cache, lambda done, total: progress("Encoding items", done, total)
    )
    logger.info("%d of %d item texts were encoded, the others came from the cache", encoded, len(texts))
    return catalogue.with_vectors(vectors), encoder.fingerprint


@dataclass
class Fitted:
    """A configuration's components, fitted on some data.

    Attributes:
        resolved: The configuration.
        catalogue: The items that they were fitted on.
        objects: Stage objects by component key.
        facts: What each fit reported, by component key.
    """

    resolved: ResolvedConfig
    catalogue: Catalogue
    objects: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def scenario(self, name: str) -> Scenario:
        """One scenario with every stage object in place."""
        pipeline = self.resolved.scenarios[name]
        return Scenario(
            config=pipeline.config,
            retrievers={chosen.name: self.objects[chosen.key] for chosen in pipeline.retrievers},
            filters={chosen.name: self.objects[chosen.key] for chosen in pipeline.filters},
            ranker=None if pipeline.ranker is None else self.objects.get(pipeline.ranker.key),
            rerankers=[(chosen.name, self.objects[chosen.key]) for chosen in pipeline.rerankers],
        )

    def recommender(self, scenario: str) -> FittedPipeline:
        """The whole pipeline of a scenario, for evaluation."""
        pipeline = self.resolved.scenarios[scenario]
        return FittedPipeline(self.scenario(scenario), self.objects[pipeline.fallback.key], self.catalogue)


class FittedPipeline:
    """Pipeline of one scenario over fitted components, which runs the very stages that serve.

    Exploration is off, because a data set has no new items, and whatever fails ends the evaluation.

    Args:
        scenario: With every stage object in place.
        fallback: Fills short pages.
        catalogue: What the components were fitted on.
    """

    def __init__(self, scenario: Scenario, fallback: Retriever, catalogue: Catalogue) -> None:
        self._scenario = scenario
        self._fallback = fallback
        self._view = CatalogueView.of(catalogue)
        self._masks = FilterMasks({_ONLY: scenario}, len(catalogue))
        self._retrieval = RetrievalStage({_ONLY: scenario})
        self._ranking = RankingStage({_ONLY: scenario})

    @property
    def returns_seen_items(self) -> bool:
        """Whether items of the history may be recommended again."""
        return self._scenario.config.seen != "exclude"

    def candidates(self, queries: Queries, n: int = 0) -> Candidates:
        """What retrieval proposes."""
        result = self._retrieval.retrieve(_ONLY, queries, n)
        _Strict().left_out(result.degraded)
        return result.candidates

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """The first k items of each query, int32 (B, k), -1 pads."""
        return self.stages(queries, k).items

    def stages(self, queries: Queries, k: int) -> Stages:
        """The same, with what each stage did."""
        config = self._scenario.config
        if self.returns_seen_items:
            queries = replace(queries, excluded=Ragged.of([()] * len(queries)))
        client = _FittedStages(self._retrieval, self._ranking)
        batch = StageBatch(
            name=_ONLY,
            bundle="",
            config=config,
            rerankers=self._scenario.rerankers,
            fallback=self._fallback,
            allowed=[self._masks.allowed(_ONLY, {})] * len(queries),
            view=self._view,
            served=None,
            queries=queries,
            counts=np.full(len(queries), k, dtype=np.int64),
            seen=[config.seen] * len(queries),
        )
        result = completed(run_stages(batch, client, _DirectCalls(), _Strict()))
        items = result.page.items[:, :k]
        return Stages(
            found=client.found,
            asked={retriever.use: max(retriever.candidates, k) for retriever in config.retrievers},
            candidates=result.candidates,
            ranked=result.ranked.items,
            items=np.pad(items, ((0, 0), (0, k - items.shape[1])), constant_values=-1),
            budget=max(config.budget, k),
        )


_ONLY = ""
"""Name of the scenario of a fitted pipeline."""


class _FittedStages:
    """Client of fitted stages in this thread, which remembers what each retriever found."""

    def __init__(self, retrieval: RetrievalStage, ranking: RankingStage) -> None:
        self._retrieval = retrieval
        self._ranking = ranking
        self.found: Mapping[str, Retrieved] = {}

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        result, self.found = self._retrieval.retrieve_parts(scenario, queries, n)
        return result

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        return self._ranking.score(scenario, queries, candidates)

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """Never called: the queries of a data set have no texts."""
        raise StageError("a fitted pipeline encodes no texts")


class _DirectCalls:
    """Calls of plugin code in this thread."""

    async def run(self, kind: PluginCall, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """See :meth:`recserve.serving.guard.calls.PluginCalls.run`."""
        return call(*arguments)


class _Strict(Trace):
    """Trace that refuses losses: figures of a pipeline without some component are not its figures."""

    def lost(self, name: str, error: Exception) -> None:
        """End the evaluation."""
        raise PluginError(f"{name} failed while it was evaluated: {error}") from error

    def left_out(self, causes: Mapping[str, str]) -> None:
        """End the evaluation."""
        if lost := ", ".join(causes):
            raise PluginError(f"{lost} failed while it was evaluated; see the log")


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


def fit_all(
    resolved: ResolvedConfig,
    data: Dataset,
    context: FitContext,
    previous: Mapping[str, Mapping[str, Any]] | None = None,
) -> Fitted:
    """Fit every component of every scenario on ``data``.

    Args:
        resolved: The configuration.
        data: Events to learn from; its catalogue has vectors if an encoder is configured.
        context: Seed, progress, device, threads.
        previous: Facts of an earlier fit by component key.
    """
    fitted = Fitted(resolved, data.catalogue)
    for key, one in resolved.components().items():
        if one.stage is Stage.EXPLAINER:
            continue
        own = replace(context, previous=None if previous is None else previous.get(key))
        fitted.objects[key], fitted.facts[key] = fit_component(one, data, own)
    return fitted


def fit_windows(resolved: ResolvedConfig, data: Dataset, context: FitContext) -> Fitted:
    """Fit retrievers and rankers on the earlier window, then teach the rankers on the next one.

    Returns:
        Components fitted on the earlier window; their facts serve as ``previous`` of a final fit.
    """
    config = resolved.config.train
    try:
        split = temporal(data, config.next_window)
    except DataError as error:
        logger.warning("too little data for a next window, rankers keep their default blend: %s", error)
        return fit_all(resolved, data, context)
    fitted = fit_all(resolved, split.training, context)
    taught: set[str] = set()
    for name, pipeline in resolved.scenarios.items():
        ranker = pipeline.ranker
        if ranker is None or ranker.key in taught:
            continue
        taught.add(ranker.key)
        built = fitted.objects[ranker.key]
        if isinstance(built, LearnsFromCandidates):
            context.progress(f"Teaching {ranker.name} on candidates", 0, 1)
            examples = ranking_examples(
                fitted.recommender(name), split, config.ranking_examples, context.seed
            )
            fitted.facts[ranker.key].update(built.fit_candidates(examples, context))
    return fitted


def fit_pipeline(resolved: ResolvedConfig, data: Dataset, context: FitContext) -> Fitted:
    """Learn on windows of ``data``, then fit everything on all of ``data``."""
    windows = fit_windows(resolved, data, context)
    return fit_all(resolved, data, context, previous=windows.facts)


def ranking_examples(pipeline: FittedPipeline, split: Split, limit: int, seed: int) -> RankingExamples:
    """Candidates of the next window's queries, labelled with what the user did from then on.

    Args:
        pipeline: Retrievers fitted on the split's training part.
        split: A temporal split; each of its queries precedes one positive event.
        limit: At most this many queries, sampled without replacement.
        seed: Of the sample.

    Returns:
        Examples whose label is 1 for candidates the user had a positive event with at or after the
        query's time, within the window.
    """
    chosen = np.arange(len(split))
    if len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    stride = split.n_items
    target = split.relevant.values[split.relevant.offsets[:-1]].astype(np.int64)
    pairs = split.groups * stride + target
    order = np.argsort(pairs, kind="stable")
    pairs, happened = pairs[order], split.times[order]

    sample = split.take(chosen)
    queries = next(batch for _, batch, _ in sample.batches(len(sample)))
    parts = [pipeline.candidates(batch) for _, batch, _ in sample.batches(_BATCH)]
    candidates = _stack(parts)
    wanted = sample.groups[:, None] * stride + candidates.items
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    later = (candidates.items >= 0) & (pairs[place] == wanted) & (happened[place] >= sample.times[:, None])
    return RankingExamples(queries, candidates, later.astype(np.float32), sample.groups.astype(np.int32))


def _stack(parts: list[Candidates]) -> Candidates:
    """Candidates of consecutive batches as one, padded to the widest."""
    width = max(part.items.shape[1] for part in parts)

    def pad(arrays: list[Any], fill: float) -> Any:
        return np.concatenate(
            [
                np.pad(
                    array,
                    [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2),
                    constant_values=fill,
                )
                for array in arrays
            ]
        )

    return Candidates(
        items=pad([part.items for part in parts], -1),
        scores=pad([part.scores for part in parts], -np.inf),
        sources=parts[0].sources,
        source_scores=pad([part.source_scores for part in parts], np.nan),
        evidence=pad([part.evidence for part in parts], -1),
    )
