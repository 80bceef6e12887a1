"""One micro-batch of one scenario on its way through the stages."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recserve.data.batches import Candidates, Queries
from recserve.data.entities import now_ms
from recserve.errors import NotFoundError, RecserveError
from recserve.plugin.protocols import Reranker
from recserve.serving.queries import Assembled, assemble
from recserve.serving.request import Recommendation, Request
from recserve.serving.stage_client import StageClient
from recserve.serving.stages.explanations import answer
from recserve.serving.stages.exploration import explore, with_new
from recserve.serving.stages.fusion import drop, top_up
from recserve.serving.stages.ranking import rank_order, rerank
from recserve.serving.state.history_reader import Reading
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.result_cache import Key
from recserve.serving.state.serving_state import ServingState
from recserve.serving.state.user_cache import UserState

logger = logging.getLogger(__name__)

GIVEN = "request"
"""Source of items that the caller brought along."""

_DAY_MS = 86_400_000


class Batch:
    """A batch of requests that share scenario and rules.

    Args:
        client: How stages are reached.
        rng: Where exploration's draws come from.
        asked: All of one scenario and with the same ``rules``; either all or none bring ``items``, and the
            store was lost to all or to none. Oldest first.
        current: What to serve with.
    """

    def __init__(
        self,
        client: StageClient,
        rng: np.random.Generator,
        asked: Sequence[PendingRequest],
        current: ServingState,
    ) -> None:
        first, newest = asked[0], asked[-1]
        self._client = client
        self._rng = rng
        self._name = first.scenario
        self._requests = requests = [one.request for one in asked]
        self._people = [one.person for one in asked]
        self._trials = newest.moment.reading.trials
        self._current = current
        self._clock = first.moment.clock.resumed()
        self.now = self._clock.now
        self._edge, self._view = current.edge, current.view
        self._config = self._edge.scenarios[self._name].config
        self._served = self._view.bars.served(self.now)
        self._counts = np.array([request.n for request in requests], dtype=np.int64)
        self._n = int(self._counts.max())
        self._degraded = ["store"] if first.moment.reading.lost else []
        self._left_out: list[tuple[str, ...]] = [()] * len(requests)

    async def run(self) -> list[Recommendation | RecserveError]:
        """(Encode) -> retrieve -> rank -> rerank -> explain."""
        # Who brings items along has chosen them, seen or not.
        usual = self._config.seen if self._requests[0].items is None else "allow"
        self._seen = [request.seen or usual for request in self._requests]
        assembled = assemble(
            self._requests,
            self._view,
            self._edge.event_types,
            self._people,
            self._edge.cold_start,
            now=self.now,
            seen=self._seen,
        )
        queries = await self._encode(assembled)
        if self._requests[0].items is None:
            candidates = await self._retrieve(queries)
        else:
            candidates = self._given(queries)
        ranked = self._decay(queries, await self._rank(queries, candidates))
        return self._answers(assembled, await self._rerank(queries, ranked))

    async def _encode(self, assembled: Assembled) -> Queries:
        """Vectors for free text; no hop when there is none."""
        texts = [text for text in assembled.base.texts if text]
        if not texts:
            return assembled.queries()
        try:
            with self._clock.stage("encoding"):
                return assembled.queries(await self._client.encode(self._edge.bundle, texts))
        except RecserveError as error:
            self._lost("encoding", error)
            return assembled.queries()

    async def _retrieve(self, queries: Queries) -> Candidates:
        try:
            with self._clock.stage("retrieval"):
                result = await self._client.retrieve(self._edge.bundle, self._name, queries, self._n)
            self._degraded.extend(result.degraded)
        except RecserveError as error:
            self._lost("retrieval", error)
            return self._from_fallback(queries, Candidates.empty(len(queries)))
        return self._from_fallback(queries, self._only_served(result.candidates))

    def _only_served(self, candidates: Candidates) -> Candidates:
        """Without items that must not be returned: a replica of the stage may be a moment behind."""
        gone = candidates.items >= len(self._edge.catalogue)
        if self._served is not None:
            gone |= ~self._served[np.minimum(candidates.items, len(self._served) - 1)]
        gone &= candidates.items >= 0
        return drop(candidates, gone) if gone.any() else candidates

    def _from_fallback(self, queries: Queries, candidates: Candidates) -> Candidates:
        """Fill short pages with popular items, here: the last resort must not need another process."""
        wanted = min(self._n, self._view.known)
        if ((candidates.items >= 0).sum(axis=1) >= wanted).all():
            return candidates
        queries = self._current.masks.apply(self._name, queries, self._served)
        known = tuple(None if mask is None else mask[: self._view.known] for mask in queries.allowed)
        fallback = self._edge.fallbacks[self._name]
        found = fallback.retrieve(queries.with_allowed(known), wanted + candidates.items.shape[1])
        return top_up(candidates, found, self._config.fallback.use, wanted)

    def _given(self, queries: Queries) -> Candidates:
        """The items that the callers brought, in their order, but for those that must not be returned."""
        allowed = self._current.masks.apply(self._name, queries, self._served).allowed
        lists: list[list[int]] = []
        for index, (request, mask) in enumerate(zip(self._requests, allowed, strict=True)):
            given = {item_id: self._edge.catalogue.ids.row(item_id) for item_id in request.items or ()}
            barred = set(queries.excluded[index].tolist())
            kept = {
                item_id: row
                for item_id, row in given.items()
                if row >= 0 and (mask is None or mask[row]) and row not in barred
            }
            lists.append(list(kept.values()))
            self._left_out[index] = tuple(item_id for item_id in given if item_id not in kept)
        width = max(len(rows) for rows in lists)
        items = np.full((len(lists), width), -1, dtype=np.int32)
        for index, rows in enumerate(lists):
            items[index, : len(rows)] = rows
        place = np.broadcast_to(-np.arange(width, dtype=np.float32), items.shape)
        scores = np.where(items >= 0, place, np.float32(-np.inf)).astype(np.float32)
        return Candidates(items, scores, (GIVEN,), scores[:, :, None], np.full_like(items, -1))

    async def _rank(self, queries: Queries, candidates: Candidates) -> Candidates:
        if self._config.ranker is None or candidates.items.size == 0 or "retrieval" in self._degraded:
            return candidates
        try:
            with self._clock.stage("ranking"):
                scores = await self._client.rank(self._edge.bundle, self._name, queries, candidates)
            return rank_order(scores, candidates)
        except RecserveError as error:
            self._lost("ranking", error)
            return candidates

    def _decay(self, queries: Queries, ranked: Candidates) -> Candidates:
        """Where seen items only decay: move them down, the further the more recently they were seen."""
        chosen = [policy == "decay" for policy in self._seen]
        if not any(chosen) or ranked.items.size == 0:
            return ranked
        half_life = self._config.seen_half_life_days * _DAY_MS
        width = ranked.items.shape[1]
        order = np.tile(np.arange(width, dtype=np.int32), (len(ranked.items), 1))
        for query in np.flatnonzero(chosen):
            span = slice(*queries.histories.offsets[query : query + 2])
            rows, times = queries.histories.items[span], queries.histories.timestamps[span]
            last = np.full(int(max(ranked.items[query].max(), rows.max(initial=-1))) + 1, -np.inf)
            np.maximum.at(last, rows, times.astype(np.float64))
            age = np.maximum(queries.times[query] - last[ranked.items[query]], 0)
            order[query] = np.argsort(np.arange(width) + width * np.exp2(-age / half_life), kind="stable")
        return ranked.take(order)

    async def _rerank(self, queries: Queries, ranked: Candidates) -> Candidates:
        rerankers: Sequence[Reranker] = self._edge.scenarios[self._name].rerankers
        page = ranked
        try:
            if self._requests[0].rules:
                rerankers = self._edge.rules[self._name].rerankers(self._requests[0].rules)
            with self._clock.stage("reranking"):
                if rerankers:
                    page = await asyncio.to_thread(rerank, rerankers, queries, ranked, self._n)
        except Exception as error:
            self._lost("reranking", error)
        if self._config.explore is None or self._requests[0].items is not None:
            return page
        # Rules come first: exploration spends its share on the page that they made.
        return explore(
            self._config.explore,
            page if page is ranked else with_new(page, ranked, self._view.known),
            self._counts,
            self._view.known,
            self._trials.over(len(self._view.encoded)),
            self._rng,
        )

    def _answers(self, assembled: Assembled, ranked: Candidates) -> list[Recommendation | RecserveError]:
        rows = [
            items[items >= 0][: request.n].tolist()
            for items, request in zip(ranked.items, self._requests, strict=True)
        ]
        with self._clock.stage("explaining"):
            lines = answer(self._edge, self._name, assembled, ranked, self._requests, rows, self._lost)
        timings = self._clock.stop()
        return [
            NotFoundError(f"unknown item {missing!r}", field="item_id")
            if missing is not None
            else Recommendation.of(
                self._name, items, self._edge.bundle, self._lost_to(text), timings, left_out
            )
            for missing, items, left_out, text in zip(
                assembled.missing, lines, self._left_out, assembled.base.texts, strict=True
            )
        ]

    def _lost_to(self, text: str | None) -> tuple[str, ...]:
        """What one request of the batch lost: without text it needed no encoder."""
        return tuple(one for one in self._degraded if text or one != "encoding")

    def _lost(self, stage: str, error: Exception) -> None:
        logger.warning("%s lost, degrading: %s: %s", stage, type(error).__name__, error)
        self._degraded.append(stage)


class Clock:
    """What a batch costs, stage by stage.

    Attributes:
        now: When it began, milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self.now = now_ms()
        self._started = time.perf_counter()
        self._timings: dict[str, float] = {}

    def resumed(self) -> Clock:
        """A clock that goes on by itself from here, at the present moment."""
        other = copy.copy(self)
        other.now = now_ms()
        other._timings = dict(self._timings)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Notes the milliseconds spent inside, also when it ends in an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._timings[name] = _elapsed(began)

    def stop(self) -> dict[str, float]:
        """Milliseconds of each stage, and ``total``."""
        return {**self._timings, "total": _elapsed(self._started)}


def _elapsed(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


class Asked(NamedTuple):
    """When answers were asked for.

    Attributes:
        at: By the clock of this host, milliseconds since the epoch.
        deletions: In the order of the store: deletions of people that had been followed.
    """

    at: int
    deletions: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was at hand when some requests came.

    Attributes:
        reading: What the store knew.
        view: The catalogue.
        forgotten: Value of :attr:`recserve.serving.state.result_cache.ResultCache.forgotten` before the
            store was read.
        clock: Started when the requests came.
    """

    reading: Reading
    view: CatalogueView
    forgotten: int
    clock: Clock

    @property
    def asked(self) -> Asked:
        """When the requests came."""
        return Asked(self.clock.now, self.reading.deletions)


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """A request whose answer has to be made.

    Attributes:
        request: The request.
        scenario: Name of its scenario.
        person: Who asks.
        key: See :meth:`recserve.serving.state.result_cache.ResultCache.key`.
        moment: When it came.
    """

    request: Request
    scenario: str
    person: UserState
    key: Key | None
    moment: Snapshot

    @property
    def same(self) -> Hashable | None:
        """Equal for those who get the same answer; None if nobody else does."""
        return None if self.key is None else (self.key, id(self.moment.view))


def _again(answer: Recommendation | RecserveError) -> Recommendation | RecserveError:
    """The same answer to somebody else who asked the same."""
    return answer.again() if isinstance(answer, Recommendation) else answer


def _together(asked: Sequence[PendingRequest]) -> list[list[list[PendingRequest]]]:
    """What shares a call of the stages, and within that who asks the same and so gets the same at once."""
    groups: dict[Hashable, dict[Hashable, list[PendingRequest]]] = {}
    for one in asked:
        request = one.request
        # Rerankers must be shared, and candidates brought along or needed by all.
        shared = (one.scenario, json.dumps(request.rules), request.items is not None, one.moment.reading.lost)
        groups.setdefault(shared, {}).setdefault(one.same or one, []).append(one)
    return [list(group.values()) for group in groups.values()]
