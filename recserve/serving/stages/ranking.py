"""The stages of the graph as plain objects: what a replica, the in-process pipeline and training run.

Everything here is synchronous and batch-first. Deadlines of whole stages belong to whoever calls them
(:mod:`recserve.serving.pipeline`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.batches import Candidates, Queries
from recserve.errors import StageError
from recserve.plugin.protocols import Reranker
from recserve.serving.scenario import Scenario
from recserve.serving.state.live_catalogue import CatalogueFollower

logger = logging.getLogger(__name__)


def rank_order(scores: FloatArray, candidates: Candidates) -> Candidates:
    """Sort candidates by a ranker's scores, best first; ties keep the retrieval order.

    Raises:
        StageError: The scores have the wrong shape or hold NaN for a real candidate.
    """
    real = candidates.items >= 0
    if scores.shape != candidates.items.shape:
        raise StageError(
            f"the ranker gave scores of shape {scores.shape} for candidates of shape {candidates.items.shape}"
        )
    if np.isnan(scores[real]).any():
        raise StageError("the ranker gave NaN scores")
    scores = np.where(real, scores, np.float32(-np.inf)).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    ranked = Candidates(
        candidates.items, scores, candidates.sources, candidates.source_scores, candidates.evidence
    )
    return ranked.take(order)


class RankingStage:
    """The rankers of all scenarios.

    Args:
        scenarios: By name, with rankers built.
        live: What happened to the catalogue since; None where it stands still.
    """

    def __init__(self, scenarios: Mapping[str, Scenario], live: CatalogueFollower | None = None) -> None:
        self._scenarios = scenarios
        self._live = live

    def score(self, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """Scores of shape (B, K); retrieval scores where the scenario has no ranker."""
        ranker = self._scenarios[scenario].ranker
        if ranker is None or candidates.items.size == 0:
            return candidates.scores
        if self._live is not None:
            queries = self._live.newest(queries.live_version).attach(queries)
        return ranker.score(queries, candidates)


def rerank(rerankers: Sequence[Reranker], queries: Queries, ranked: Candidates, n: int) -> Candidates:
    """Apply rerankers in order, then cut to n columns.

    Raises:
        StageError: A reranker repeats a position or gives one that does not exist.
    """
    for reranker in rerankers:
        positions = reranker.rerank(queries, ranked, n)
        _check_positions(reranker, positions, ranked.items.shape[1])
        ranked = ranked.take(positions)
    columns = min(n, ranked.items.shape[1])
    cut = np.broadcast_to(np.arange(columns, dtype=np.int32), (len(ranked.items), columns))
    return ranked.take(cut)


def _check_positions(reranker: Reranker, positions: Int32Array, width: int) -> None:
    ordered = np.sort(positions, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any() or (positions >= width).any():
        raise StageError(f"{type(reranker).__name__} gave positions that repeat or do not exist")
