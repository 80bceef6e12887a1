"""The retriever ``mf``: scores by inner products with exactly folded-in users. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    Queries,
    Retrieved,
    in_parts,
    mask_scores,
    top_k,
)
from recserve_mf import MfParams
from recserve_mf.fold_in import FoldIn
from recserve_mf.ials import FloatArray, Objective
from recserve_mf.model import Model

# Scores (float32) held at a time: 64 MB.
SCORES_AT_A_TIME = 16_000_000


class MfRetriever:
    """Items whose factors agree with the user's, with the history item behind each.

    A query with a history is scored by ``x.h``. A query with an anchor and no history is scored by
    cosine to the anchor's factors; with both, by a blend of the two cosines. Items without a
    positive event in training are never returned. A query with neither gets pads.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: MfParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._use(Model.empty(len(catalogue), 1, Objective(1.0, 1.0, 1.0)))

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
        size = max(1, SCORES_AT_A_TIME // max(len(self._catalogue), 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _use(self, model: Model) -> None:
        self._model = model
        self._fold_in = FoldIn(model)
        norms = np.sqrt(np.einsum("nd,nd->n", model.items, model.items))
        self._inverse_norms = 1.0 / np.maximum(norms, np.float32(1e-12))

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        users, groups = self._fold_in.solve(self._fold_in.liked(queries.histories))
        scores = self._scores(users, queries)
        items, best = top_k(mask_scores(scores, queries), k)
        return Retrieved(items, best, self._fold_in.seeds(groups, items))

    def _scores(self, users: FloatArray, queries: Queries) -> FloatArray:
        """float32, shape (B, n_items); -inf for untrained items and where nothing is known."""
        model = self._model
        anchors = queries.anchors
        anchored = np.flatnonzero((anchors >= 0) & (anchors < len(model.items)))
        anchored = anchored[model.trained[anchors[anchored]]]
        targets = users
        if len(anchored):
            targets = users.copy()
            targets[anchored] = self._blend(users[anchored], model.items[anchors[anchored]])
        scores = targets @ model.items.T
        scores[anchored] *= self._inverse_norms
        scores[:, ~model.trained] = -np.inf
        scores[~targets.any(axis=1)] = -np.inf
        return scores

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
