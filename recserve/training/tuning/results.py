"""What a study found: the best trial beside the configured values, and which parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve.evaluation import Interval
from recserve.training.tuning.log import StudyRecord, TrialRecord, TrialState
from recserve.training.tuning.space import Dimension

FEWEST = 8
"""Complete trials below which nothing can be said."""
_GROUPS = 3


@dataclass(frozen=True)
class Comparison:
    """A trial beside the configured values, on one window.

    Attributes:
        best: nDCG@10 of the trial's values.
        default: nDCG@10 of the configured values.
        difference: The former minus the latter, with its paired bootstrap interval over users.
        users: Users that it is taken over.
    """

    best: float
    default: float
    difference: Interval
    users: int


@dataclass(frozen=True)
class Result:
    """What a study found.

    Attributes:
        study: What it was about.
        trials: All trials.
        best: The complete trial with the highest score.
        challenger: The best one beside trial 0, which is trial 0 itself if no other is complete.
        validation: The challenger beside trial 0, on the window that it was chosen by: flattering if there
            were many.
        test: The same on the test window, which nothing was chosen by; None if that was not asked for, or
            trial 0 is the best.
    """

    study: StudyRecord
    trials: Sequence[TrialRecord]
    best: TrialRecord
    challenger: TrialRecord
    validation: Comparison
    test: Comparison | None

    @property
    def default_is_best(self) -> bool:
        """Whether no trial beat the configured values."""
        return self.best.number == 0


def verdict(result: Result) -> str:
    """One sentence: whether tuning paid, going by the test window where it was measured."""
    if result.challenger.number == 0:
        return "No other trial is complete."
    judged, window = (result.validation, "validation") if result.test is None else (result.test, "test")
    difference = judged.difference
    shown = f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
    trial, where = f"Trial {result.challenger.number}", f"on the {window} window"
    if result.default_is_best:
        return f"No trial beat the configured values; the closest is {trial.lower()}, {where}: {shown}."
    if difference.low > 0:
        return f"{trial} beats the configured values {where} by {shown}."
    if difference.high < 0:
        return f"{trial} is worse than the configured values {where}: {shown}."
    return f"{trial} and the configured values cannot be told apart {where}: {shown}."


def importances(trials: Sequence[TrialRecord], dimensions: Sequence[Dimension]) -> dict[str, float]:
    """The share of the variance of scores that each parameter explains by itself.

    Values of a parameter are put into up to three groups of equal size (None, or each choice, is a group of
    its own), and the correlation ratio of scores and groups is taken, corrected for what chance alone
    explains (epsilon squared, Kelley 1935). Effects that two parameters only have together are not seen.

    Returns:
        Share by name, from 0 to 1, largest first; empty with fewer than 8 complete trials.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.score is not None]
    if len(complete) < FEWEST:
        return {}
    scores = np.array([trial.score for trial in complete], dtype=np.float64)
    found = {
        dimension.name: _explained(scores, _groups([trial.values for trial in complete], dimension))
        for dimension in dimensions
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _groups(values: Sequence[Mapping[str, Any]], dimension: Dimension) -> NDArray[np.int64]:
    """Group number of each trial."""
    chosen = [trial.get(dimension.name) for trial in values]
    if dimension.choices:
        return np.array([dimension.choices.index(value) for value in chosen], dtype=np.int64)
    groups = np.zeros(len(chosen), dtype=np.int64)
    known = np.array([value is not None for value in chosen])
    numbers = np.array([value for value in chosen if value is not None], dtype=np.float64)
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
