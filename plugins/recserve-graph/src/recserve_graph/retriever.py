"""The retriever ``graph_filter``: a linear and a low-pass filter of the graph of users and items.

GF-CF of Shen, Wu, Zhang, Shan, Zhang, Letaief & Li 2021, "How powerful is graph convolution for
recommendation?" (CIKM): with the normalised matrix ``R~`` of who likes what and its leading right singular
vectors ``V``, a user with the row ``r`` has the scores::

    r (R~' R~  +  w D_I ** -1/2  V V'  D_I ** 1/2)

Here directions pass by a power of their singular value; the exponents of popularity, which are 1/2 above, and
whatever else suits one data set and not another are chosen on held-out events; and the linear filter keeps
only its largest entries towards each item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import (
    BundleError,
    Catalogue,
    Dataset,
    FitContext,
    Int32Array,
    Queries,
    Retrieved,
    best_contributors,
    in_parts,
    mask_scores,
    read_array,
    taste_vectors,
    top_k,
)
from recserve_graph.graph import Graph
from recserve_graph.model import Model, Parts
from recserve_graph.parameters import GraphFilterParams
from recserve_graph.selection import choose
from recserve_graph.settings import Settings

TASTE_FILE = "taste.npy"

# Scores (float32) held at a time: 32 MB.
SCORES_AT_A_TIME = 8_000_000


class GraphFilterRetriever:
    """Items that a filter of the graph makes of the history, with the item that speaks for each most.

    Where similar items are asked for, the given one weighs most in the history. Items that nobody likes are
    never returned, and a query that knows none of the others gets pads.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: GraphFilterParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        self._model = Model.empty(self._n_items)
        self._confidence_power, self._half_life_events = 1.0, 0.0

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Choose the settings that are not given, and make the filter.

        Returns:
            Facts: the settings; ``validation`` where some were chosen: the split, its users, and nDCG@20 of
            each try.
        """
        if not (data.weights > 0).any():
            self._model = Model.empty(self._n_items)
            return {"edges": 0}
        # One BLAS thread: sums are then taken in one order whatever the number of threads.
        with threadpool_limits(limits=1, user_api="blas"):
            settings, chosen = choose(data, self._params, context)
            graph = Graph.of(data, settings)
            parts = Parts(
                *graph.linear(settings.neighbours, context), *graph.directions(settings.rank, context)
            )
            self._use(Model.of(graph, parts, settings), settings)
        return {"edges": graph.edges.nnz, **asdict(settings), **chosen}

    def save(self, directory: Path) -> None:
        """Write the filter; nothing of any user."""
        self._model.save(directory)
        taste = np.array([self._confidence_power, self._half_life_events])
        np.save(directory / TASTE_FILE, taste, allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        self._model = Model.load(directory, self._n_items)
        taste = read_array(directory / TASTE_FILE, np.float64, (2,))
        if not (np.isfinite(taste).all() and (taste >= 0).all()):
            raise BundleError(f"{directory / TASTE_FILE} holds impossible values")
        self._confidence_power, self._half_life_events = taste.tolist()

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items for each query, best first, with the items of the history behind them."""
        size = max(1, SCORES_AT_A_TIME // max(self._n_items, 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _use(self, model: Model, settings: Settings) -> None:
        self._model = model
        self._confidence_power = settings.confidence_power
        self._half_life_events = settings.half_life_events

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        taste = taste_vectors(
            queries,
            self._n_items,
            power=self._confidence_power,
            half_life_events=self._half_life_events or None,
            personal_share=self._params.personal_share,
        )
        items, best = top_k(mask_scores(self._model.scores(taste), queries), k)
        return Retrieved.of(items, best, self._evidence(taste, items) if queries.wants_evidence else None)

    def _evidence(self, taste: csr_array, items: Int32Array) -> Int32Array:
        evidence = np.full(items.shape, -1, dtype=np.int32)
        for query in range(len(items)):
            found = items[query][items[query] >= 0]
            if len(found):
                span = slice(taste.indptr[query], taste.indptr[query + 1])
                liked = taste.indices[span]
                contributions = self._model.block(liked, found) * taste.data[span][:, None]
                evidence[query, : len(found)] = best_contributors(liked, contributions)
        return evidence
