"""Examples of rankers over features: rows of features of candidates, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recserve import BoolArray, Float64Array, FloatArray, Int32Array, Int64Array
from recserve_features.learning.anchor import query_shares

FOLDS = 5
"""Of so many users the candidates of one are held out to choose how long to learn."""
FEWEST = 10
"""With fewer queries held out, or left, that is a constant."""


@dataclass(frozen=True)
class Examples:
    """Candidates of Q queries, flat, those of a query side by side.

    Attributes:
        features: float32, shape (N, F).
        labels: int32, shape (N,); 1 for what the user then chose.
        base: float64, shape (N,); scores that a ranker starts from.
        lengths: int64, shape (Q,); candidates of each query.
        users: int32, shape (Q,).
        names: Of the F columns.
        categorical: Columns that are categories.
    """

    features: FloatArray
    labels: Int32Array
    base: Float64Array
    lengths: Int64Array
    users: Int32Array
    names: Sequence[str]
    categorical: Sequence[int]

    def of_queries(self, chosen: BoolArray) -> Examples:
        """Those of some queries (bool, shape (Q,))."""
        rows = np.repeat(chosen, self.lengths)
        return Examples(
            self.features[rows],
            self.labels[rows],
            self.base[rows],
            self.lengths[chosen],
            self.users[chosen],
            self.names,
            self.categorical,
        )

    def shares(self) -> Float64Array:
        """Weight of each query, see :func:`query_shares`, float64, shape (Q,)."""
        hits = np.add.reduceat(self.labels, np.cumsum(self.lengths) - self.lengths)
        return query_shares(self.users, hits)

    def held_out(self) -> BoolArray | None:
        """Queries of the users held out, bool, shape (Q,); None where there are too few to choose by."""
        held = self.users % FOLDS == 0
        return held if min(int(held.sum()), int((~held).sum())) >= FEWEST else None


def kept_candidates(
    real: BoolArray, hits: BoolArray, negatives: int, generator: np.random.Generator
) -> BoolArray:
    """All hits and some other candidates of each query, drawn at random, bool, shape (B, K).

    Args:
        real: bool, shape (B, K); candidates that are no pads.
        hits: bool, shape (B, K); what was chosen later.
        negatives: Others of each query, at most.
        generator: Draws them.
    """
    drawn = np.where(real & ~hits, generator.random(real.shape), np.inf)
    if drawn.shape[1] <= negatives:
        return real.copy()
    limit = np.partition(drawn, negatives - 1, axis=1)[:, negatives - 1 : negatives]
    return np.asarray(hits | (np.isfinite(drawn) & (drawn <= limit)))
