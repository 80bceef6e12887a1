"""The rerankers ``mmr`` and ``dpp``: lists whose items differ from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recserve import Candidates, Catalogue, Float64Array, FloatArray, Int32Array, Queries
from recserve_rules.parameters import DppParams, MmrParams
from recserve_rules.rerankers.ordering import Picked, Value, complete, pick_greedily, relevance, unchanged


class _DiversityReranker:
    """Reranker that fills places one by one, each by relevance and by what is placed already."""

    def __init__(self, params: MmrParams | DppParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Place ``n`` items; those not placed follow in their order.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        params = self._params
        real = ranked.items >= 0
        width = min(params.pool, real.shape[1])
        if params.trade_off == 1.0 or width == 0:
            return unchanged(real)
        cosines = _cosines(self._catalogue, queries, ranked.items[:, :width])
        worth = params.trade_off * relevance(ranked, width, params.relevance)
        steps = min(n, width)
        return complete(pick_greedily(real[:, :width], steps, *self._values(worth, cosines, steps)), real)

    def _values(self, worth: Float64Array, cosines: FloatArray, steps: int) -> tuple[Value, Picked]:
        """The value of each position at a step, and what learns which positions were picked.

        Args:
            worth: float64, shape (B, W); relevance times ``trade_off``.
            cosines: float32, shape (B, W, W).
            steps: Places to fill.
        """
        raise NotImplementedError


class MmrReranker(_DiversityReranker):
    """Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

    Each place takes the candidate with the highest ``trade_off * relevance - (1 - trade_off) * similarity``,
    where similarity is the highest cosine to an item already placed, and relevance is
    :func:`recserve_rules.rerankers.ordering.relevance`.

    Args:
        params: Trade-off, pool, kind of relevance.
        catalogue: Items with vectors.
    """

    def _values(self, worth: Float64Array, cosines: FloatArray, steps: int) -> tuple[Value, Picked]:
        rows = np.arange(len(cosines))
        nearest = np.full(worth.shape, -np.inf)

        def value(step: int) -> Float64Array:
            return worth - (1.0 - self._params.trade_off) * nearest if step else worth

        def picked(step: int, best: NDArray[np.intp]) -> None:
            np.maximum(nearest, cosines[rows, best], out=nearest)

        return value, picked


class DppReranker(_DiversityReranker):
    """Fast greedy MAP inference for determinantal point processes (Chen, Zhang & Zhou, NeurIPS 2018).

    A set is worth ``trade_off * sum of relevance + (1 - trade_off) * log det(S')`` with
    ``S' = (1 - ridge) * S + ridge * I`` and S the cosines of its items, so that a second copy of an item is
    worth little but not nothing and a page of any length is well defined. Each place takes the candidate
    that adds most. The gain in log-determinant of every candidate is kept up to date through an incremental
    Cholesky factorisation (algorithm 1 of the paper): O(K n) a place for K candidates.

    Args:
        params: Trade-off, ridge, pool, kind of relevance.
        catalogue: Items with vectors.
    """

    _params: DppParams

    def _values(self, worth: Float64Array, cosines: FloatArray, steps: int) -> tuple[Value, Picked]:
        gains = _LogDeterminantGains(cosines, self._params.ridge, steps)
        return lambda step: worth + (1.0 - self._params.trade_off) * gains.current(), gains.include


class _LogDeterminantGains:
    """How much each candidate would add to log det(S') of what has been included.

    Args:
        cosines: float32, shape (B, W, W).
        ridge: Share of the identity in S'.
        steps: Items that will be included at most.
    """

    def __init__(self, cosines: FloatArray, ridge: float, steps: int) -> None:
        batch, width, _ = cosines.shape
        self._cosines = cosines
        self._ridge = ridge
        # An item without a vector is like no other: it has norm 1 in a direction of its own.
        self._residual = np.ones((batch, width))
        self._factor = np.zeros((batch, steps, width))
        self._rows = np.arange(batch)

    def current(self) -> Float64Array:
        """float64, shape (B, W)."""
        return np.asarray(np.log(self._residual))

    def include(self, step: int, best: NDArray[np.intp]) -> None:
        """Include the position ``best[b]`` of each query as item number ``step``."""
        rows, factor = self._rows, self._factor[:, :step]
        similar = (1.0 - self._ridge) * self._cosines[rows, best].astype(np.float64)
        similar -= np.matmul(factor[rows, :, best][:, None, :], factor)[:, 0]
        similar /= np.sqrt(self._residual[rows, best])[:, None]
        self._factor[:, step] = similar
        # Rounding must not take a residual below what the ridge guarantees.
        np.maximum(self._residual - similar**2, self._ridge * 0.5, out=self._residual)


def _cosines(catalogue: Catalogue, queries: Queries, items: Int32Array) -> FloatArray:
    """Cosines between the candidates of each query, float32 (B, W, W); rows of pads mean nothing."""
    vectors = catalogue.vectors
    if vectors is not None and items.max(initial=-1) < len(vectors):
        # All are of the catalogue, as nearly always: one plain gather instead of a masked one.
        own = vectors[np.maximum(items, 0)]
    else:
        own = catalogue.gather(items, queries.extra_vectors)
    return np.asarray(np.matmul(own, own.transpose(0, 2, 1)))
