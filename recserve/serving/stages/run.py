"""The stages of one batch: retrieve, top up, rank, let seen items decay, rerank, explore.

Serving and evaluation both call :func:`run_stages`, so that what is measured is what serves.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np

from recserve.config import ExploreConfig, PipelineConfig
from recserve.data.arrays import BoolArray, Float64Array, Int64Array
from recserve.data.batches import Candidates, Queries
from recserve.experiments.definition import Parameters
from recserve.plugin.protocols import Reranker, Retriever
from recserve.serving.guard.calls import PluginCall, PluginCalls
from recserve.serving.guard.results import check_retrieved
from recserve.serving.stage_client import StageClient
from recserve.serving.stages.exploration import Explored, explore, with_new
from recserve.serving.stages.fusion import drop, top_up
from recserve.serving.stages.ranking import rank_order, rerank
from recserve.serving.stages.retrieval import LOST
from recserve.serving.stages.trace import Trace
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.trials import TrialCounts

T = TypeVar("T")

Seen = Literal["exclude", "decay", "allow"]

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Exploration:
    """What exploration needs beside the ranked candidates.

    Attributes:
        config: The scenario's settings.
        trials: Counts of the view's new items.
        rng: Where the draws come from.
    """

    config: ExploreConfig
    trials: TrialCounts
    rng: np.random.Generator


@dataclass(frozen=True)
class StageBatch:
    """A batch of queries of one scenario, with everything that its stages need.

    Attributes:
        name: Name of the scenario.
        bundle: Id of the bundle.
        config: Its configuration.
        rerankers: With their names, applied in order.
        fallback: Fills short pages.
        allowed: What may be returned to each query, by the scenario's filters and at all, bool; None for all.
        view: The catalogue.
        served: Which items may be returned at all, bool; None for all.
        queries: The queries, texts encoded.
        counts: int64, shape (B,); length of each page.
        seen: Policy of each query for items of its history.
        given: Candidates that the callers brought along; None to retrieve some.
        exploration: None switches exploration off.
        parameters: What the configuration was changed by, for the stages in other processes.
    """

    name: str
    bundle: str
    config: PipelineConfig
    rerankers: Sequence[tuple[str, Reranker]]
    fallback: Retriever
    allowed: Sequence[BoolArray | None]
    view: CatalogueView
    served: BoolArray | None
    queries: Queries
    counts: Int64Array
    seen: Sequence[Seen]
    given: Candidates | None = None
    exploration: Exploration | None = None
    parameters: Parameters | None = None
    n: int = field(init=False)
    """Length of the longest page."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", int(self.counts.max()))


@dataclass(frozen=True)
class StageResult:
    """What the stages made of a batch.

    Attributes:
        candidates: Retrieved candidates, before anything is filled up.
        ranked: In the ranker's order.
        page: The candidates to return, best first, at least one page of them where there are enough.
        propensities: float64, shape of ``page``; probability that an item stands in its place, where chance
            decided, else NaN. None if it decided nothing.
    """

    candidates: Candidates
    ranked: Candidates
    page: Candidates
    propensities: Float64Array | None = None

    def propensities_of(self, query: int, count: int) -> tuple[float | None, ...]:
        """Of the first items of a page, None where chance did not decide; empty if it decided nothing."""
        if self.propensities is None or np.isnan(self.propensities[query, :count]).all():
            return ()
        return tuple(None if np.isnan(one) else float(one) for one in self.propensities[query, :count])


async def run_stages(batch: StageBatch, client: StageClient, calls: PluginCalls, trace: Trace) -> StageResult:
    """Run a batch through the stages, see :mod:`recserve.serving.guard.degradation` for one that fails."""
    if batch.given is None:
        found = await _retrieve(batch, client, trace)
        filled = await _top_up(batch, found, calls, trace)
    else:
        found = filled = batch.given
    ranked = await _rank(batch, filled, client, trace)
    decayed = _decay(batch, ranked)
    page = await _rerank(batch, decayed, calls, trace)
    explored = _explore(batch, decayed, page)
    return StageResult(found, ranked, explored.candidates, explored.propensities)


async def _retrieve(batch: StageBatch, client: StageClient, trace: Trace) -> Candidates:
    with trace.without(LOST):
        with trace.stage("retrieval"):
            result = await client.retrieve(batch.bundle, batch.name, batch.queries, batch.n, batch.parameters)
        trace.left_out(result.degraded)
        return _only_served(batch, result.candidates)
    return Candidates.empty(len(batch.queries))


def _only_served(batch: StageBatch, candidates: Candidates) -> Candidates:
    """Without items that must not be returned: a replica of the stage may be a moment behind."""
    rows = len(batch.view.catalogue)
    gone = candidates.items >= rows
    if batch.served is not None:
        gone |= ~batch.served[np.minimum(candidates.items, len(batch.served) - 1)]
    gone &= candidates.items >= 0
    if candidates.evidence.size and candidates.evidence.max() >= rows:
        known = np.where(candidates.evidence < rows, candidates.evidence, np.int32(-1))
        candidates = replace(candidates, evidence=known)
    return drop(candidates, gone) if gone.any() else candidates


async def _top_up(batch: StageBatch, candidates: Candidates, calls: PluginCalls, trace: Trace) -> Candidates:
    """Fill short pages with popular items, in this process: the last resort must not need another one."""
    known = batch.view.known
    wanted = min(batch.n, known)
    if ((candidates.items >= 0).sum(axis=1) >= wanted).all():
        return candidates
    allowed = tuple(None if mask is None else mask[:known] for mask in batch.allowed)
    queries = batch.queries.with_allowed(allowed)
    k = wanted + candidates.items.shape[1]
    with trace.without("fallback"):
        more = await calls.run(PluginCall.FALLBACK, batch.name, batch.fallback.retrieve, queries, k)
        more = check_retrieved(more, len(queries), k, known)
        return top_up(candidates, more, batch.config.fallback.use, wanted)
    return candidates


async def _rank(batch: StageBatch, candidates: Candidates, client: StageClient, trace: Trace) -> Candidates:
    ranker = batch.config.ranker
    if ranker is None or candidates.items.size == 0 or LOST in trace.degraded:
        return candidates
    with trace.without("ranking"):
        with trace.stage("ranking"):
            scores = await client.rank(batch.bundle, batch.name, batch.queries, candidates)
        return rank_order(scores, candidates)
    return candidates


def _decay(batch: StageBatch, ranked: Candidates) -> Candidates:
    """Where seen items only decay: move them down, the further the more recently they were seen."""
    chosen = [policy == "decay" for policy in batch.seen]
    if not any(chosen) or ranked.items.size == 0:
        return ranked
    half_life = batch.config.seen_half_life_days * _DAY_MS
    histories, times = batch.queries.histories, batch.queries.times
    width = ranked.items.shape[1]
    order = np.tile(np.arange(width, dtype=np.int32), (len(ranked.items), 1))
    for query in np.flatnonzero(chosen):
        span = slice(*histories.offsets[query : query + 2])
        rows, seen_at = histories.items[span], histories.timestamps[span]
        last = np.full(int(max(ranked.items[query].max(), rows.max(initial=-1))) + 1, -np.inf)
        np.maximum.at(last, rows, seen_at.astype(np.float64))
        age = np.maximum(times[query] - last[ranked.items[query]], 0)
        order[query] = np.argsort(np.arange(width) + width * np.exp2(-age / half_life), kind="stable")
    return ranked.take(order)


async def _rerank(batch: StageBatch, ranked: Candidates, calls: PluginCalls, trace: Trace) -> Candidates:
    """Apply the rerankers in order, then cut; one that fails leaves the order as it found it."""
    page = ranked
    with trace.stage("reranking"):
        for name, reranker in batch.rerankers:
            lane = f"{name}@{batch.name}"
            with trace.without(f"reranker:{name}"):
                page, lost = await calls.run(
                    PluginCall.RERANKER, lane, rerank, reranker, batch.queries, page, batch.n
                )
                if lost is not None:
                    trace.left_out({f"reranker:{name}": lost})
    return page if page is ranked else page.first(batch.n)


def _explore(batch: StageBatch, ranked: Candidates, page: Candidates) -> Explored:
    """Rules come first: exploration spends its share on the page that they made."""
    exploration, view = batch.exploration, batch.view
    if exploration is None:
        return Explored(page, None)
    return explore(
        exploration.config,
        page if page is ranked else with_new(page, ranked, view.known),
        batch.counts,
        view.known,
        exploration.trials.over(len(view.encoded)),
        exploration.rng,
    )


def completed(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits: evaluation runs the stages without an event loop."""
    try:
        work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    work.close()
    raise RuntimeError("the stages waited for something that only an event loop can bring")
