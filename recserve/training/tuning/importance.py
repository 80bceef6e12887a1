"""Which parameters mattered in a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve.training.tuning.log import TrialRecord, TrialState
from recserve.training.tuning.space import Dimension

FEWEST = 8
"""Complete trials below which nothing can be said."""
_GROUPS = 3


def importances(trials: Sequence[TrialRecord], dimensions: Sequence[Dimension]) -> dict[str, float]:
    """The share of the variance of scores that each parameter explains by itself.

    Values of a parameter are put into up to three groups of equal size (None, or each choice, is a group of
    its own), and the correlation ratio of scores and groups is taken, corrected for what chance alone
    explains (epsilon squared, Kelley 1935). Effects that two parameters only have together are not seen.

    Returns:
        Share by name, from 0 to 1, largest first; empty with fewer than 8 complete trials.
    """
    complete = [one for one in trials if one.state is TrialState.COMPLETE and one.score is not None]
    if len(complete) < FEWEST:
        return {}
    scores = np.array([one.score for one in complete], dtype=np.float64)
    found = {
        one.name: _explained(scores, _groups([trial.values for trial in complete], one)) for one in dimensions
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _groups(values: Sequence[Mapping[str, Any]], dimension: Dimension) -> NDArray[np.int64]:
    """Group number of each trial."""
    chosen = [one.get(dimension.name) for one in values]
    if dimension.choices:
        return np.array([dimension.choices.index(one) for one in chosen], dtype=np.int64)
    groups = np.zeros(len(chosen), dtype=np.int64)
    known = np.array([one is not None for one in chosen])
    numbers = np.array([one for one in chosen if one is not None], dtype=np.float64)
    if len(numbers):
        edges = np.unique(np.quantile(numbers, np.arange(1, _GROUPS) / _GROUPS))
        groups[known] = 1 + np.searchsorted(edges, numbers, side="right")
    return groups


def _explained(scores: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Epsilon squared of scores by group, at least 0."""
    total = float(((scores - scores.mean()) ** 2).sum())
    kinds, place = np.unique(groups, return_inverse=True)
    if total <= 0 or len(kinds) < 2 or len(kinds) >= len(scores):
        return 0.0
    means = np.bincount(place, weights=scores) / np.bincount(place)
    within = float(((scores - means[place]) ** 2).sum())
    corrected = 1.0 - (within / (len(scores) - len(kinds))) / (total / (len(scores) - 1))
    return max(0.0, corrected)
