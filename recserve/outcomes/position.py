"""Position bias: how likely each place of a page is to be looked at, estimated from the logs.

The position-based model says that an impression is clicked with the probability that its place is examined,
times that its item attracts who examines it (Craswell et al. 2008). Examination is estimated without
experiments, from the same item having been shown in different places (intervention harvesting, Agarwal et
al. 2019). Within a stratum (a day, a scenario and an item) places are compared in pairs by Mantel-Haenszel
weights (Mantel & Haenszel 1959), which stay consistent however few impressions a stratum has, and add up
over strata and days; the pairs are combined into one figure a place as in paired comparisons (Bradley &
Terry 1952).

It assumes that within a stratum an item attracts alike wherever it stands. A ranker that puts an item higher
for those who want it more violates this, and makes lower places seem less examined than they are.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array

PLACES = 20
"""Places that are told apart; the last one stands for all that follow."""

_ROUNDS = 200
_TOLERANCE = 1e-9
_LEAST = 5.0
"""Weight of comparisons that a place needs; below, it is taken to be examined like the place before it."""


def comparisons(
    strata: Int64Array, places: Int64Array, shown: Float64Array, clicked: Float64Array
) -> Float64Array:
    """Mantel-Haenszel weights of pairs of places.

    Args:
        strata: int64, shape (N,): the stratum of each row; a stratum and a place come once.
        places: int64, shape (N,), below :data:`PLACES`.
        shown: float64, shape (N,): impressions.
        clicked: float64, shape (N,): those that were clicked.

    Returns:
        float64, shape (PLACES, PLACES): entry (a, b) sums, over strata, clicks at a times impressions at b
        over impressions at both; the ratio of (a, b) to (b, a) estimates that of examination.
    """
    found = np.zeros((PLACES, PLACES))
    names = np.unique(strata[clicked > 0])  # nothing is learnt from the others
    if not len(names):
        return found
    rows = np.minimum(np.searchsorted(names, strata), len(names) - 1)
    useful = names[rows] == strata
    rows, places = rows[useful], places[useful]
    clicks, views = np.zeros((PLACES, len(names))), np.zeros((PLACES, len(names)))
    clicks[places, rows], views[places, rows] = clicked[useful], shown[useful]
    used = np.unique(places).tolist()
    for first, second in combinations(used, 2):
        both = views[first] + views[second]
        share = np.divide(1.0, both, out=np.zeros_like(both), where=both > 0)
        found[first, second] = np.dot(clicks[first] * share, views[second])
        found[second, first] = np.dot(clicks[second] * share, views[first])
    return found


def examination(weights: Float64Array) -> Float64Array:
    """Examination of each place relative to the first one.

    Args:
        weights: Sums of :func:`comparisons`.

    Returns:
        float64, shape (PLACES,), the first is 1. A place that was compared too little has the value of the
        place before it.
    """
    pairs = weights + weights.T
    known = _connected(pairs)
    value = np.ones(PLACES)
    wins = weights[np.ix_(known, known)].sum(axis=1)
    both = pairs[np.ix_(known, known)]
    current = np.ones(int(known.sum()))
    for _ in range(_ROUNDS):  # Hunter 2004: each round raises the likelihood
        scale = (both / (current[:, None] + current[None, :])).sum(axis=1)
        following = np.divide(wins, scale, out=current.copy(), where=scale > 0)
        following = np.maximum(following / max(following[0], _TOLERANCE), _TOLERANCE)
        done = np.abs(following - current).max() < _TOLERANCE
        current = following
        if done:
            break
    value[known] = current
    for place in range(1, PLACES):
        if not known[place]:
            value[place] = value[place - 1]
    return value


def _connected(pairs: Float64Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Places that are compared with the first one, directly or by others, often enough."""
    linked = pairs >= _LEAST
    known = np.zeros(PLACES, np.bool_)
    known[0] = True
    for _ in range(PLACES):
        known |= linked[known].any(axis=0)
    return known
