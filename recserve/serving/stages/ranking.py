"""Ranking stage: scores of the ranker, the order they make, and the rerankers after it. Synchronous."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries, Reranked
from recserve.errors import InvalidRequestError
from recserve.plugin.protocols import Reranker, ScoresUsers
from recserve.serving.guard.results import check_affinity, check_positions, check_scores
from recserve.serving.scenario import Scenario
from recserve.serving.state.live_catalogue import CatalogueFollower


def rank_order(scores: FloatArray, candidates: Candidates) -> Candidates:
    """Sort candidates by a ranker's scores, best first; ties keep the retrieval order.

    Raises:
        StageError: The scores are not what a ranker must return.
    """
    real = candidates.items >= 0
    scores = check_scores(scores, real)
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
        """Scores of shape (B, K); retrieval scores where there is no ranker, or training chose against it."""
        chosen = self._scenarios[scenario]
        ranker, order = chosen.ranker, chosen.order
        if ranker is None or candidates.items.size == 0:
            return candidates.scores
        fused = np.zeros(len(queries), dtype=np.bool_) if order is None or order.ranked else queries.plain
        if fused.all():
            return candidates.scores
        if self._live is not None:
            queries = self._live.newest(queries.live_version).attach(queries)
        scores = ranker.score(queries, candidates)
        return np.where(fused[:, None], candidates.scores, scores) if fused.any() else scores

    def affinity(self, scenario: str, queries: Queries, item: int) -> FloatArray:
        """How much each user wants an item; see :class:`recserve.ScoresUsers`.

        Raises:
            InvalidRequestError: The scenario has no ranker that can compare users.
            StageError: The scores are not what such a ranker must return.
        """
        ranker: object = self._scenarios[scenario].ranker
        if not isinstance(ranker, ScoresUsers):
            raise InvalidRequestError(
                f"the ranker of scenario {scenario!r} cannot compare users; name a scenario whose can, "
                "such as bert_lstm or bert_sequence",
                field="scenario",
            )
        if self._live is not None:
            queries = self._live.newest(queries.live_version).attach(queries)
        return check_affinity(ranker.affinity(queries, item), len(queries))


def rerank(reranker: Reranker, queries: Queries, ranked: Candidates, n: int) -> tuple[Candidates, str | None]:
    """Apply a reranker.

    Returns:
        The candidates in its order, and why some queries kept theirs (:attr:`recserve.Reranked.lost`); None
        if none did.

    Raises:
        StageError: The positions are not what a reranker must return.
    """
    found = reranker.rerank(queries, ranked, n)
    positions, lost = (found.positions, found.lost) if isinstance(found, Reranked) else (found, None)
    return ranked.take(check_positions(positions, len(queries), ranked.items.shape[1])), lost
