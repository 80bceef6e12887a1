"""Gives a model of many items an index, tuned with what its own users would ask."""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import Dataset, Ragged
from recserve_mf.fold_in import FoldIn
from recserve_mf.model import Model

# Half of them choose how much is read, the other half measure what that is worth.
USERS = 600
# Events of a user that are looked at, like when serving.
RECENT = 200


def with_index(model: Model, data: Dataset, seed: int) -> Model:
    """The model with an index that is tuned for users of ``data`` and for items that they liked."""
    with threadpool_limits(limits=1, user_api="blas"):
        model = model.indexed(seed)
        assert model.index is not None
        assert model.places is not None
        histories = data.positive().histories
        active = np.flatnonzero(histories.lengths > 0)
        generator = np.random.default_rng(seed)
        users = np.sort(generator.choice(active, min(USERS, len(active)), replace=False))
        asked = histories.select(users).last(RECENT)
        fold_in = FoldIn(model)
        vectors, _ = fold_in.solve(fold_in.liked(asked))
        borders = asked.offsets[1:-1]
        seen = [model.places[np.unique(items)] for items in np.split(asked.items, borders)]
        anchors = asked.items[asked.offsets[1:] - 1]
        told = np.flatnonzero(vectors.any(axis=1) & model.vectors(anchors).any(axis=1))
        model.index.tune(model.items, "product", vectors[told], Ragged.of([seen[user] for user in told]))
        anchors = anchors[told]
        model.index.tune(
            model.items, "cosine", model.vectors(anchors), Ragged.of(model.places[anchors][:, None].tolist())
        )
        return model


def index_facts(model: Model) -> dict[str, Any]:
    """What to tell of the index: cells, and for each measure the vectors read and the recall reached."""
    index = model.index
    assert index is not None
    facts: dict[str, Any] = {"cells": len(index.cells.directions), "vectors": len(index)}
    for measure, effort in index.efforts.items():
        facts[measure] = {"read": list(effort.vectors), "recall": effort.recall}
    return facts
