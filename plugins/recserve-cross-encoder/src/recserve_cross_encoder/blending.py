"""Blending of two orders: the list's own and that of the cross-encoder's scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from recserve import BoolArray, Candidates, Float64Array, FloatArray, Int32Array, RankingExamples, ndcg

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
FEWEST_USERS = 20
"""With fewer users the list stays as it is."""
_CUT_OFF = 10


def blended(ranked: Candidates, scores: FloatArray, weight: float) -> Int32Array:
    """Positions of a list whose first K' places are ordered anew.

    Both sides are standardised over these places: the list's scores, laid along its order so that what an
    earlier step did to the order stands, and the cross-encoder's. A candidate without a score of the latter
    has its mean.

    Args:
        ranked: Candidates of shape (B, K), best first.
        scores: float32, shape (B, K'), K' <= K; NaN where the cross-encoder says nothing.
        weight: Share of the cross-encoder.

    Returns:
        int32, shape (B, K): a permutation of the positions of candidates, then -1.
    """
    depth = scores.shape[1]
    real = ranked.items >= 0
    own = _standardised(_descending(ranked.scores[:, :depth], real[:, :depth]), real[:, :depth])
    read = np.isfinite(scores) & real[:, :depth]
    utility = (1 - weight) * own + weight * _standardised(scores.astype(np.float64), read)
    key = np.arange(real.shape[1], dtype=np.float64)[None, :].repeat(len(real), axis=0)
    places = np.argsort(
        np.argsort(np.where(real[:, :depth], -utility, np.inf), axis=1, kind="stable"), axis=1
    )
    key[:, :depth] = places
    order = np.argsort(np.where(real, key, np.inf), axis=1, kind="stable")
    return np.where(np.take_along_axis(real, order, axis=1), order, -1).astype(np.int32)


def choose_weight(examples: RankingExamples, scores: FloatArray) -> tuple[float, dict[str, Any]]:
    """The weight that makes lists of held-out queries best; 0 unless it clearly makes them better.

    Args:
        examples: Q queries with the candidates as they are ranked.
        scores: float32, shape (Q, K').

    Returns:
        The weight, and facts: users, the mean gain of nDCG@10 over them by weight, the best one's error.
    """
    users, owners = np.unique(examples.users, return_inverse=True)
    if len(users) < FEWEST_USERS:
        return 0.0, {"users": len(users)}
    relevant = (examples.labels > 0).sum(axis=1).astype(np.int64)
    counts = np.bincount(owners)

    def per_user(weight: float) -> Float64Array:
        order = blended(examples.candidates, scores, weight)
        hits: BoolArray = np.take_along_axis(examples.labels > 0, np.maximum(order, 0), axis=1) & (order >= 0)
        values = ndcg(hits, relevant, _CUT_OFF)
        return np.asarray(np.bincount(owners, weights=values) / counts, dtype=np.float64)

    without = per_user(0.0)
    gains = {weight: per_user(weight) - without for weight in WEIGHTS}
    means = {weight: float(gain.mean()) for weight, gain in gains.items()}
    best = max(WEIGHTS, key=lambda weight: means[weight])
    error = float(gains[best].std(ddof=1) / np.sqrt(len(users)))
    chosen = best if means[best] > error else 0.0
    return chosen, {
        "users": len(users),
        "gain": {str(weight): round(mean, 6) for weight, mean in means.items()},
        "standard_error": round(error, 6),
    }


def _descending(scores: FloatArray, real: BoolArray) -> Float64Array:
    """Scores of each list in descending order, laid along its real places; finite, 0 at pads."""
    values = scores.astype(np.float64)
    finite = real & np.isfinite(values)
    low = np.min(values, axis=1, keepdims=True, where=finite, initial=np.inf)
    values = np.where(finite, values, np.where(np.isfinite(low), low, 0.0))
    falling = -np.sort(np.where(real, -values, np.inf), axis=1)
    place = np.maximum(np.cumsum(real, axis=1) - 1, 0)
    return np.where(real, np.take_along_axis(falling, place, axis=1), 0.0)


def _standardised(values: Float64Array, counted: BoolArray) -> Float64Array:
    """Standard deviations from the mean of each list's counted places; 0 elsewhere and of equal values."""
    values = np.where(counted, values, 0.0)
    count = np.maximum(counted.sum(axis=1, keepdims=True), 1)
    centred = np.where(counted, values - values.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    differ = deviation > 1e-9 * np.abs(values).max(axis=1, keepdims=True, initial=1e-30)
    return np.where(differ, centred / np.where(differ, deviation, 1.0), 0.0)
