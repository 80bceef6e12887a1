"""Runs a batch of requests through the graph and degrades instead of failing.

The pipeline lives at the edge: it turns external ids into rows, loads histories, calls the stages through
a :class:`StageClient` (direct calls or Serve handles), and puts the answers into words. It is pinned to one
bundle.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from recserve.assembly import Assembled, assemble
from recserve.catalogue import Catalogue
from recserve.domain import Candidates, Event, FloatArray, Item, Queries, Reason
from recserve.errors import InvalidRequestError, NotFoundError, RecserveError, StageError, StoreError
from recserve.graph import FilterMasks, RetrievalResult, Scenario, rank_order, rerank, top_up
from recserve.requests import Recommendation, RecommendedItem, Request
from recserve.stages import Explainer, ItemText, Retriever

logger = logging.getLogger(__name__)

T = TypeVar("T")


class StageClient(Protocol):
    """How the pipeline reaches the stages. Deadlines are the client's; it raises StageError when late."""

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        """See :meth:`recserve.graph.RetrievalStage.retrieve`."""
        ...

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :meth:`recserve.graph.RankingStage.score`."""
        ...

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """Encode texts to unit vectors, float32 (n, d)."""
        ...


class HistorySource(Protocol):
    """The part of a store that the pipeline reads."""

    def histories(self, user_ids: Sequence[str], limit: int) -> Mapping[str, Sequence[Event]]:
        """Newest ``limit`` events of each user, oldest first."""
        ...

    def items(self, item_ids: Sequence[str]) -> Mapping[str, Item]:
        """The stored items among these ids."""
        ...


@dataclass(frozen=True)
class Edge:
    """What the pipeline itself holds of a bundle: everything that needs no model.

    Attributes:
        bundle: Id of the bundle.
        catalogue: Its catalogue.
        event_types: Event types by name, in code order.
        scenarios: With filters and rerankers built (retrievers and ranker live in the stages).
        explainers: By scenario.
        fallbacks: By scenario; answers when retrieval cannot.
        filter_arguments: By scenario, filter name -> validator of its argument.
        item_text: Renders items that the bundle does not know.
        default_scenario: Used when a request names none.
    """

    bundle: str
    catalogue: Catalogue
    event_types: Mapping[str, Any]
    scenarios: Mapping[str, Scenario]
    explainers: Mapping[str, Explainer]
    fallbacks: Mapping[str, Retriever]
    filter_arguments: Mapping[str, Mapping[str, TypeAdapter[Any]]]
    item_text: ItemText
    default_scenario: str


class Pipeline:
    """Serves batches of requests from one bundle.

    Args:
        edge: The bundle's edge.
        store: Where histories come from.
        client: How stages are reached.
        history: Newest events of a user that count.
    """

    def __init__(self, edge: Edge, store: HistorySource, client: StageClient, history: int = 1000) -> None:
        self.edge = edge
        self._store = store
        self._client = client
        self._history = history
        self._masks = FilterMasks(edge.scenarios)

    async def recommend(self, requests: Sequence[Request]) -> list[Recommendation | RecserveError]:
        """Answer a batch; a wrong request gets its error, the others their recommendation.

        Never raises for a dependency: a failed stage is named in ``degraded``.
        """
        answers: list[Recommendation | RecserveError | None] = [None] * len(requests)
        by_scenario: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            try:
                by_scenario.setdefault(self._check(request), []).append(index)
            except RecserveError as error:
                answers[index] = error
        batches = [
            _Batch(self, scenario, [requests[index] for index in indices])
            for scenario, indices in by_scenario.items()
        ]
        for indices, answered in zip(
            by_scenario.values(), await asyncio.gather(*(batch.run() for batch in batches)), strict=True
        ):
            for index, answer in zip(indices, answered, strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _check(self, request: Request) -> str:
        """Validate what needs no store; returns the scenario's name."""
        scenario = request.scenario or self.edge.default_scenario
        if scenario not in self.edge.scenarios:
            known = ", ".join(self.edge.scenarios)
            raise NotFoundError(f"unknown scenario {scenario!r} (known: {known})", field="scenario")
        known_filters = self.edge.filter_arguments[scenario]
        for name, argument in request.filter.items():
            validator = known_filters.get(name)
            if validator is None:
                names = ", ".join(known_filters) or "none"
                raise InvalidRequestError(
                    f"scenario {scenario!r} has no filter {name!r} (configured: {names})",
                    field=f"filter.{name}",
                )
            try:
                validator.validate_python(argument)
            except ValidationError as error:
                raise InvalidRequestError(
                    f"filter {name!r}: {error.errors(include_url=False)[0]['msg']}",
                    field=f"filter.{name}",
                ) from None
        self._masks.allowed(scenario, request.filter)
        for step in request.session:
            if step.event not in self.edge.event_types:
                raise InvalidRequestError(
                    f"unknown event type {step.event!r} (known: {', '.join(self.edge.event_types)})",
                    field="session.event",
                )
        return scenario


class _Batch:
    """One micro-batch of one scenario on its way through the stages."""

    def __init__(self, pipeline: Pipeline, scenario: str, requests: Sequence[Request]) -> None:
        self._edge = pipeline.edge
        self._store = pipeline._store
        self._client = pipeline._client
        self._masks = pipeline._masks
        self._limit = pipeline._history
        self._scenario = scenario
        self._requests = requests
        self._n = max(request.n for request in requests)
        self._degraded: list[str] = []
        self._timings: dict[str, float] = {}
        self._started = time.perf_counter()

    async def run(self) -> list[Recommendation | RecserveError]:
        """Retrieve -> (encode) -> rank -> rerank -> explain."""
        histories, stored = await self._load()
        assembled = assemble(
            self._requests,
            self._edge.catalogue,
            self._edge.event_types,
            histories,
            stored,
            now=int(time.time() * 1000),
            exclude_seen=self._edge.scenarios[self._scenario].config.seen == "exclude",
        )
        queries = await self._encode(assembled)
        candidates = await self._retrieve(queries)
        ranked = await self._rank(queries, candidates)
        ranked = await self._rerank(queries, ranked)
        return self._answers(assembled, ranked)

    async def _load(self) -> tuple[Mapping[str, Sequence[Event]], Mapping[str, Item]]:
        """Histories of all users in one query, and the items that the bundle does not know."""
        users = list({request.user_id for request in self._requests if request.user_id is not None})
        try:
            with self._clock("history"):
                histories: Mapping[str, Sequence[Event]] = {}
                if users:
                    histories = await asyncio.to_thread(self._store.histories, users, self._limit)
                unknown = self._unknown_items(histories)
                stored: Mapping[str, Item] = {}
                if unknown:
                    stored = await asyncio.to_thread(self._store.items, unknown)
        except StoreError as error:
            logger.warning("store unreachable, going on without histories: %s", error)
            self._degraded.append("store")
            return {}, {}
        return histories, stored

    def _unknown_items(self, histories: Mapping[str, Sequence[Event]]) -> list[str]:
        known = self._edge.catalogue.ids
        wanted: set[str] = set()
        for request in self._requests:
            wanted.update(step.item_id for step in request.session)
            if request.item_id is not None:
                wanted.add(request.item_id)
        for events in histories.values():
            wanted.update(event.item_id for event in events)
        return sorted(item_id for item_id in wanted if item_id not in known)

    async def _encode(self, assembled: Assembled) -> Queries:
        """Vectors for free text and for items that have none yet; no hop when there is nothing."""
        texts = [text for text in assembled.texts if text]
        item_texts = [self._edge.item_text.text(item) for item in assembled.live_items]
        if not texts and not item_texts:
            return assembled.queries()
        try:
            with self._clock("encoding"):
                vectors = await self._client.encode(self._edge.bundle, [*texts, *item_texts])
        except RecserveError as error:
            self._lost("encoding", error)
            return assembled.queries()
        return assembled.queries(vectors[: len(texts)], vectors[len(texts) :])

    async def _retrieve(self, queries: Queries) -> Candidates:
        try:
            with self._clock("retrieval"):
                result = await self._client.retrieve(self._edge.bundle, self._scenario, queries, self._n)
            self._degraded.extend(result.degraded)
        except RecserveError as error:
            self._lost("retrieval", error)
            return self._from_fallback(queries, Candidates.empty(len(queries)))
        return self._from_fallback(queries, result.candidates)

    def _from_fallback(self, queries: Queries, candidates: Candidates) -> Candidates:
        """Fill short pages with popular items, here: the last resort must not need another process."""
        wanted = min(self._n, len(self._edge.catalogue))
        if ((candidates.items >= 0).sum(axis=1) >= wanted).all():
            return candidates
        queries = self._masks.apply(self._scenario, queries)
        found = self._edge.fallbacks[self._scenario].retrieve(queries, wanted + candidates.items.shape[1])
        return top_up(candidates, found, self._edge.scenarios[self._scenario].config.fallback.use, wanted)

    async def _rank(self, queries: Queries, candidates: Candidates) -> Candidates:
        scenario = self._edge.scenarios[self._scenario]
        if scenario.config.ranker is None or candidates.items.size == 0 or "retrieval" in self._degraded:
            return candidates
        try:
            with self._clock("ranking"):
                scores = await self._client.rank(self._edge.bundle, self._scenario, queries, candidates)
            return rank_order(scores, candidates)
        except RecserveError as error:
            self._lost("ranking", error)
            return candidates

    async def _rerank(self, queries: Queries, ranked: Candidates) -> Candidates:
        rerankers = self._edge.scenarios[self._scenario].rerankers
        try:
            with self._clock("reranking"):
                if not rerankers:
                    return rerank((), queries, ranked, self._n)
                return await asyncio.to_thread(rerank, rerankers, queries, ranked, self._n)
        except Exception as error:
            self._lost("reranking", error)
            return rerank((), queries, ranked, self._n)

    def _answers(self, assembled: Assembled, ranked: Candidates) -> list[Recommendation | RecserveError]:
        rows = [
            [int(item) for item in ranked.items[index, : request.n] if item >= 0]
            for index, request in enumerate(self._requests)
        ]
        with self._clock("explaining"):
            items = {row: self._edge.catalogue.item(row) for picked in rows for row in picked}
            sources = [_sources(ranked, index, len(picked)) for index, picked in enumerate(rows)]
            words = self._explain(assembled, ranked, items, rows, sources)
        self._timings["total"] = _elapsed(self._started)
        answers: list[Recommendation | RecserveError] = []
        for index, request in enumerate(self._requests):
            missing = assembled.missing[index]
            if missing is not None:
                answers.append(NotFoundError(f"unknown item {missing!r}", field="item_id"))
                continue
            answers.append(
                Recommendation(
                    recommendation_id=uuid.uuid4().hex,
                    scenario=self._scenario,
                    items=tuple(
                        RecommendedItem(
                            item_id=items[row].item_id,
                            score=float(ranked.scores[index, position]),
                            rank=position + 1,
                            sources=sources[index][position],
                            explanation=words[index][position] if request.explain else None,
                            metadata=items[row].attributes,
                        )
                        for position, row in enumerate(rows[index])
                    ),
                    bundle=self._edge.bundle,
                    degraded=tuple(self._degraded),
                    timings=dict(self._timings),
                )
            )
        return answers

    def _explain(
        self,
        assembled: Assembled,
        ranked: Candidates,
        items: Mapping[int, Item],
        rows: Sequence[Sequence[int]],
        sources: Sequence[Sequence[tuple[str, ...]]],
    ) -> list[list[str | None]]:
        reasons: list[Reason] = []
        for index, request in enumerate(self._requests):
            if not request.explain:
                continue
            done = assembled.last_events(index)
            for position, row in enumerate(rows[index]):
                seed = int(ranked.seeds[index, position])
                reasons.append(
                    Reason(
                        item=items[row],
                        sources=sources[index][position],
                        seed=assembled.item(seed) if seed >= 0 else None,
                        seed_event=done.get(seed),
                        query_text=request.query,
                    )
                )
        try:
            words = iter(self._edge.explainers[self._scenario].explain(reasons))
        except Exception as error:
            self._lost("explaining", error)
            words = iter([])
        return [
            [next(words, None) if request.explain else None for _ in rows[index]]
            for index, request in enumerate(self._requests)
        ]

    def _lost(self, stage: str, error: Exception) -> None:
        logger.warning("%s lost, degrading: %s: %s", stage, type(error).__name__, error)
        self._degraded.append(stage)

    def _clock(self, stage: str) -> _Clock:
        return _Clock(self._timings, stage)


class _Clock:
    """Adds the milliseconds spent inside to ``timings[stage]``, also when it ends in an error."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings = timings
        self._stage = stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *details: object) -> None:
        self._timings[self._stage] = _elapsed(self._start)


def _elapsed(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


def _sources(ranked: Candidates, index: int, count: int) -> list[tuple[str, ...]]:
    """Retrievers behind the first items of a query, the one that ranked the item highest first."""
    scores = np.nan_to_num(ranked.source_scores[index], nan=-np.inf)
    places = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0)
    listed = []
    for position in range(count):
        present = [r for r in range(len(ranked.sources)) if scores[position, r] > -np.inf]
        present.sort(key=lambda r: (places[position, r], r))
        listed.append(tuple(ranked.sources[r] for r in present))
    return listed


async def with_deadline(work: Awaitable[T], seconds: float, stage: str) -> T:
    """Await with a deadline.

    Raises:
        StageError: It is late.
    """
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError:
        raise StageError(f"{stage} took longer than {seconds:g} s") from None
