"""Pipeline of one scenario over fitted components, for evaluation and for teaching rankers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.batches import Candidates, Queries, Ragged, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.errors import PluginError, StageError
from recserve.evaluation.metrics.by_stage import Stages
from recserve.experiments.definition import Parameters
from recserve.plugin.protocols import Ranker, Retriever
from recserve.serving.guard.calls import PluginCall
from recserve.serving.scenario import Scenario
from recserve.serving.stages.masks import FilterMasks
from recserve.serving.stages.ranking import RankingStage, rank_order
from recserve.serving.stages.retrieval import Ask, RetrievalResult, RetrievalStage
from recserve.serving.stages.run import StageBatch, completed, run_stages
from recserve.serving.stages.trace import Trace
from recserve.serving.state.live_catalogue import CatalogueView

T = TypeVar("T")


class FittedPipeline:
    """Pipeline of one scenario over fitted components, which runs the very stages that serve.

    Exploration is off, because a data set has no new items, and whatever fails ends the evaluation.

    Args:
        scenario: With every stage object in place.
        fallback: Fills short pages.
        catalogue: What the components were fitted on.
        ask: Asks a retriever; None asks it every time.
    """

    def __init__(
        self, scenario: Scenario, fallback: Retriever, catalogue: Catalogue, ask: Ask | None = None
    ) -> None:
        self._scenario = scenario
        self._fallback = fallback
        self._catalogue = catalogue
        self._view = CatalogueView.of(catalogue)
        self._masks = FilterMasks({_ONLY: scenario}, len(catalogue))
        self._retrieval = RetrievalStage({_ONLY: scenario}, ask=ask)
        self._ranking = RankingStage({_ONLY: scenario})

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it is made of; masks are built again there."""
        return FittedPipeline, (self._scenario, self._fallback, self._catalogue)

    @property
    def returns_seen_items(self) -> bool:
        """Whether items of the history may be recommended again."""
        return self._scenario.config.seen != "exclude"

    @property
    def ranker(self) -> Ranker | None:
        """The scenario's ranker."""
        return self._scenario.ranker

    @property
    def weights(self) -> dict[str, float]:
        """Fusion weight of each retriever, as configured."""
        return {retriever.use: retriever.weight for retriever in self._scenario.config.retrievers}

    def retrieve(self, queries: Queries) -> tuple[Candidates, Mapping[str, Retrieved]]:
        """What retrieval proposes, and what each retriever found."""
        result, found = self._retrieval.retrieve_parts(_ONLY, queries)
        _Strict().left_out(result.degraded)
        return result.candidates, found

    def retrieve_alone(self, queries: Queries, name: str) -> Retrieved:
        """What one retriever finds, as many candidates as the scenario asks it for."""
        asked = {retriever.use: retriever.candidates for retriever in self._scenario.config.retrievers}
        return self._scenario.retrievers[name].retrieve(queries, asked[name])

    def rank(self, queries: Queries) -> tuple[Candidates, Mapping[str, Retrieved]]:
        """The same in the order and with the scores that rerankers get."""
        candidates, found = self.retrieve(queries)
        if not candidates.items.size:
            return candidates, found
        return rank_order(self._ranking.score(_ONLY, queries, candidates), candidates), found

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

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        result, self.found = self._retrieval.retrieve_parts(scenario, queries, n, parameters)
        return result

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        return self._ranking.score(scenario, queries, candidates)

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        return self._ranking.affinity(scenario, queries, item)

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
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
