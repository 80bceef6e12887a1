"""Metrics by stage: retrieval, ranking given the candidates, and end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recserve.data.arrays import Float64Array, Int32Array
from recserve.data.batches import Candidates, Queries, Ragged, Retrieved
from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.metrics import accuracy as metrics
from recserve.evaluation.metrics.slices import group_mean, restricted
from recserve.evaluation.splits import Split

RETRIEVAL = "retrieval"
RANKING = "ranking"
END_TO_END = "end to end"

MERGED = "merged, cut to the budget"
UNCUT = "merged, uncut"
ALONE = "found by no other"
PIPELINE = "pipeline"

StageColumn = tuple[str, str, str]
"""Stage, part and metric of a figure that each query has."""


@dataclass(frozen=True)
class Stages:
    """What each stage of a pipeline made of B queries.

    Attributes:
        found: What each retriever found, by name.
        asked: How many items each retriever was asked for.
        candidates: Merged, cut to the budget, before anything is filled up.
        ranked: int32, shape (B, K'); the ranker's order, before any reranker.
        items: int32, shape (B, k); what is recommended.
        budget: Candidates kept at most.
    """

    found: Mapping[str, Retrieved]
    asked: Mapping[str, int]
    candidates: Candidates
    ranked: Int32Array
    items: Int32Array
    budget: int


@runtime_checkable
class StagedRecommender(Protocol):
    """A recommender that shows its stages."""

    def stages(self, queries: Queries, k: int) -> Stages:
        """Recommend k items for each query, and keep what each stage did."""
        ...


@dataclass(frozen=True)
class StageFigure:
    """One figure of one stage.

    Attributes:
        stage: ``retrieval``, ``ranking`` or ``end to end``.
        part: What was measured, such as a retriever's name.
        metric: Such as ``recall@300`` or ``ndcg@10``.
        interval: Mean over users with its interval; NaN throughout where no query counts.
        queries: Queries that count: for ranking, those with an answer among the candidates.
    """

    stage: str
    part: str
    metric: str
    interval: Interval
    queries: int


class StageMeasure:
    """Collects stage figures of all batches of a split.

    - *retrieval*: the share of a query's answers among what each retriever found, among the merged
      candidates before and after the cut to the budget, and found by one retriever alone;
    - *ranking*: nDCG of queries with an answer among the candidates, counting only such answers: in the
      order of retrieval, of the ranker, and after reranking. It says what ranking does with what it gets;
    - *end to end*: nDCG of all queries. With one answer a query it is the product of the two, query by query.

    Args:
        split: The split.
        seed: Seed of the bootstrap.
    """

    def __init__(self, split: Split, seed: int) -> None:
        self._split = split
        self._seed = seed
        self._columns: dict[StageColumn, Float64Array] = {}

    def put(self, chosen: slice, columns: Mapping[StageColumn, Float64Array]) -> None:
        """Take what :func:`stage_columns` made of one batch."""
        for key, values in columns.items():
            column = self._columns.setdefault(key, np.full(len(self._split), np.nan))
            column[chosen] = values

    def figures(self) -> tuple[StageFigure, ...]:
        """All figures, in the order of the stages; orders that change nothing are left out."""
        split = self._split
        columns: dict[StageColumn, Float64Array] = {}
        for (stage, part, metric), values in self._columns.items():
            earlier = [
                column for key, column in columns.items() if key[0] == stage == RANKING and key[2] == metric
            ]
            if not any(np.array_equal(values, column, equal_nan=True) for column in earlier):
                columns[stage, part, metric] = values
        if not columns:
            return ()
        per_user = [group_mean(values, split.groups, split.n_users) for values in columns.values()]
        intervals = mean_intervals(np.column_stack(per_user), seed=self._seed)
        return tuple(
            StageFigure(*key, interval, int(np.count_nonzero(~np.isnan(values))))
            for (key, values), interval in zip(columns.items(), intervals, strict=True)
        )


def stage_columns(stages: Stages, answers: Ragged, ks: Sequence[int]) -> dict[StageColumn, Float64Array]:
    """Figures of each query of one batch: what the stages did with it."""
    total = np.maximum(np.diff(answers.offsets), 1)
    columns: dict[StageColumn, Float64Array] = {}
    held = {name: _found(found.items, answers) for name, found in stages.found.items()}
    finders = np.sum(list(held.values()), axis=0)
    for name, hits in held.items():
        alone = hits & (finders == 1)
        columns[RETRIEVAL, name, f"recall@{stages.asked[name]}"] = _sums(hits, answers) / total
        columns[RETRIEVAL, name, ALONE] = _sums(alone, answers) / total
    among = _found(stages.candidates.items, answers)
    columns[RETRIEVAL, UNCUT, "recall"] = _sums(finders > 0, answers) / total
    columns[RETRIEVAL, MERGED, f"recall@{stages.budget}"] = _sums(among, answers) / total

    reachable = restricted(answers, among)
    counts = np.diff(reachable.offsets) > 0
    orders = {
        "order of retrieval": stages.candidates.items,
        "order of the ranker": stages.ranked,
        "after reranking": stages.items,
    }
    for part, ranked in orders.items():
        for name, values in _ndcg(ranked, reachable, ks).items():
            columns[RANKING, part, name] = np.where(counts, values, np.nan)
    for name, values in _ndcg(stages.items, answers, ks).items():
        columns[END_TO_END, PIPELINE, name] = values
    return columns


def _ndcg(ranked: Int32Array, answers: Ragged, ks: Sequence[int]) -> dict[str, Float64Array]:
    values = metrics.accuracy(ranked, answers, ks)
    return {name: values[name] for name in (f"ndcg@{k}" for k in ks)}


def _found(ranked: Int32Array, answers: Ragged) -> NDArray[np.bool_]:
    """Which answers are in the list of their query, bool, one for each of ``answers.values``."""
    stride = max(int(answers.values.max(initial=0)), int(ranked.max(initial=0))) + 1
    rows, columns = np.nonzero(ranked >= 0)
    return np.isin(_owners(answers) * stride + answers.values, rows * stride + ranked[rows, columns])


def _sums(hits: NDArray[np.bool_], answers: Ragged) -> Float64Array:
    """Hits of each query."""
    return np.bincount(_owners(answers), weights=hits, minlength=len(answers)).astype(np.float64)


def _owners(answers: Ragged) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(answers), dtype=np.int64), np.diff(answers.offsets))
