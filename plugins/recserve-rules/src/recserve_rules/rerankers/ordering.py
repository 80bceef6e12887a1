"""What all rerankers share: relevance by position, greedy picking, and orders that lose no candidate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recserve import BoolArray, Candidates, Float64Array, Int32Array

Value = Callable[[int], Float64Array]
"""Given a step, the value of each position, (B, W)."""

Picked = Callable[[int, NDArray[np.intp]], None]
"""Told a step and the position that was picked for each query."""


def relevance(ranked: Candidates, width: int, by: Literal["score", "rank"] = "score") -> Float64Array:
    """How relevant each candidate is to its query, between 0 and 1, never rising along the list.

    The order is the list's, so that what an earlier reranker did stands; with ``by="score"`` the spacing is
    that of the scores (the p-th place has the p-th highest score), stretched to [0, 1] over the first
    ``width`` places, which makes scores of any scale and sign comparable. With ``by="rank"`` the spacing
    is even.

    Args:
        ranked: Candidates of shape (B, K).
        width: Places that are looked at.
        by: What gives the spacing.

    Returns:
        float64, shape (B, width); 1 everywhere if all scores are equal, 0 at pads.
    """
    real = ranked.items[:, :width] >= 0
    if by == "rank":
        last = np.maximum(real.sum(axis=1, keepdims=True) - 1, 1)
        return np.where(real, 1.0 - np.minimum((np.cumsum(real, axis=1) - 1) / last, 1.0), 0.0)
    scores = spaced_scores(ranked)[:, :width]
    high = np.max(scores, axis=1, keepdims=True, where=real, initial=-np.inf)
    low = np.min(scores, axis=1, keepdims=True, where=real, initial=np.inf)
    spread = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):
        stretched = np.where(high > low, (scores - low) / spread, 1.0)
    return np.where(real, stretched, 0.0)


def spaced_scores(ranked: Candidates) -> Float64Array:
    """The scores of each query in descending order laid along the real places of its list.

    Returns:
        float64, shape (B, K), finite; 0 at pads.
    """
    real = ranked.items >= 0
    scores = ranked.scores.astype(np.float64)
    finite = real & np.isfinite(scores)
    low = np.min(scores, axis=1, keepdims=True, where=finite, initial=np.inf)
    high = np.max(scores, axis=1, keepdims=True, where=finite, initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    scores = np.clip(np.where(np.isnan(scores), low, scores), low, high)
    descending = -np.sort(np.where(real, -scores, np.inf), axis=1)
    place = np.maximum(np.cumsum(real, axis=1) - 1, 0)
    return np.where(real, np.take_along_axis(descending, place, axis=1), 0.0)


def standardised(ranked: Candidates) -> Float64Array:
    """:func:`spaced_scores` in standard deviations from each query's mean, float64 (B, K), 0 at pads."""
    real = ranked.items >= 0
    scores = spaced_scores(ranked)
    count = np.maximum(real.sum(axis=1, keepdims=True), 1)
    centred = np.where(real, scores - scores.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # Scores that differ by rounding only are equal: their order is noise that no boost should amplify.
    level = np.abs(scores).max(axis=1, keepdims=True, initial=0.0)
    differ = deviation > 1e-9 * level
    return np.where(differ, centred / np.where(differ, deviation, 1.0), 0.0)


def complete(chosen: Int32Array, real: BoolArray) -> Int32Array:
    """Put chosen positions first and all other candidates below them in their order.

    Args:
        chosen: int32, shape (B, m): distinct positions of real candidates, -1 where there is none.
        real: bool, shape (B, K): which positions hold a candidate.

    Returns:
        int32, shape (B, K): a permutation of the real positions, then -1.
    """
    width = real.shape[1]
    key = np.where(real, width + np.arange(width), 2 * width)
    row, step = np.nonzero(chosen >= 0)
    key[row, chosen[row, step]] = step
    return _ordered(key, real)


def by_utility(utility: Float64Array, real: BoolArray) -> Int32Array:
    """Order by utility, highest first, ties by rank.

    Returns:
        int32, shape (B, K), as :func:`complete`.
    """
    return _ordered(np.where(real, -utility, np.inf), real)


def unchanged(real: BoolArray) -> Int32Array:
    """The order as it is, int32 (B, K), as :func:`complete`."""
    return complete(np.empty((len(real), 0), dtype=np.int32), real)


def _ordered(key: NDArray[np.int64] | Float64Array, real: BoolArray) -> Int32Array:
    order = np.argsort(key, axis=1, kind="stable")
    return np.where(np.take_along_axis(real, order, axis=1), order, -1).astype(np.int32)


def pick_greedily(
    real: BoolArray,
    steps: int,
    value: Value,
    picked: Picked,
) -> Int32Array:
    """Pick the position of highest value again and again, for the whole batch at a time.

    Args:
        real: bool, shape (B, W): positions that may be picked.
        steps: How often.
        value: Given the step, the value of each position, (B, W); ties go to the better rank.
        picked: Told the step and the picked position of each query, intp (B,), so that values can change.

    Returns:
        int32, shape (B, steps); -1 once a query has nothing left.
    """
    rows = np.arange(len(real))
    left = real.copy()
    chosen = np.full((len(real), steps), -1, dtype=np.int32)
    for step in range(steps):
        best = np.argmax(np.where(left, value(step), -np.inf), axis=1)
        chosen[:, step] = np.where(left[rows, best], best, -1)
        left[rows, best] = False
        if step + 1 < steps:
            picked(step, best)
    return chosen
