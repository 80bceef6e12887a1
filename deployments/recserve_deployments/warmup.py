"""A request that looks like real ones, so that the first real one finds everything compiled and loaded."""

from __future__ import annotations

import numpy as np

from recserve.data.batches import Candidates, Histories, Queries
from recserve.data.catalogue import Catalogue
from recserve.data.entities import now_ms

WARM_TEXT = "warm up"
_EVENTS = 3


def warm_queries(catalogue: Catalogue) -> Queries:
    """One user who liked the first few items."""
    count = min(_EVENTS, len(catalogue))
    now = now_ms()
    histories = Histories(
        offsets=np.array([0, count], dtype=np.int64),
        items=np.arange(count, dtype=np.int32),
        events=np.zeros(count, dtype=np.int16),
        weights=np.ones(count, dtype=np.float32),
        timestamps=np.full(count, now - 60_000, dtype=np.int64),
    )
    return Queries.of(histories, np.array([now], dtype=np.int64))


def warm_candidates(catalogue: Catalogue, sources: tuple[str, ...], budget: int) -> Candidates:
    """The first items of the catalogue as candidates of every source."""
    count = min(budget, len(catalogue))
    items = np.arange(count, dtype=np.int32)[None, :]
    return Candidates(
        items=items,
        scores=np.ones((1, count), dtype=np.float32),
        sources=sources,
        source_scores=np.ones((1, count, len(sources)), dtype=np.float32),
        evidence=np.full((1, count), -1, dtype=np.int32),
    )
