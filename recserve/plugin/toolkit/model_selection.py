"""Model selection: held-out events of the training data, and the search along a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recserve.data.arrays import BoolArray, Int64Array
from recserve.data.dataset import Dataset

HELD_OUT_SHARE = 0.15
MAX_USERS = 8000
# With fewer users than this a comparison would be noise.
MIN_USERS = 30


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Split of a data set into events to learn from and events to predict.

    Attributes:
        users: int64, shape (U,); users who are tested, ascending.
        kept: int64, shape (n_users,); events of each user to learn from, the oldest ones.
        late: bool, shape (N,); events to predict.
    """

    users: Int64Array
    kept: Int64Array
    late: BoolArray


def hold_out_newest(positive: Dataset, seed: int) -> HeldOut | None:
    """Hold out the newest 15% of the events, at least one, of up to 8,000 users who have three.

    Args:
        positive: Positive events.
        seed: Chooses the users where there are more.

    Returns:
        None when there are too few users to tell settings apart.
    """
    counts = np.bincount(positive.users, minlength=positive.n_users)
    users = np.flatnonzero(counts >= 3)
    if len(users) < MIN_USERS:
        return None
    if len(users) > MAX_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MAX_USERS, replace=False))
    kept = counts.copy()
    kept[users] -= np.maximum(1, (HELD_OUT_SHARE * counts[users]).astype(np.int64))
    order = np.argsort(positive.users, kind="stable")
    starts = np.cumsum(counts) - counts
    place = np.empty(len(positive), dtype=np.int64)
    place[order] = np.arange(len(positive)) - starts[positive.users[order]]
    return HeldOut(users, kept, place >= kept[positive.users])


def climb(
    grid: Sequence[float], start: int, score: Callable[[float], float]
) -> tuple[float, dict[float, float]]:
    """Go from one value of a grid to its best neighbour until neither side is better.

    Args:
        grid: The values, ascending.
        start: Where to begin.
        score: What a value is worth, never negative; asked once a value.

    Returns:
        The best value, and what each one tried is worth, ascending.
    """
    scores: dict[int, float] = {}

    def at(index: int) -> float:
        if not 0 <= index < len(grid):
            return -1.0
        if index not in scores:
            scores[index] = score(grid[index])
        return scores[index]

    best = start
    step = 1 if at(best + 1) > at(best) else -1
    while at(best + step) > at(best):
        best += step
    return grid[best], {grid[index]: scores[index] for index in sorted(scores)}
