"""Warm-up of a replica: requests like real ones, and a garbage collector that keeps out of their way.

The first real request finds everything compiled and loaded. Python's cyclic collector runs whenever some
hundred more objects were made than freed, which is every few requests, and what a request still holds at that
moment is taken for long-lived; soon it walks through everything, the catalogue and the histories of all users
included: 30 ms each time, four times a second, a sixth of a replica's time. Reference counts free nearly
everything as it is; the rest can wait.
"""

from __future__ import annotations

import gc

import numpy as np

from recserve.data.batches import Candidates, Histories, Queries
from recserve.data.catalogue import Catalogue
from recserve.data.entities import now_ms
from recserve.data.system.memory import give_back

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


THRESHOLDS = (50_000, 20, 20)
"""New objects before the youngest are looked through, and how often that is before older ones are."""


def settle() -> None:
    """Take everything there is now for permanent, but for garbage, and look for new garbage seldom.

    Memory that is free then goes back to the system.

    Call it when a replica has loaded what it keeps, and again when it has replaced some of it.
    """
    gc.set_threshold(*THRESHOLDS)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    give_back()
