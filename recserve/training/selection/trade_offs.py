"""Trade-offs of a choice: what each order of candidates is worth beyond accuracy, and what it costs.

Nothing is chosen by these figures, and none is kept in a bundle: costs differ from run to run, and equal data
must give equal bundles. They are shown beside what was chosen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recserve.bundles.manifest import OrderEntry
from recserve.data.arrays import Float64Array, Int32Array
from recserve.data.batches import Histories, Queries
from recserve.evaluation.metrics import accuracy as metrics
from recserve.evaluation.metrics import calibration as profiles
from recserve.evaluation.metrics.pareto import ANSWER_MS
from recserve.evaluation.metrics.slices import group_mean
from recserve.evaluation.splits import Split
from recserve.training.fitted_pipeline import FittedPipeline
from recserve.training.selection.orders import (
    BELOW,
    FUSED,
    LEARNT,
    LEARNT_WEIGHTS,
    METRIC,
    RANKED,
    HeldOutQueries,
)

CUT_OFF = 10
TIMED_QUERIES = 256

Figures = Mapping[str, Mapping[str, float]]
"""Figures of each order by measure; see :func:`recserve.evaluation.metrics.pareto.measures_at`."""


def order_figures(
    pipeline: FittedPipeline,
    held_out: HeldOutQueries,
    queries: Queries,
    order: OrderEntry,
    ranked: Int32Array | None,
) -> Figures:
    """Coverage, novelty, popularity lift and CPU time of an answer of each order that was measured.

    Means are over the users that the orders were measured on. Learnt weights are those of all of them.

    Args:
        pipeline: The scenario.
        held_out: What the orders were measured on.
        queries: Its Q queries as one batch.
        order: What was chosen, with the figures of all.
        ranked: int32, shape (Q, K), the ranker's order; None without a ranker.
    """
    names = list(held_out.found)
    measure = _Lists(held_out.split, queries.histories)
    timed = queries.part(0, min(TIMED_QUERIES, len(queries)))
    found: dict[str, dict[str, float]] = {}
    fused_ms: float | None = None
    for name in order.facts[METRIC]:
        if name == RANKED:
            if ranked is None:
                continue
            lists, cost = ranked, _milliseconds(pipeline.rank, timed)
        elif name in (FUSED, LEARNT):
            weights = held_out.configured if name == FUSED else order.facts[LEARNT_WEIGHTS]
            fused_ms = _milliseconds(pipeline.retrieve, timed) if fused_ms is None else fused_ms
            lists, cost = held_out.fused(weights), fused_ms
        else:
            lists = held_out.fused({other: 1.0 if other == name else BELOW for other in names})
            cost = _milliseconds(pipeline.retrieve_alone, timed, name)
        found[name] = {**measure.figures(lists), ANSWER_MS: cost}
    return found


class _Lists:
    """Measures lists of the held-out queries beyond accuracy."""

    def __init__(self, split: Split, histories: Histories) -> None:
        self._split = split
        self._histories = histories
        self._information = metrics.self_information(split.training)
        self._popularity = profiles.popularity(split.training)

    def figures(self, lists: Int32Array) -> dict[str, float]:
        """Coverage, novelty and popularity lift at the cut-off; NaN where there is none."""
        ks, page = (CUT_OFF,), lists[:, :CUT_OFF]
        before, after = profiles.list_popularity(page, self._histories, self._popularity, ks)
        missing = np.isnan(before) | np.isnan(after[CUT_OFF])
        profile = _mean(self._per_user(np.where(missing, np.nan, before)))
        shown = _mean(self._per_user(np.where(missing, np.nan, after[CUT_OFF])))
        novelty = metrics.novelty(page, self._information, ks)[f"novelty@{CUT_OFF}"]
        return {
            f"coverage@{CUT_OFF}": len(np.unique(page[page >= 0])) / self._split.n_items,
            f"novelty@{CUT_OFF}": _mean(self._per_user(novelty)),
            f"lift@{CUT_OFF}": shown / profile - 1.0 if profile > 0 else math.nan,
        }

    def _per_user(self, per_query: Float64Array) -> Float64Array:
        return group_mean(per_query, self._split.groups, self._split.n_users)


def _mean(values: Float64Array) -> float:
    held = values[~np.isnan(values)]
    return float(held.mean()) if len(held) else math.nan


def _milliseconds(call: Callable[..., Any], queries: Queries, *further: Any) -> float:
    """CPU time of a call for each query, all threads of the process together."""
    started = time.process_time()
    call(queries, *further)
    return 1000 * (time.process_time() - started) / len(queries)
