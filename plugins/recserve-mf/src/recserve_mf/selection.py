"""Chooses the regularisation on validation data that is carved out of the training data.

How much a factorisation must be shrunk depends on how dense and how regular the data are, by more than
a factor of ten between data sets; everything else has a good constant once confidences are in units
of their mean and the unobserved weight in units of the density.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recserve import Dataset, FloatArray, Histories, climb, hold_out, ndcg_of
from recserve_mf.model import Model
from recserve_mf.solver.fold_in import FoldIn

REGULARIZATIONS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
DEFAULT = 3
CUTOFF = 20
SCORED_AT_A_TIME = 4_000_000

HALF_LIVES = (0.0, 1.5, 3.0, 6.0, 12.0, 25.0, 50.0)
MAX_STEPS = 8000
STEPS_A_USER = 8


@dataclass(frozen=True, slots=True)
class Validation:
    """A data set cut in two: what to learn from and what to predict.

    Attributes:
        training: The remaining events.
        histories: Training events of the U users that are tested.
        targets: Held-out events of the same users.
        steps: Some of the held-out events one by one, each with everything that came before it.
    """

    training: Dataset
    histories: Histories
    targets: Histories
    steps: Steps

    @classmethod
    def of(cls, data: Dataset, seed: int) -> Validation | None:
        """Hold out positive events of some users; None when there are too few users."""
        positive = data.positive()
        parts = hold_out(positive, seed)
        if parts is None:
            return None
        users = parts.users
        training = positive.where(~parts.chosen)
        return cls(
            training,
            training.histories.select(users),
            positive.where(parts.chosen).histories.select(users),
            Steps.of(positive.histories.select(users), parts.kept[users]),
        )

    def ndcg(self, model: Model, threads: int) -> float:
        """Mean nDCG@20 of the held-out items, full ranking without the items of the history."""
        return ndcg(model, self.histories, self.targets, threads)


@dataclass(frozen=True, slots=True)
class Steps:
    """Single events to predict.

    Attributes:
        histories: What each event's user had done before it, Q histories.
        targets: The event, Q histories of one event each.
    """

    histories: Histories
    targets: Histories

    @classmethod
    def of(cls, everything: Histories, kept: NDArray[np.int64]) -> Steps:
        """Some of the events after the first ``kept`` of each user, spread evenly over them."""
        held = everything.lengths - kept
        each = np.minimum(held, np.clip(MAX_STEPS // max(len(held), 1), 1, STEPS_A_USER))
        users = np.repeat(np.arange(len(held)), each)
        number = np.arange(len(users)) - np.repeat(np.cumsum(each) - each, each)
        places = kept[users] + number * held[users] // each[users]
        single = everything.select(users)
        position = np.arange(len(single.items)) - np.repeat(single.offsets[:-1], single.lengths)
        until = np.repeat(places, single.lengths)
        return cls(single.where(position < until), single.where(position == until))


def ndcg(model: Model, histories: Histories, targets: Histories, threads: int) -> float:
    """Mean nDCG@20 of each user's targets, full ranking without the items of the history."""
    fold_in = FoldIn(model)
    vectors, _ = fold_in.solve(fold_in.liked(histories))
    block = max(1, SCORED_AT_A_TIME // len(model.items))

    def gains(start: int) -> NDArray[np.float64]:
        users = np.arange(start, min(start + block, len(vectors)))
        return _ndcg(model, vectors[users], histories.select(users), targets.select(users))

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        parts = list(pool.map(gains, range(0, len(vectors), block)))
    return float(np.concatenate(parts).mean())


def _ndcg(model: Model, vectors: FloatArray, seen: Histories, wanted: Histories) -> NDArray[np.float64]:
    scores = vectors @ model.items.T
    scores[:, ~model.trained] = -np.inf
    scores[seen.owners(), seen.items] = -np.inf
    relevant = np.zeros(scores.shape, dtype=np.bool_)
    relevant[wanted.owners(), wanted.items] = True
    relevant[seen.owners(), seen.items] = False
    return ndcg_of(scores, relevant, CUTOFF)


def choose_half_life(steps: Steps, model: Model, threads: int) -> tuple[float, dict[str, float]]:
    """How quickly old events should fade when a user is folded in, for the next event's sake.

    Where order says nothing, as in data without times, no fading wins.

    Returns:
        The best half-life in events, 0 for none, and nDCG@20 of each one tried (by its value as text).
    """
    scores = {
        half_life: ndcg(replace(model, half_life_events=half_life), steps.histories, steps.targets, threads)
        for half_life in HALF_LIVES
    }
    best = max(HALF_LIVES, key=lambda half_life: scores[half_life])
    return best, {str(half_life): score for half_life, score in scores.items()}


def choose_regularization(
    validation: Validation, fit: Callable[[Dataset, float], Model], threads: int
) -> tuple[float, dict[str, float]]:
    """Climb from the middle of the grid to the best neighbour until neither side is better.

    Args:
        validation: The held-out data.
        fit: Fits a model to a data set with a given regularisation.
        threads: Threads that score validation users; 0 takes all.

    Returns:
        The best regularisation and nDCG@20 of each one tried (by its value as text).
    """
    best, tried = climb(
        REGULARIZATIONS, DEFAULT, lambda value: validation.ndcg(fit(validation.training, value), threads)
    )
    return best, {str(value): score for value, score in tried.items()}
