"""The retriever ``mf``: scores by inner products with exactly folded-in users. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Queries,
    Ragged,
    Retrieved,
    in_parts,
)
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.solver.ials import Objective

QUERIES_AT_A_TIME = 4096


class MfRetriever:
    """Items whose factors agree with the user's, with the history item behind each.

    A query with a history is scored by ``x.h``. A query with an anchor and no history is scored by
    cosine to the anchor's factors; with both, by a blend of the two cosines. Items without a
    positive event in training are never returned. A query with neither gets pads. Of many items only the
    promising ones are scored, see :class:`recserve.InvertedFileIndex`.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: MfParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._use(Model.empty(len(catalogue), 1, Objective(1.0, 1.0, 1.0)))

    @property
    def model(self) -> Model:
        """The learnt state."""
        return self._model

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Learn item factors from the positive events; see :func:`recserve_mf.training.fit_model`."""
        from recserve_mf.training import fit_model

        model, facts = fit_model(data, self._params, context)
        self._use(model)
        return facts

    def save(self, directory: Path) -> None:
        """Write item factors and constants; nothing of any user."""
        self._model.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        self._use(Model.load(directory, len(self._catalogue)))

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items for each query, best first, with seeds from the query's history."""
        return in_parts(queries, QUERIES_AT_A_TIME, lambda part: self._retrieve(part, k))

    def _use(self, model: Model) -> None:
        self._model = model
        self._fold_in = FoldIn(model)

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        liked = self._fold_in.liked(queries.histories)
        users, groups = self._fold_in.solve(liked, influence=queries.wants_evidence)
        targets, anchored = self._targets(users, queries)
        items, best = self._search(targets, anchored, queries, min(k, len(self._catalogue)))
        return Retrieved.of(
            items, best, self._fold_in.evidence(groups, items) if queries.wants_evidence else None
        )

    def _targets(self, users: FloatArray, queries: Queries) -> tuple[FloatArray, NDArray[np.intp]]:
        """What to compare items with, float32 (B, d), and which queries ask for the cosine."""
        model = self._model
        anchors = queries.anchors
        anchored = np.flatnonzero((anchors >= 0) & (anchors < len(model.items)))
        anchored = anchored[model.trained[anchors[anchored]]]
        targets = users
        if len(anchored):
            targets = users.copy()
            targets[anchored] = self._blend(users[anchored], model.items[anchors[anchored]])
        return targets, anchored

    def _search(
        self, targets: FloatArray, anchored: NDArray[np.intp], queries: Queries, k: int
    ) -> tuple[Int32Array, FloatArray]:
        """The items nearest to the targets: by cosine where there is an anchor, else by inner product."""
        items = np.full((len(queries), k), -1, dtype=np.int32)
        best = np.full((len(queries), k), -np.inf, dtype=np.float32)
        others = np.setdiff1d(np.arange(len(queries)), anchored)
        barred = queries.barred
        for index, chosen in ((self._model.product, others), (self._model.cosine, anchored)):
            allowed = tuple(queries.allowed[query] for query in chosen.tolist())
            excluded = Ragged.of([barred[query] for query in chosen.tolist()])
            items[chosen], best[chosen] = index.search(targets[chosen], k, allowed, excluded)
        return items, best

    def _blend(self, users: FloatArray, anchors: FloatArray) -> FloatArray:
        """What to take the cosine with where there is an anchor: it, drawn towards the user."""
        similar, personal = _unit(anchors), _unit(users)
        share = np.where(personal.any(axis=1), np.float32(self._params.personal_share), 0.0)
        blended: FloatArray = ((1.0 - share)[:, None] * similar + share[:, None] * personal).astype(
            np.float32
        )
        return blended


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = rows / np.maximum(norms, np.float32(1e-12))
    return unit
