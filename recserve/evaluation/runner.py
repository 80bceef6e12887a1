"""Runs one model over one split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.sparse import csr_array

from recserve.data.arrays import Float64Array, Int32Array
from recserve.data.batches import Queries, Ragged
from recserve.errors import PluginError
from recserve.evaluation.bootstrap import (
    Interval,
    centred_interval,
    growth_interval,
    mean_intervals,
    resampled,
)
from recserve.evaluation.checks.feature_leaks import check_counted
from recserve.evaluation.checks.leaks import check_leaks, check_vocabulary
from recserve.evaluation.metrics import accuracy as metrics
from recserve.evaluation.metrics.by_stage import (
    StageColumn,
    StagedRecommender,
    StageMeasure,
    stage_columns,
)
from recserve.evaluation.metrics.cost import Cost
from recserve.evaluation.metrics.per_query import BEFORE, QueryMeasures, lists_column
from recserve.evaluation.metrics.slices import SliceFigures, group_mean, measure_slices
from recserve.evaluation.report import Report
from recserve.evaluation.splits import Split
from recserve.plugin.executor import Executor
from recserve.plugin.protocols import Retriever

logger = logging.getLogger(__name__)

DEFAULT_KS = (10, 20)
BATCH = 256
# Enough to even out workers, and few enough for each to be worth its way.
_PARTS_A_WORKER = 8

# Enough for an interval, and a small part of what the means get: each one ranks the whole catalogue.
CATALOGUE_RESAMPLES = 200
_CATALOGUE_WIDE = {"coverage": metrics.coverage, "gini": metrics.gini}

Progress = Callable[[str, int, int], None]


class Recommender(Protocol):
    """Anything that ranks the whole catalogue: a single retriever or a whole pipeline."""

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """The k best items of each query, without ``queries.excluded``.

        Returns:
            int32, shape (B, k) (narrower if the catalogue is smaller), best first, no item twice in a
            row, -1 pads.
        """
        ...


@runtime_checkable
class MayReturnSeen(Protocol):
    """A recommender that says whether it may return items of the history, as a scenario's policy may."""

    @property
    def returns_seen_items(self) -> bool:
        """Whether items of the history may be returned."""
        ...


@dataclass(frozen=True)
class RetrieverRecommender:
    """Lets a single retriever be evaluated: its exact full ranking is its recommendation."""

    retriever: Retriever

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """The k best items of the retriever; see :meth:`Recommender.recommend`."""
        return self.retriever.retrieve(queries, k).items[:, :k]


def evaluate(
    model: Recommender,
    split: Split,
    ks: Sequence[int] = DEFAULT_KS,
    *,
    name: str,
    fit_seconds: float = 0.0,
    stored_bytes: float = math.nan,
    seed: int = 0,
    batch: int = BATCH,
    attribute: str | None = None,
    detailed: bool = False,
    reads_content: bool = True,
    progress: Progress = lambda description, done, total: None,
    executor: Executor | None = None,
) -> Report:
    """Rank the whole catalogue for every query of a split and measure.

    A metric is averaged over the queries of a user first and over users then, so that busy users do
    not decide the result. Coverage and Gini weigh the lists of a user likewise.

    Args:
        model: Fitted on ``split.training``.
        split: Checked for leaks first.
        ks: Cut-offs.
        name: The model's name in the report.
        fit_seconds: Handed on to the report.
        stored_bytes: Likewise; see :func:`recserve.evaluation.metrics.cost.stored_bytes`.
        seed: Seed of the bootstrap.
        batch: Queries a call of the model.
        attribute: Item attribute whose mix is compared with the user's (``calibration``); None for none.
        detailed: Measure slices, and the stages of a model that shows them.
        reads_content: The model reads what items are about. For one that does not,
            :func:`recserve.evaluation.checks.leaks.check_vocabulary` looks for knowledge of new items.
        progress: Called with (description, queries done, queries in all).
        executor: Ranks and measures parts of the queries, with figures equal to the last bit; None for this
            process. A model that cannot be pickled is measured here in any case.

    Raises:
        LeakError: The split leaks, see :func:`recserve.evaluation.checks.leaks.check_leaks`, or the ranker's
            features know of test events.
        PluginError: The model broke the contract: an item twice in one list, an excluded item, or a
            row outside the catalogue.
        ConfigError: No item has the attribute.
        ValueError: No cut-off, or one below 1.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"cut-offs must be at least 1, not {list(ks)}")
    started = time.perf_counter()
    ks = tuple(sorted(set(ks)))
    check_leaks(split)
    check_counted(model, split)
    measures = QueryMeasures.of(split, ks, seed, attribute)
    bench = Bench(model, split, measures, name, batch, detailed and isinstance(model, StagedRecommender))
    measure = _Measure(split, ks, seed)
    by_stage = StageMeasure(split, seed)
    answer_ms: list[float] = []
    for measured in _all_measured(bench, executor):
        measure.put(measured)
        by_stage.put(measured.chosen, measured.stages)
        answer_ms.append(1000 * measured.cpu_seconds / len(measured.ranked))
        progress(f"evaluate {name}", measured.chosen.stop, len(split))

    per_user = measure.per_user()
    intervals = mean_intervals(np.column_stack(list(per_user.values())), seed=seed)
    slices: tuple[SliceFigures, ...] = ()
    if detailed:
        slices = measure_slices(split, measure.ranked, ks, batch=batch, seed=seed)
    return Report(
        model=name,
        split=split.name,
        users=split.n_users,
        items=split.n_items,
        queries=len(split),
        queries_without_history=int(np.count_nonzero(split.starts == split.ends)),
        unanswered=measure.unanswered,
        ks=ks,
        metrics={
            **dict(zip(per_user, intervals, strict=True)),
            **measure.catalogue_wide(),
            **measure.lift(),
        },
        per_user=per_user,
        fit_seconds=fit_seconds,
        # The median: the first batch of a model also loads and compiles what the others use.
        cost=Cost(float(np.median(answer_ms)), stored_bytes),
        evaluate_seconds=time.perf_counter() - started,
        seed=seed,
        diversity_vectors=measures.diversity_vectors,
        note=split.note,
        attribute=attribute,
        slices=slices,
        stages=by_stage.figures(),
        checks=() if reads_content else (check_vocabulary(split, measure.ranked, name),),
    )


@dataclass(frozen=True)
class Measured:
    """Lists and figures of one batch.

    Attributes:
        chosen: Its queries.
        ranked: int32, shape (B, k).
        metrics: Metrics of each query by name.
        profiles: Popularity of each profile and list by column.
        stages: What the stages of a pipeline did, if that is measured.
        cpu_seconds: CPU time of ranking, all threads of the process together.
    """

    chosen: slice
    ranked: Int32Array
    metrics: dict[str, Float64Array]
    profiles: dict[str, Float64Array]
    stages: dict[StageColumn, Float64Array]
    cpu_seconds: float


@dataclass(frozen=True)
class Bench:
    """A model and what it is measured by, as workers get it.

    Attributes:
        model: The model.
        split: The split.
        measures: What figures of single queries are worked out with.
        name: The model's name in errors.
        batch: Queries a call of the model.
        staged: Measure the stages of a pipeline.
    """

    model: Recommender
    split: Split
    measures: QueryMeasures
    name: str
    batch: int
    staged: bool

    def measured(self, start: int = 0, stop: int | None = None) -> Iterator[Measured]:
        """Rank and measure queries, batch by batch.

        Raises:
            PluginError: The model broke the contract.
        """
        n = max(self.measures.ks)
        returns_seen = isinstance(self.model, MayReturnSeen) and self.model.returns_seen_items
        for chosen, queries, relevant in self.split.batches(self.batch, start, stop):
            stages: dict[StageColumn, Float64Array] = {}
            seen = None
            started = time.process_time()
            if self.staged and isinstance(self.model, StagedRecommender):
                seen = self.model.stages(queries, n)
                ranked = seen.items
            else:
                ranked = self.model.recommend(queries, n)
            spent = time.process_time() - started
            if seen is not None:
                stages = stage_columns(seen, relevant, self.measures.ks)
            excluded = None if returns_seen else queries.excluded
            _check_contract(ranked, excluded, len(queries), self.split.n_items, self.name)
            values = self.measures.metrics(queries, ranked, relevant)
            profiles = self.measures.profiles(queries, ranked)
            yield Measured(chosen, ranked, values, profiles, stages, spent)


def measure_part(bounds: tuple[int, int], bench: Bench) -> list[Measured]:
    """The queries from one place to another, on a worker."""
    return list(bench.measured(*bounds))


def _all_measured(bench: Bench, executor: Executor | None) -> Iterator[Measured]:
    """All batches in the order of the queries."""
    shared = None
    if executor is not None and executor.workers > 1:
        try:
            shared = executor.share(bench)
        except TypeError as error:
            logger.warning("%s is measured in this process: %s", bench.name, error)
    if executor is None or shared is None:
        yield from bench.measured()
        return
    batches = -(-len(bench.split) // bench.batch)
    size = bench.batch * max(1, batches // (executor.workers * _PARTS_A_WORKER))
    bounds = [(start, min(start + size, len(bench.split))) for start in range(0, len(bench.split), size)]
    for part in executor.map(measure_part, bounds, shared):
        yield from part
    shared.release()


class _Measure:
    """Collects the lists of all batches and their figures."""

    def __init__(self, split: Split, ks: tuple[int, ...], seed: int) -> None:
        self._split = split
        self._ks = ks
        self._seed = seed
        self.ranked = np.full((len(split), max(ks)), -1, dtype=np.int32)
        self._per_query: dict[str, Float64Array] = {}
        self._profiles: dict[str, Float64Array] = {}

    def put(self, measured: Measured) -> None:
        """Take one batch."""
        for kept, columns in ((self._per_query, measured.metrics), (self._profiles, measured.profiles)):
            for name, column in columns.items():
                if name not in kept:
                    kept[name] = np.full(len(self._split), np.nan)
                kept[name][measured.chosen] = column
        ranked = measured.ranked[:, : self.ranked.shape[1]]
        self.ranked[measured.chosen, : ranked.shape[1]] = ranked

    @property
    def unanswered(self) -> int:
        """Queries with an empty list."""
        return int(np.count_nonzero((self.ranked < 0).all(axis=1)))

    def per_user(self) -> dict[str, Float64Array]:
        """Each metric averaged over the queries of each user."""
        return {name: self._mean(column) for name, column in self._per_query.items()}

    def lift(self) -> dict[str, Interval]:
        """By how much lists are more popular than the profiles they are made for, at each cut-off."""
        found: dict[str, Interval] = {}
        before = self._profiles[BEFORE]
        for k in self._ks:
            lists = self._profiles[lists_column(k)]
            found[f"lift@{k}"] = growth_interval(
                self._mean(np.where(np.isnan(lists), np.nan, before)),
                self._mean(np.where(np.isnan(before), np.nan, lists)),
                seed=self._seed,
            )
        return found

    def _mean(self, per_query: Float64Array) -> Float64Array:
        return group_mean(per_query, self._split.groups, self._split.n_users)

    def catalogue_wide(self) -> dict[str, Interval]:
        """Coverage and Gini index at each cut-off."""
        found: dict[str, Interval] = {}
        for k in self._ks:
            exposure = self._exposure(k)
            replicates = {name: np.empty(CATALOGUE_RESAMPLES) for name in _CATALOGUE_WIDE}
            resamples = resampled(
                self._split.n_users, CATALOGUE_RESAMPLES, self._seed, width=self._split.n_items
            )
            for chosen, weights in resamples:
                shown = np.asarray((exposure.T @ weights.T).T)
                for name, statistic in _CATALOGUE_WIDE.items():
                    replicates[name][chosen] = statistic(shown)
            whole = np.asarray(exposure.sum(axis=0))
            for name, statistic in _CATALOGUE_WIDE.items():
                found[f"{name}@{k}"] = centred_interval(float(statistic(whole)), replicates[name])
        return found

    def _exposure(self, k: int) -> csr_array:
        """How often each user was shown each item, (users, n_items); every user weighs the same."""
        split = self._split
        query, rank = np.nonzero(self.ranked[:, :k] >= 0)
        owners = split.groups[query]
        share = 1.0 / np.bincount(split.groups, minlength=split.n_users)[owners]
        matrix = csr_array((share, (owners, self.ranked[query, rank])), shape=(split.n_users, split.n_items))
        matrix.sum_duplicates()
        return matrix


def _check_contract(
    ranked: Int32Array, excluded: Ragged | None, queries: int, n_items: int, name: str
) -> None:
    """Refuse lists that would make metrics meaningless."""
    if ranked.ndim != 2 or len(ranked) != queries:
        raise PluginError(f"model {name!r} returned shape {ranked.shape} for {queries} queries")
    if ranked.size and int(ranked.max()) >= n_items:
        raise PluginError(f"model {name!r} returned an item outside the catalogue")
    ordered = np.sort(ranked, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise PluginError(f"model {name!r} returned an item twice for one query")
    if excluded is not None and metrics.contained(ranked, excluded).any():
        raise PluginError(f"model {name!r} returned items that it was told to exclude")
