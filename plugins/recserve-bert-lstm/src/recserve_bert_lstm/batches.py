"""Cuts batches of candidates by row."""

from __future__ import annotations

from recserve import Candidates
from recserve_bert_lstm.windows import IntArray


def take_candidates(candidates: Candidates, rows: IntArray) -> Candidates:
    """The candidates of these queries (int64, shape (M,))."""
    return Candidates(
        candidates.items[rows],
        candidates.scores[rows],
        candidates.sources,
        candidates.source_scores[rows],
        candidates.evidence[rows],
    )
