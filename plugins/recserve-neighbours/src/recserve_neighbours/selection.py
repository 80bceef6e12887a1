"""Chooses weighting, shrinkage and neighbours of ``item_knn`` on a validation split of the training data.

Each try compares a sample of the items with all others and ranks that sample, so that all tries together cost
no more than a stated share of the final comparison.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recserve import (
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Int64Array,
    Queries,
    Validation,
    narrow,
    taste_vectors,
)
from recserve_neighbours.parameters import (
    DEFAULT_NEIGHBOURS,
    DEFAULT_SHRINK,
    DEFAULT_WEIGHTING,
    ItemKnnParams,
)

logger = logging.getLogger(__name__)

SHRINKS = (0.0, 5.0, 20.0, 80.0, 320.0)
NEIGHBOURS = (25, 50, 100, 200, 400)
WEIGHTINGS = ("bm25", "none", "tfidf")
START = (
    SHRINKS.index(DEFAULT_SHRINK),
    NEIGHBOURS.index(DEFAULT_NEIGHBOURS),
    WEIGHTINGS.index(DEFAULT_WEIGHTING),
)
TRIES = 12
TESTED_USERS = 2000
# With fewer items than this a sample would be too small to tell settings apart, and all take a moment.
FEWEST_ITEMS = 2000

NearestItems = Callable[[Dataset, ItemKnnParams, FitContext, Int64Array], tuple[Int32Array, FloatArray]]


def choose(
    data: Dataset, params: ItemKnnParams, context: FitContext, nearest: NearestItems
) -> tuple[ItemKnnParams, dict[str, Any]]:
    """Parameters without gaps: configured, else of the earlier fit, else the best on held-out events.

    Args:
        data: What the final fit learns from.
        params: What is configured.
        context: Of the fit.
        nearest: Compares some items with all others.

    Returns:
        The parameters, and facts about them; ``validation`` if they were chosen here.
    """
    previous = context.previous or {}
    names = ("shrink", "neighbours", "weighting")
    configured = [getattr(params, name) is not None for name in names]
    params = params.model_copy(
        update={name: previous[name] for name in names if name in previous and getattr(params, name) is None}
    )
    missing = tuple(getattr(params, name) is None for name in names)
    validation = None
    if any(missing) and params.search_share > 0:
        validation = Validation.of(data, context.seed, TESTED_USERS)
    best: tuple[int, ...] = START
    facts: dict[str, Any] = {}
    if validation is not None:
        tries = _Tries(validation, params, context, nearest, data.n_items)
        sizes = (len(SHRINKS), len(NEIGHBOURS), len(WEIGHTINGS))
        best, scores = narrow(sizes, START, tuple(int(gap) for gap in missing), tries.score, TRIES)
        fits = [{**_values(place), "ndcg@20": score} for place, score in scores.items()]
        facts["validation"] = {"split": validation.split, "users": len(validation.histories), "fits": fits}
    params = _filled(params, best)
    chosen = {name: getattr(params, name) for name, given in zip(names, configured, strict=True) if not given}
    if validation is not None:
        logger.info("item_knn chose %s on a %s hold-out", chosen, validation.split)
    return params, {**chosen, **facts}


class _Tries:
    """Scores settings on the validation split, with a sample of the items as candidates."""

    def __init__(
        self,
        validation: Validation,
        params: ItemKnnParams,
        context: FitContext,
        nearest: NearestItems,
        n_items: int,
    ) -> None:
        self._validation = validation
        self._params = params
        self._context = context
        self._nearest = nearest
        self._n_items = n_items
        count = min(max(int(params.search_share * n_items / TRIES), FEWEST_ITEMS), n_items)
        generator = np.random.default_rng(context.seed)
        self._rows = np.sort(generator.choice(n_items, count, replace=False)).astype(np.int64)
        queries = Queries.of(validation.histories, np.zeros(len(validation.histories), np.int64))
        self._taste = taste_vectors(
            queries, n_items, power=params.confidence_power, half_life_events=params.half_life_events
        )
        self._done = 0

    def score(self, place: tuple[int, ...]) -> float:
        """nDCG@20 with the settings at a place of the grids."""
        self._done += 1
        label = f"choosing settings, try {self._done} of at most {TRIES}"
        self._context.progress(label, self._done, TRIES)
        quiet = FitContext(threads=self._context.threads, executor=self._context.executor)
        near, similar = self._nearest(
            self._validation.training, _filled(self._params, place), quiet, self._rows
        )
        targets, places = np.nonzero(near >= 0)
        by_item = csr_array(
            (similar[targets, places], (near[targets, places], targets)),
            shape=(self._n_items, len(self._rows)),
        )

        def scores(users: Int64Array) -> FloatArray:
            found = np.full((len(users), self._n_items), -np.inf, dtype=np.float32)
            sums = (self._taste[users] @ by_item).toarray()
            sums[sums <= 0] = -np.inf
            found[:, self._rows] = sums
            return found

        return self._validation.ndcg(scores, self._context.threads)


def _values(place: tuple[int, ...]) -> dict[str, Any]:
    shrink, neighbours, weighting = place
    return {
        "shrink": SHRINKS[shrink],
        "neighbours": NEIGHBOURS[neighbours],
        "weighting": WEIGHTINGS[weighting],
    }


def _filled(params: ItemKnnParams, place: tuple[int, ...]) -> ItemKnnParams:
    values = _values(place)
    return params.model_copy(
        update={name: value for name, value in values.items() if getattr(params, name) is None}
    )
