"""Selection of rows from batches of candidates."""

from __future__ import annotations

from recserve import Candidates, Int64Array


def take_candidates(candidates: Candidates, rows: Int64Array) -> Candidates:
    """The candidates of these queries (int64, shape (M,))."""
    return Candidates(
        candidates.items[rows],
        candidates.scores[rows],
        candidates.sources,
        candidates.source_scores[rows],
        candidates.evidence[rows],
    )
