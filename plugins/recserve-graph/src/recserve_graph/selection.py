"""Chooses a filter's settings on held-out training events.

What the graph is normalised by needs a decomposition a try, and is chosen first, with few directions.
Everything else is chosen together by a pattern search over filters that are made of the same parts: the
linear filter with the most neighbours and the decomposition with the most directions that may be taken.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from recserve import Dataset, FitContext, FloatArray, Int64Array, Queries, Validation, narrow, taste_vectors
from recserve_graph.graph import Graph
from recserve_graph.model import Model, Parts
from recserve_graph.parameters import GraphFilterParams
from recserve_graph.settings import NO_HALF_LIFE, Settings, affordable

logger = logging.getLogger(__name__)

RANKS = (16, 32, 64, 128, 256, 512)
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
LINEAR_WEIGHTS = (0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SOURCE_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TARGET_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
LINEAR_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
NEIGHBOURS = (25, 50, 100, 200)
HALF_LIVES = (NO_HALF_LIFE, 100.0, 50.0, 25.0, 12.0, 6.0, 3.0, 1.5)
GRIDS: dict[str, tuple[float, ...]] = {
    "linear_weight": LINEAR_WEIGHTS,
    "half_life_events": HALF_LIVES,
    "target_exponent": TARGET_EXPONENTS,
    "source_exponent": SOURCE_EXPONENTS,
    "rank": RANKS,
    "spectral_power": POWERS,
    "linear_exponent": LINEAR_EXPONENTS,
    "neighbours": NEIGHBOURS,
}
"""What is searched together, in this order."""
NORMALISATIONS: dict[str, tuple[float, ...]] = {
    "item_exponent": (0.5, 0.25, 0.0),
    "user_exponent": (0.5, 0.25, 0.0),
    "confidence_power": (0.0, 0.5, 1.0),
}
"""What is searched first, one after the other and from the first value on, by the low-pass filter alone."""
FIRST_RANK = 32
# Times as many directions as usual that are tried at most.
MOST_RANKS = 4

# Multiplications of a try: users are tested until there are as many, within bounds.
WORK = 2e10
FEWEST_USERS, MOST_USERS = 300, 2000


def choose(data: Dataset, params: GraphFilterParams, context: FitContext) -> tuple[Settings, dict[str, Any]]:
    """Settings: configured, else of the earlier fit, else the best on held-out events.

    Args:
        data: What the final fit learns from.
        params: What is configured.
        context: Of the fit.

    Returns:
        The settings and facts about them; ``validation`` if they were chosen here.
    """
    positive = data.positive()
    sides = (len(np.unique(positive.users)), len(np.unique(positive.items)))
    settings = Settings.usual(data.n_items, min(sides))
    previous = context.previous or {}
    settings = settings.with_known(params, previous)
    free = {name for name in asdict(settings) if getattr(params, name) is None and name not in previous}
    validation = None
    if free and params.tries:
        affordable_users = int(WORK / (settings.rank * max(data.n_items, 1)))
        users = min(max(affordable_users, FEWEST_USERS), MOST_USERS)
        validation = Validation.of(data, context.seed, users)
    if validation is None:
        return settings, {}
    search = _Search(validation, free, params, context)
    settings = search.best_from(settings)
    logger.info(
        "graph_filter chose %s by %d tries on a %s hold-out of %d users",
        {name: getattr(settings, name) for name in sorted(free)},
        len(search.fits),
        validation.split,
        len(validation.histories),
    )
    facts = {"split": validation.split, "users": len(validation.histories), "fits": search.fits}
    return settings, {"validation": facts}


class _Search:
    """Search on a validation split; what was tried is in :attr:`fits`."""

    def __init__(
        self, validation: Validation, free: set[str], params: GraphFilterParams, context: FitContext
    ) -> None:
        self._validation = validation
        self._free = free if validation.newest else free - {"half_life_events"}
        self._tries = params.tries
        self._context = context
        self.fits: list[dict[str, float]] = []

    def best_from(self, start: Settings) -> Settings:
        """The best settings that were found, beginning with some."""
        best = self._normalised(start)
        graph = Graph.of(self._validation.training, best)
        n_items = self._validation.training.n_items
        grids: dict[str, tuple[float, ...]] = {}
        for name, grid in GRIDS.items():
            values = {getattr(best, name)}
            if name in self._free:
                widest = min(MOST_RANKS * best.rank, graph.smaller_side, affordable(n_items))
                most = {"rank": widest, "neighbours": affordable(n_items)}.get(name, np.inf)
                values.update(value for value in grid if value <= most)
            grids[name] = tuple(sorted(values, key=_order_of(name)))
        parts = self._parts(graph, int(max(grids["neighbours"])), int(max(grids["rank"])))
        names = list(grids)
        origin = tuple(grids[name].index(getattr(best, name)) for name in names)

        def at(place: tuple[int, ...]) -> Settings:
            return best.having({name: grids[name][i] for name, i in zip(names, place, strict=True)})

        sizes = tuple(len(grids[name]) for name in names)
        strides = tuple(2 if size > 4 else int(size > 1) for size in sizes)
        place, _ = narrow(
            sizes, origin, strides, lambda place: self._try(graph, parts, at(place)), max(self._tries, 1)
        )
        return at(place)

    def _normalised(self, start: Settings) -> Settings:
        """The best normalisation of the graph, one setting after the other."""
        best, worth = start, -1.0
        for name, values in NORMALISATIONS.items():
            for value in values if name in self._free else ():
                tried = self._with_normalisation(best, name, value)
                if worth >= 0 and tried == best:
                    continue
                graph = Graph.of(self._validation.training, tried)
                rank = min(tried.rank, FIRST_RANK)
                found = self._try(graph, self._parts(graph, 0, rank), replace(tried, rank=rank, neighbours=0))
                if found <= worth:
                    break
                best, worth = tried, found
        return best

    def _with_normalisation(self, settings: Settings, name: str, value: float) -> Settings:
        """Settings with another normalisation, which the low-pass filter undoes as the paper has it."""
        changes = {name: value}
        if name == "item_exponent":
            undone = {"source_exponent", "target_exponent"} & self._free
            changes |= dict.fromkeys(undone, value)
            if "linear_exponent" in self._free:
                changes["linear_exponent"] = min(settings.linear_exponent, value)
        return settings.having(changes)

    def _parts(self, graph: Graph, neighbours: int, rank: int) -> Parts:
        quiet = FitContext(
            seed=self._context.seed, threads=self._context.threads, executor=self._context.executor
        )
        self._context.progress("choosing settings, decomposing the graph", 0, 1)
        return Parts(*graph.linear(neighbours, quiet), *graph.directions(rank, quiet))

    def _try(self, graph: Graph, parts: Parts, settings: Settings) -> float:
        """NDCG@20 with some settings."""
        label = f"choosing settings, try {len(self.fits) + 1}"
        self._context.progress(label, len(self.fits), len(self.fits) + 1)
        model = Model.of(graph, parts, settings)
        histories = self._validation.histories
        taste = taste_vectors(
            Queries.of(histories, np.zeros(len(histories), np.int64)),
            self._validation.training.n_items,
            power=settings.confidence_power,
            half_life_events=settings.half_life_events or None,
        )

        def scores(users: Int64Array) -> FloatArray:
            return model.scores(taste[users])

        worth = self._validation.ndcg(scores, self._context.threads)
        self.fits.append({**asdict(settings), "ndcg@20": worth})
        return worth


def _order_of(name: str) -> Any:
    """Order along a grid: half-lives from none, which is the longest, to the shortest."""
    if name == "half_life_events":
        return lambda value: -(value or np.inf)
    return lambda value: value
