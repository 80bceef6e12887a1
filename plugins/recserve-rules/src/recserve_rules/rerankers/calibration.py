"""The reranker ``calibrated``: lists whose mix of categories is the user's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recserve import Candidates, Catalogue, Float64Array, Int32Array, Int64Array, Queries
from recserve_rules.expressions.columns import Column, Columns
from recserve_rules.parameters import CalibratedParams
from recserve_rules.rerankers.ordering import complete, pick_greedily, relevance, unchanged

_DAY = 86_400_000.0
# Values of one item that count; the first ones, in the catalogue's order.
_VALUES = 16


class CalibratedReranker:
    """Calibrated recommendations (Steck, RecSys 2018).

    With p(g|u) the share of category g in the user's positive history and q(g) its share in the list, each
    place takes the candidate with the highest ``(1 - strength) * relevance - strength * KL(p, q')``, where
    ``q' = (1 - smoothing) * q + smoothing * p``. An item of several categories counts in equal parts for
    each; items without any leave q as it is. A user without a history on items with categories keeps the
    ranked order.

    Args:
        params: Attribute, strength, smoothing, half-life.
        catalogue: Items with the attribute.

    Raises:
        ConfigError: No item has the attribute.
    """

    def __init__(self, params: CalibratedParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        self._column = Columns.of(catalogue).required(params.attribute, "reranker 'calibrated', attribute")

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Place ``n`` items; those not placed follow in their order.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        params = self._params
        real = ranked.items >= 0
        width = min(params.pool, real.shape[1])
        if params.strength == 0.0 or width == 0:
            return unchanged(real)
        target = target_distribution(queries, self._column, self._n_items, params.half_life_days)
        mix = _Mix(target, self._column, ranked.items[:, :width], params.smoothing)
        worth = (1.0 - params.strength) * relevance(ranked, width, params.relevance)

        def value(step: int) -> Float64Array:
            return worth - params.strength * mix.divergences()

        return complete(pick_greedily(real[:, :width], min(n, width), value, mix.include), real)


class Target:
    """What the list's mix should be: each query's categories with their share, largest first.

    Args:
        codes: int64, shape (B, G): category codes, -1 pads.
        shares: float64, shape (B, G): p(g|u), rows sum to 1, or to 0 for a user without a history.
    """

    def __init__(self, codes: Int64Array, shares: Float64Array) -> None:
        self.codes = codes
        self.shares = shares


def target_distribution(
    queries: Queries, column: Column, n_items: int, half_life_days: float | None
) -> Target:
    """Shares of categories in each user's positive history, weighted by confidence and, if asked, by age."""
    histories = queries.histories.known(n_items).positive()
    codes = column.padded(histories.items)[:, :_VALUES]
    owner = np.repeat(histories.owners(), codes.shape[1])
    weight = histories.weights.astype(np.float64)
    if half_life_days is not None:
        age = np.maximum(queries.times[histories.owners()] - histories.timestamps, 0) / _DAY
        weight = weight * np.exp2(-age / half_life_days)
    part = np.repeat(weight / np.maximum((codes >= 0).sum(axis=1), 1), codes.shape[1])
    flat = codes.reshape(-1)
    kept = flat >= 0
    stride = max(column.categories, 1)
    keys, slot = np.unique(owner[kept] * stride + flat[kept], return_inverse=True)
    sums = np.bincount(slot, weights=part[kept], minlength=len(keys))
    user = keys // stride
    column_of = np.arange(len(keys)) - np.searchsorted(user, user)
    width = int(column_of.max()) + 1 if len(keys) else 1
    out = np.full((len(queries), width), -1, dtype=np.int64)
    shares = np.zeros((len(queries), width))
    out[user, column_of], shares[user, column_of] = keys % stride, sums
    total = shares.sum(axis=1, keepdims=True)
    return Target(out, np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))


class _Mix:
    """The mix of what has been placed, and how far from the target each further candidate leaves it.

    Only categories of the target matter to KL(p, q'). The numerators of q' after one more item are
    ``A + (1 - smoothing) / (number of its categories)``, so the change of the divergence is a sum over an
    item's categories of entries of a small table (B, G, V) instead of a logarithm for every candidate
    and category.
    """

    def __init__(self, target: Target, column: Column, items: Int32Array, smoothing: float) -> None:
        codes = column.padded(items)[:, :, :_VALUES]
        self._rows = np.arange(len(items))
        self._smoothing = smoothing
        self._shares = target.shares
        self._known = target.shares.sum(axis=1) > 0
        self._count = (codes >= 0).sum(axis=2)
        groups, values = target.shares.shape[1], codes.shape[2]
        self._parts = 1.0 / np.arange(1, values + 1)
        local = _local(codes, target.codes)
        # Place of (category, number of categories of the item) in the table; the last entry is always 0.
        entry = local * values + np.maximum(self._count - 1, 0)[:, :, None]
        nothing = groups * values
        entry = np.where(local >= 0, entry, nothing)
        self._local = local
        entry += self._rows[:, None, None] * (nothing + 1)
        # One plane a value, because sums over a short last axis are slow.
        self._entries = np.ascontiguousarray(np.moveaxis(entry, 2, 0))
        self._sums = np.zeros_like(target.shares)
        self._total = np.zeros(len(items))

    def divergences(self) -> Float64Array:
        """KL(p, q') were the candidate placed next, float64 (B, W), up to a constant of each query."""
        shares, smoothing = self._shares, self._smoothing
        have = self._total[:, None]
        numerator = (1.0 - smoothing) * self._sums + smoothing * shares * (have + 1.0)
        safe = np.where(shares > 0, numerator, 1.0)
        table = shares[:, :, None] * np.log1p((1.0 - smoothing) * self._parts / safe[:, :, None])
        flat = np.pad(table.reshape(len(shares), -1), ((0, 0), (0, 1))).reshape(-1)
        gain = flat[self._entries].sum(axis=0)
        with_one = (shares * np.log(safe)).sum(axis=1) - np.log(have[:, 0] + 1.0)
        agreement = with_one[:, None] + gain
        mixed = (1.0 - smoothing) * self._sums / np.maximum(have, 1.0) + smoothing * shares
        as_is = (shares * np.log(np.where(shares > 0, mixed, 1.0))).sum(axis=1)
        agreement = np.where(self._count > 0, agreement, as_is[:, None])
        return np.where(self._known[:, None], -agreement, 0.0)

    def include(self, step: int, best: NDArray[np.intp]) -> None:
        """Place the position ``best[b]`` of each query."""
        count = self._count[self._rows, best]
        for local in self._local[self._rows, best].T:
            inside = np.flatnonzero(local >= 0)
            self._sums[inside, local[inside]] += 1.0 / count[inside]
        self._total += count > 0


def _local(codes: Int64Array, target: Int64Array) -> Int64Array:
    """Column of the target in which each code stands, -1 where it does not, shape of ``codes``."""
    batch, groups = target.shape
    stride = int(max(codes.max(initial=0), target.max(initial=0))) + 2
    base = np.arange(batch, dtype=np.int64) * stride
    keys = (base[:, None] + target + 1).reshape(-1)
    order = np.argsort(keys, kind="stable")
    asked = (base[:, None, None] + codes + 1).reshape(-1)
    found = np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)
    slot = order[found]
    hit = (keys[slot] == asked) & (codes.reshape(-1) >= 0)
    return np.where(hit, slot % groups, -1).reshape(codes.shape)
