"""Cuts batches of queries and candidates by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from recserve import Candidates, Queries, Ragged
from recserve_bert_lstm.windows import IntArray

T = TypeVar("T")


def take_candidates(candidates: Candidates, rows: IntArray) -> Candidates:
    """The candidates of these queries (int64, shape (M,))."""
    return Candidates(
        candidates.items[rows],
        candidates.scores[rows],
        candidates.sources,
        candidates.source_scores[rows],
        candidates.seeds[rows],
    )


def take_queries(queries: Queries, rows: IntArray) -> Queries:
    """These queries of a batch (int64, shape (M,)); live-encoded vectors stay whole."""

    def pick(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values[row] for row in rows) if values else ()

    texts = queries.text_vectors
    return replace(
        queries,
        user_ids=pick(queries.user_ids),
        histories=queries.histories.select(rows),
        times=queries.times[rows],
        anchors=queries.anchors[rows],
        excluded=Ragged.of([queries.excluded[int(row)] for row in rows]),
        texts=pick(queries.texts),
        text_vectors=None if texts is None else texts[rows],
        allowed=pick(queries.allowed),
        filters=pick(queries.filters),
        contexts=pick(queries.contexts),
    )
