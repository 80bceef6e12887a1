"""Model selection: held-out events of the training data, and searches along grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recserve.data.arrays import BoolArray, Float64Array, FloatArray, Int64Array
from recserve.data.batches import Histories
from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.data.system.cpus import usable_threads
from recserve.plugin.toolkit.metrics import ndcg_of

MIN_USERS = 30
"""With fewer users than this settings cannot be told apart."""
HELD_OUT_SHARE = 0.15
MAX_USERS = 8000
CUTOFF = 20

_SCORED_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Split of a data set into events to learn from and events to predict.

    Attributes:
        users: int64, shape (U,); users who are tested, ascending.
        kept: int64, shape (n_users,); how many events of each user to learn from.
        chosen: bool, shape (N,); events to predict.
        newest: Whether these are the newest of each user; otherwise chance drew them.
    """

    users: Int64Array
    kept: Int64Array
    chosen: BoolArray
    newest: bool


def hold_out(positive: Dataset, seed: int, max_users: int = MAX_USERS) -> HeldOut | None:
    """Hold out 15% of the events, at least one, of some users who have three.

    The newest events where times order something (:attr:`recserve.Dataset.event_order`), events drawn at
    random where they do not: there, the newest are no harder to predict and no better a test, and the order
    may be that of a file.

    Args:
        positive: Positive events.
        seed: Chooses the users where there are more, and events.
        max_users: Most users to test.

    Returns:
        None when there are too few users to tell settings apart.
    """
    counts = np.bincount(positive.users, minlength=positive.n_users)
    users = np.flatnonzero(counts >= 3)
    if len(users) < MIN_USERS:
        return None
    generator = np.random.default_rng(seed)
    if len(users) > max_users:
        users = np.sort(generator.choice(users, max_users, replace=False))
    kept = counts.copy()
    kept[users] -= np.maximum(1, (HELD_OUT_SHARE * counts[users]).astype(np.int64))
    newest = positive.event_order is not EventOrder.NONE
    order = np.arange(len(positive)) if newest else generator.permutation(len(positive))
    order = order[np.argsort(positive.users[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.empty(len(positive), dtype=np.int64)
    place[order] = np.arange(len(positive)) - starts[positive.users[order]]
    return HeldOut(users, kept, place >= kept[positive.users], newest)


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation split of a training set: what to learn from and what to predict.

    Attributes:
        training: The remaining positive events.
        histories: Training events of the U users that are tested.
        targets: Held-out events of the same users.
        whole: All positive events of these users, in order of time.
        newest: Whether the held-out events are the newest ones; otherwise chance drew them.
    """

    training: Dataset
    histories: Histories
    targets: Histories
    whole: Histories
    newest: bool

    @classmethod
    def of(cls, data: Dataset, seed: int, max_users: int = MAX_USERS) -> Validation | None:
        """Hold out some positive events, see :func:`hold_out`; None when there are too few users."""
        positive = data.positive()
        parts = hold_out(positive, seed, max_users)
        if parts is None:
            return None
        training = positive.where(~parts.chosen)
        return cls(
            training,
            training.histories.select(parts.users),
            positive.where(parts.chosen).histories.select(parts.users),
            positive.histories.select(parts.users),
            parts.newest,
        )

    @property
    def split(self) -> str:
        """The split's name in facts and logs: ``newest`` or ``random``."""
        return "newest" if self.newest else "random"

    def ndcg(self, score: Callable[[Int64Array], FloatArray], threads: int) -> float:
        """Mean nDCG@20 of the held-out items, full ranking without the items of the history.

        Args:
            score: Scores all items, float32 (b, n_items), for some of the tested users (positions
                0..U-1); the scores are overwritten.
            threads: Threads; 0 takes as many as this process may use.
        """
        return mean_ndcg(score, self.histories, self.targets, self.training.n_items, threads)


def mean_ndcg(
    score: Callable[[Int64Array], FloatArray],
    histories: Histories,
    targets: Histories,
    n_items: int,
    threads: int,
) -> float:
    """Mean nDCG@20 of each history's targets, see :meth:`Validation.ndcg`."""
    block = max(1, _SCORED_AT_A_TIME // max(n_items, 1))

    def gains(start: int) -> Float64Array:
        users = np.arange(start, min(start + block, len(histories)))
        scores, seen, wanted = score(users), histories.select(users), targets.select(users)
        scores[seen.owners(), seen.items] = -np.inf
        relevant = np.zeros(scores.shape, dtype=np.bool_)
        relevant[wanted.owners(), wanted.items] = True
        relevant[seen.owners(), seen.items] = False
        return ndcg_of(scores, relevant, CUTOFF)

    with ThreadPoolExecutor(threads or usable_threads()) as pool:
        parts = list(pool.map(gains, range(0, len(histories), block)))
    return float(np.concatenate(parts).mean())


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


Place = tuple[int, ...]
"""Place on several grids: the index of a value on each."""


def narrow(
    sizes: Place, start: Place, strides: Place, score: Callable[[Place], float], tries: int
) -> tuple[Place, dict[Place, float]]:
    """Pattern search on several grids at once (Hooke & Jeeves 1961): long steps first, then shorter ones.

    On each grid in turn the search goes a stride up or down if that is better, first in the direction that
    helped last; when no grid has a better neighbour, all strides are halved.

    Args:
        sizes: Values on each grid.
        start: Where to begin.
        strides: First stride on each grid; 0 leaves a grid alone.
        score: What a place is worth; asked once a place.
        tries: Most places to ask about, at least 1.

    Returns:
        The best place, and what each one tried is worth, in the order tried.
    """
    scores = {start: score(start)}
    best = start
    directions = [1] * len(sizes)

    def better(axis: int, direction: int, stride: int) -> Place | None:
        index = best[axis] + direction * stride
        place = (*best[:axis], index, *best[axis + 1 :])
        if stride == 0 or not 0 <= index < sizes[axis]:
            return None
        if place not in scores:
            if len(scores) >= tries:
                return None
            scores[place] = score(place)
        return place if scores[place] > scores[best] else None

    while any(strides) and len(scores) < tries:
        moved = False
        for axis, stride in enumerate(strides):
            for direction in (directions[axis], -directions[axis]):
                place = better(axis, direction, stride)
                if place is not None:
                    best, directions[axis], moved = place, direction, True
                    break
        if not moved:
            strides = tuple(stride // 2 for stride in strides)
    return best, scores
