"""A pipeline of real parts over a small catalogue, whose stages can be broken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from recserve import (
    Candidates,
    Catalogue,
    Event,
    Item,
    Queries,
    RecserveError,
    Retrieved,
)
from recserve.config import Config, PipelineConfig, RetrieverConfig
from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.errors import StageError
from recserve.experiments.definition import Parameters
from recserve.plugin.builtins.item_text import FieldsParams, FieldsText
from recserve.plugin.builtins.wording import TemplateExplainer
from recserve.plugin.toolkit.topk import mask_columns, mask_scores, top_k
from recserve.serving.guard.calls import PluginCalls
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request
from recserve.serving.scenario import Scenario, ScenarioContext
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalResult, RetrievalStage
from recserve.serving.state.history_reader import StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.result_cache import ResultCache
from recserve.store import Store

ITEMS = [Item(f"i{n}", {"title": f"Title {n}", "odd": n % 2}) for n in range(12)]


VECTORS = np.eye(12, 16, dtype=np.float32)


class Nearest:
    """Cosine to the newest item of the history, the anchor or the query text."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        newest = np.full(len(queries), -1, dtype=np.int32)
        lengths = queries.histories.lengths
        newest[lengths > 0] = queries.histories.items[queries.histories.offsets[1:][lengths > 0] - 1]
        rows = np.where(queries.anchors >= 0, queries.anchors, newest)
        vectors = self._catalogue.gather(rows, queries.extra_vectors)
        if queries.text_vectors is not None:
            vectors = vectors + queries.text_vectors
        assert self._catalogue.vectors is not None
        scores = mask_scores(vectors @ self._catalogue.vectors.T + 0.01, queries)
        scores[(vectors == 0).all(axis=1)] = -np.inf
        items, best = top_k(scores, k)
        return Retrieved(items, best, np.where(items >= 0, newest[:, None], -1).astype(np.int32))

    def retrieve_among(self, queries: Queries, rows: Int32Array, vectors: FloatArray, k: int) -> Retrieved:
        newest = np.full(len(queries), -1, dtype=np.int32)
        lengths = queries.histories.lengths
        newest[lengths > 0] = queries.histories.items[queries.histories.offsets[1:][lengths > 0] - 1]
        asked = self._catalogue.gather(
            np.where(queries.anchors >= 0, queries.anchors, newest), queries.extra_vectors
        )
        if queries.text_vectors is not None:
            asked = asked + queries.text_vectors
        scores = mask_columns(asked @ vectors.T + np.float32(0.01), rows, queries)
        scores[(asked == 0).all(axis=1)] = -np.inf
        places, best = top_k(scores, k)
        return Retrieved.of(np.where(places >= 0, rows[places], np.int32(-1)), best)


class Counted:
    def __init__(self, n_items: int) -> None:
        self._scores = np.arange(n_items, 0, -1, dtype=np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = mask_scores(np.tile(self._scores, (len(queries), 1)), queries)
        return Retrieved.of(*top_k(scores, k))


class Odd:
    def __init__(self, catalogue: Catalogue) -> None:
        self._odd = np.array(catalogue.column("odd")) == 1

    def allowed(self, argument: Any) -> BoolArray | None:
        return None if argument is None else (self._odd if argument else ~self._odd)


class ByRow:
    """Prefers high rows, so that ranking visibly differs from retrieval."""

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        return candidates.items.astype(np.float32)


class Direct:
    """Calls the stages directly; ``broken`` names stages that fail."""

    def __init__(self, scenarios: Mapping[str, Scenario], live: CatalogueFollower) -> None:
        def refilter(catalogue: Catalogue) -> dict[str, Scenario]:
            filters = {"odd": Odd(catalogue)}
            return {name: replace(scenario, filters=filters) for name, scenario in scenarios.items()}

        self._retrieval = RetrievalStage(scenarios, live=live, refilter=refilter)
        self._ranking = RankingStage(scenarios, live)
        self.broken: set[str] = set()
        self.calls: list[str] = []

    def _enter(self, stage: str) -> None:
        self.calls.append(stage)
        if stage in self.broken:
            raise StageError(f"{stage} died")

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        self._enter("retrieval")
        return self._retrieval.retrieve(scenario, queries, n, parameters)

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        self._enter("ranking")
        return self._ranking.score(scenario, queries, candidates)

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        self._enter("audience")
        return self._ranking.affinity(scenario, queries, item)

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        """``Title 7`` has the vector of item 7; words in capitals alone are unknown."""
        self._enter("encoding")
        vectors = np.stack([VECTORS[int(text.split()[-1]) % 12] for text in texts])
        unknown = [place < queries and text.isupper() for place, text in enumerate(texts)]
        return np.where(np.array(unknown)[:, None], np.float32(0), vectors)


class Lab:
    """A pipeline of real parts with a client whose stages can be broken.

    Scenario ``home`` has a ranker, ``plain`` has none.
    """

    def __init__(
        self,
        store: Store,
        rerankers: Sequence[Any] = (),
        explainer: Any = None,
        *,
        cache: ResultCache | None = None,
        calls: PluginCalls | None = None,
        **settings: Any,
    ) -> None:
        named = [(f"rule{place}", reranker) for place, reranker in enumerate(rerankers)]
        catalogue = Catalogue.of(ITEMS, VECTORS)
        config = PipelineConfig(
            retrievers=(RetrieverConfig(use="near", weight=50.0), RetrieverConfig(use="popular")),
            budget=12,
            **settings,
        )
        ranked = config.model_copy(update={"ranker": {"use": "by_row"}})
        retrievers = {"near": Nearest(catalogue), "popular": Counted(12)}
        filters = {"odd": Odd(catalogue)}
        full = Scenario(ranked, retrievers, filters, ByRow(), named)
        self.live = CatalogueFollower(catalogue, store, -1, "words")
        self.client = Direct({"home": full, "plain": Scenario(config, retrievers, filters)}, self.live)
        self.store = store
        context = ScenarioContext(
            bundle="b1",
            catalogue=catalogue,
            event_types=Config().event_types,
            scenarios={},
            explainers=dict.fromkeys(("home", "plain"), explainer or TemplateExplainer()),
            fallbacks=dict.fromkeys(("home", "plain"), Counted(12)),
            filter_arguments={name: {"odd": TypeAdapter(bool)} for name in ("home", "plain")},
            item_text=FieldsText(FieldsParams()),
            default_scenario="home",
            fingerprint="words",
        )

        def build(catalogue: Catalogue) -> ScenarioContext:
            filters = {"odd": Odd(catalogue)}
            scenarios = {
                "home": Scenario(ranked, {}, filters, rerankers=named),
                "plain": Scenario(config, {}, filters),
            }
            return replace(context, catalogue=catalogue, scenarios=scenarios)

        self.reader = StoreReader(store, self.live, limit=1000, deadline=5.0)
        self.build = build
        self.pipeline = Pipeline(
            lambda catalogue: self.build(catalogue),
            self.reader,
            self.client,
            cache=cache,
            calls=calls,
            rng=np.random.default_rng(0),
        )

    def ask(self, *requests: Request) -> list[Recommendation | RecserveError]:
        return asyncio.run(self.pipeline.recommend(requests))

    def one(self, **fields: Any) -> Recommendation:
        (answer,) = self.ask(Request(**fields))
        assert isinstance(answer, Recommendation), answer
        return answer


def ids(answer: Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


def view(user: str, item: str, timestamp: int = 1_700_000_000_000) -> Event:
    return Event(user, item, "view", timestamp)
