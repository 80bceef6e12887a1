"""Choice between orders of one scenario's candidates: the ranker's, fused ones, and each single retriever's.

All are measured on the same held-out queries. The ranker is asked about users whose candidates it did not
learn to blend from, and learnt fusion weights are judged on the other half of the users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from recserve.bundles.manifest import OrderEntry
from recserve.data.arrays import BoolArray, Float64Array, FloatArray, Int32Array
from recserve.data.batches import Retrieved
from recserve.data.system.cpus import map_in_threads
from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.metrics.accuracy import accuracy
from recserve.evaluation.metrics.slices import group_mean
from recserve.evaluation.report import as_json
from recserve.evaluation.splits import Split
from recserve.serving.stages.fusion import RRF_CONSTANT, merge

METRIC = "ndcg@10"
BROAD = "recall@20"
"""An order must not buy a better start of the list with a worse list."""
CUT_OFFS = (10, 20)
FEWEST_USERS = 30
"""With fewer users everything stays as configured."""
BELOW = 1e-4
"""Weight of a retriever whose items only fill up below those of others."""
_GRID = (BELOW, 0.25, 0.5, 1.0, 2.0, 4.0)
FUSED = "fused"
LEARNT = "fused, learnt weights"
LEARNT_WEIGHTS = "learnt_weights"
"""Fact of an order: the learnt fusion weights, whether or not they serve."""
RANKED = "ranked"


@dataclass(frozen=True)
class HeldOutQueries:
    """Held-out queries of a scenario, with what its retrievers found for them.

    Attributes:
        split: Q queries with their answers.
        found: By retriever, each of shape (Q, K_r).
        configured: Fusion weights of the configuration.
    """

    split: Split
    found: Mapping[str, Retrieved]
    configured: Mapping[str, float]

    @cached_property
    def _union(self) -> tuple[Int32Array, FloatArray]:
        """All items that were found, and what each retriever's place of an item is worth, (R, Q, K)."""
        everything = sum(found.items.shape[1] for found in self.found.values())
        # The merge keeps the scores of each retriever, which are the places here.
        places = {
            name: replace(found, scores=np.indices(found.items.shape, dtype=np.float32)[1])
            for name, found in self.found.items()
        }
        merged = merge(places, {}, everything)
        place = np.moveaxis(merged.source_scores, 2, 0).astype(np.float64)
        gains = np.where(np.isnan(place), 0, 1.0 / (RRF_CONSTANT + 1.0 + place))
        return merged.items, np.ascontiguousarray(gains, dtype=np.float32)

    def fused(self, weights: Mapping[str, float]) -> Int32Array:
        """The best items by reciprocal rank fusion with some weights, int32, shape (Q, 20)."""
        items, gains = self._union
        factors = np.array([weights[name] for name in self.found], dtype=np.float32)
        total = np.tensordot(factors, gains, axes=1)
        width = min(max(CUT_OFFS), total.shape[1])
        if not width:
            return items
        best = np.argpartition(-total, width - 1, axis=1)[:, :width]
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        return np.take_along_axis(items, np.take_along_axis(best, order, axis=1), axis=1)

    def per_user(self, ranked: Int32Array) -> Float64Array:
        """nDCG@10 and recall@20 of each user, float64, shape (U, 2); NaN for users without a query here."""
        values = accuracy(ranked, self.split.relevant, CUT_OFFS)
        columns = [
            group_mean(values[metric], self.split.groups, self.split.n_users) for metric in (METRIC, BROAD)
        ]
        return np.column_stack(columns)

    @cached_property
    def users(self) -> BoolArray:
        """Which users have a query."""
        present = np.zeros(self.split.n_users, dtype=np.bool_)
        present[self.split.groups] = True
        return present


def choose_order(
    held_out: HeldOutQueries, ranked: Float64Array | None = None, threads: int = 1
) -> OrderEntry | None:
    """The order that serves best, the simplest of equals.

    The best retriever's order gives way to the fused one as configured if neither nDCG@10 nor recall@20 is
    worse, and either to learnt weights if both are significantly better. The ranker's order stays if nDCG@10
    is better than that and recall@20 not significantly worse.

    Args:
        held_out: The queries.
        ranked: nDCG@10 and recall@20 of each user in the ranker's order, shape (U, 2); None without a ranker.
        threads: Weights tried at a time; 0 takes as many as this process may use.

    Returns:
        None where there are too few users to tell anything, or nothing to choose between.
    """
    if int(held_out.users.sum()) < FEWEST_USERS or (ranked is None and len(held_out.found) < 2):
        return None
    names = list(held_out.found)
    # One that answers texts alone, say, finds nothing here: its order would be that of what fills up below.
    judged = [name for name in names if (held_out.found[name].items >= 0).any()] or names
    simple: dict[str, Mapping[str, float]] = {FUSED: held_out.configured} if len(judged) > 1 else {}
    simple |= {name: {other: 1.0 if other == name else BELOW for other in names} for name in judged}
    users = held_out.users
    figures = {name: held_out.per_user(held_out.fused(weights))[users] for name, weights in simple.items()}
    best = max(judged, key=lambda name: float(figures[name].mean()))
    if FUSED in figures and (figures[FUSED].mean(axis=0) >= figures[best].mean(axis=0)).all():
        best = FUSED
    weights = simple[best]
    learnt: Mapping[str, float] | None = None
    if len(judged) > 1:
        figures[LEARNT], learnt = _learnt(held_out, weights, threads)
        gain = _differences(figures[LEARNT], figures[best])
        if gain[0].low > 0 and gain[1].low > 0:
            best, weights = LEARNT, learnt
    serves = best
    if ranked is not None:
        figures[RANKED] = ranked[users]
        gain = _differences(figures[RANKED], figures[best])
        if gain[0].mean > 0 and gain[1].high >= 0:
            serves = RANKED
    return OrderEntry(
        weights={} if serves in (RANKED, FUSED) else {name: float(weights[name]) for name in names},
        ranked=serves == RANKED,
        facts={**_facts(figures, serves, best), **({} if learnt is None else {LEARNT_WEIGHTS: dict(learnt)})},
    )


def _differences(first: Float64Array, second: Float64Array) -> list[Interval]:
    """Paired differences of nDCG@10 and recall@20."""
    return mean_intervals(first - second)


def _facts(figures: Mapping[str, Float64Array], serves: str, best: str) -> dict[str, Any]:
    """What is chosen, each order's figures, and the ranker's difference to the best order without it."""
    facts: dict[str, Any] = {"serves": serves, "users": len(figures[best])}
    for column, metric in enumerate((METRIC, BROAD)):
        intervals = mean_intervals(np.column_stack([values[:, column] for values in figures.values()]))
        facts[metric] = {
            name: _rounded(as_json(interval)) for name, interval in zip(figures, intervals, strict=True)
        }
    if RANKED in figures:
        gain = _differences(figures[RANKED], figures[best])
        facts["ranked_over_best_other"] = {
            "other": best,
            METRIC: _rounded(as_json(gain[0])),
            BROAD: _rounded(as_json(gain[1])),
        }
    return facts


def _learnt(
    held_out: HeldOutQueries, start: Mapping[str, float], threads: int
) -> tuple[Float64Array, Mapping[str, float]]:
    """Learnt fusion weights, and what those learnt on the other half of the users are worth to each user."""
    asked: dict[tuple[float, ...], Float64Array] = {}
    names = list(held_out.found)

    def ratios(weights: Sequence[float]) -> tuple[float, ...]:
        """Weights with equal ones give the same order."""
        return tuple(weight / max(weights) for weight in weights)

    def measured(weights: Sequence[float]) -> Float64Array:
        return held_out.per_user(held_out.fused(dict(zip(names, weights, strict=True))))

    def worth(weights: Sequence[float]) -> Float64Array:
        key = ratios(weights)
        if key not in asked:
            asked[key] = measured(weights)
        return asked[key]

    def climb(users: BoolArray) -> tuple[float, ...]:
        """Change one weight at a time as long as the mean of these users rises."""
        best = tuple(start[name] for name in names)
        while True:
            nearby = [
                (*best[:place], value, *best[place + 1 :])
                for place in range(len(best))
                for value in _GRID
                if value != best[place]
            ]
            unknown: dict[tuple[float, ...], Sequence[float]] = {}
            for weights in nearby:
                if ratios(weights) not in asked:
                    unknown.setdefault(ratios(weights), weights)
            asked.update(zip(unknown, map_in_threads(measured, unknown.values(), threads), strict=True))
            chosen = max(nearby, key=lambda weights: float(worth(weights)[users].mean()))
            if worth(chosen)[users].mean() <= worth(best)[users].mean():
                return best
            best = chosen

    users = held_out.users
    honest = np.full((len(users), 2), np.nan)
    # Users with a query alternate, so that both halves hold as many.
    half = np.cumsum(users) % 2 == 0
    for part in (half, ~half):
        honest[users & ~part] = worth(climb(users & part))[users & ~part]
    return honest[users], dict(zip(names, climb(users), strict=True))


def _rounded(figure: Mapping[str, Any]) -> dict[str, Any]:
    """Six digits are what a manifest keeps of a figure."""
    bounds = figure["ci95"]
    return {"mean": round(figure["mean"], 6), "ci95": [round(bound, 6) for bound in bounds]}
