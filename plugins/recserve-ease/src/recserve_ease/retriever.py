"""The retriever ``ease``: scores are a user's taste times the learnt weights between items."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recserve import (
    Catalogue,
    DataError,
    Dataset,
    FitContext,
    Int32Array,
    ItemWeights,
    Queries,
    Retrieved,
    best_contributors,
    in_parts,
    mask_scores,
    taste_vectors,
    top_k,
)
from recserve_ease.closed_form import ease_weights
from recserve_ease.model import DenseModel, Model, largest_weights
from recserve_ease.parameters import EaseParams
from recserve_ease.selection import choose_regularization

# Scores (float32) held at a time: 32 MB.
SCORES_AT_A_TIME = 8_000_000


class EaseRetriever:
    """Items that the items of the history predict, with the one that predicts each most.

    Where similar items are asked for, the given one weighs most in the history. Items that too few people
    like are never returned, and a query that knows none of the others gets pads.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: EaseParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        nothing = np.zeros(self._n_items, dtype=np.bool_)
        self._model: Model = DenseModel(nothing, np.zeros((0, 0), dtype=np.float32))

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Choose the regularisation if it is not given, and compute the weights.

        Raises:
            DataError: More items take part than are allowed, or their Gram matrix cannot be inverted.
        """
        params = self._params
        matrix = data.matrix()
        kept = np.bincount(matrix.indices, minlength=data.n_items) >= params.min_events
        m = int(kept.sum())
        _refuse_too_many(m, params)
        matrix.data **= np.float32(params.confidence_power)
        tried: dict[str, float] = {}
        regularization = params.regularization or (context.previous or {}).get("regularization")
        if regularization is None:
            regularization, tried = choose_regularization(
                data, params.confidence_power, context.seed, context.progress
            )
        taking_part = csr_array(matrix[:, np.flatnonzero(kept)])
        weights = ease_weights(
            taking_part, float(regularization), params.precision, context.progress, context.executor
        )
        if params.neighbours is None:
            self._model = DenseModel(kept, weights.astype(params.stored, copy=False))
        else:
            self._model = largest_weights(kept, weights, params.neighbours)
        facts: dict[str, Any] = {"items": m, "regularization": float(regularization)}
        if tried:
            facts["validation"] = tried
        return facts

    def save(self, directory: Path) -> None:
        """Write the weights between items; nothing of any user."""
        self._model.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        if self._params.neighbours is None:
            self._model = DenseModel.load(directory, self._n_items, self._params.stored)
        else:
            self._model = ItemWeights.load(directory, self._n_items)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items for each query, best first, with seeds from the query's history."""
        size = max(1, SCORES_AT_A_TIME // max(self._n_items, 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        params = self._params
        taste = taste_vectors(
            queries,
            self._n_items,
            power=params.confidence_power,
            half_life_events=params.half_life_events,
            personal_share=params.personal_share,
        )
        scores = self._model.scores(taste)
        items, best = top_k(mask_scores(scores, queries), k)
        return Retrieved.of(items, best, self._evidence(taste, items) if queries.wants_evidence else None)

    def _evidence(self, taste: csr_array, items: Int32Array) -> Int32Array:
        seeds = np.full(items.shape, -1, dtype=np.int32)
        for query in range(len(items)):
            found = items[query][items[query] >= 0]
            if len(found):
                span = slice(taste.indptr[query], taste.indptr[query + 1])
                liked = taste.indices[span]
                contributions = self._model.block(liked, found) * taste.data[span][:, None]
                seeds[query, : len(found)] = best_contributors(liked, contributions)
        return seeds


def _refuse_too_many(items: int, params: EaseParams) -> None:
    if items <= params.max_items:
        return
    gigabytes = items**2 * np.dtype(params.precision).itemsize / 1e9
    raise DataError(
        f"ease: {items:,} items need {gigabytes:,.1f} GB for their {params.precision} inverse, and max_items "
        f"is {params.max_items:,}; raise max_items if there is that much memory, leave rare items out with "
        "min_events, or use mf"
    )
