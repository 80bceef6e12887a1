"""What the times of events say, and the validation split that suits them.

Files without times get some from the order of their lines, or random ones. A split by time of such data tests
on users nobody has seen, or on nothing that time would predict, and what is chosen on it is chosen wrongly.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.dataset import Dataset
from recserve.evaluation.splits import DEFAULT_HISTORY, Split, by_user, temporal

FEWEST_EVENTS = 2000
"""With fewer events times are believed: nothing could be told from them."""
TESTED_USERS = 5000
_BLOCKS = 0.99
_DEVIATIONS = 4.0
_SORTED = 0.5


class EventOrder(StrEnum):
    """What the times of events order."""

    TIME = "time"
    """All events."""
    USER = "user"
    """The events of each user, but not those of different users: a file in which users follow each other."""
    NONE = "none"
    """Nothing."""

    @classmethod
    def of(cls, data: Dataset) -> EventOrder:
        """Find out from the events alone.

        Random times are told by analyses of variance: users and items differ no more in the mean times of
        their events than chance explains. A file's order is told by users who follow each other in blocks;
        within them, order means nothing where it is that of a sorted list, or random again.
        """
        users, times = data.users.astype(np.int64), data.timestamps
        if not len(data) or times[0] == times[-1]:
            return cls.NONE
        if len(data) < FEWEST_EVENTS:
            return cls.TIME
        # Ranks, so that a single event of long ago does not decide.
        place = (np.searchsorted(times, times) + np.searchsorted(times, times, side="right")) / 2.0
        if _share_of_blocks(users) >= _BLOCKS:
            counts = np.bincount(users)[users]
            order = np.argsort(users, kind="stable")
            within = np.empty(len(users))
            starts = np.repeat(
                np.flatnonzero(np.diff(users[order], prepend=-1)), np.bincount(users)[np.unique(users)]
            )
            within[order] = (np.arange(len(users)) - starts) / np.maximum(counts[order] - 1, 1)
            explained, deviations = _variance_between(within, data.items.astype(np.int64))
            return cls.USER if deviations > _DEVIATIONS and explained < _SORTED else cls.NONE
        apart = max(_variance_between(place, groups)[1] for groups in (users, data.items.astype(np.int64)))
        return cls.TIME if apart > _DEVIATIONS else cls.NONE


def validation_split(
    data: Dataset,
    share: float,
    *,
    seed: int = 0,
    history: int = DEFAULT_HISTORY,
    queries_per_user: int | None = None,
    users: int = TESTED_USERS,
) -> Split:
    """The split that suits the data: the newest window, or some items of each user where times say nothing.

    Args:
        data: All events.
        share: Of the events, or of each user's items.
        seed: Of whatever is drawn at random.
        history: See :attr:`recserve.evaluation.splits.Split.history`.
        queries_per_user: Of a split by time; see :func:`recserve.evaluation.splits.temporal`.
        users: Of a split by user, at most.

    Raises:
        DataError: There is too little data.
    """
    order = EventOrder.of(data)
    if order is EventOrder.TIME:
        return temporal(data, share, history=history, queries_per_user=queries_per_user)
    newest = order is EventOrder.USER
    return by_user(data, share, newest=newest, users=users, seed=seed, history=history)


def _share_of_blocks(users: Int64Array) -> float:
    """Share of the users with several events whose events follow each other without any other's between."""
    several = np.bincount(users) > 1
    blocks = np.bincount(users[np.flatnonzero(np.diff(users, prepend=-1))], minlength=len(several))
    return float((blocks[several] == 1).mean()) if several.any() else 0.0


def _variance_between(values: Float64Array, groups: Int64Array) -> tuple[float, float]:
    """Share of the variance that lies between groups beyond chance, and how significant that is.

    Returns:
        Adjusted R squared of the group means, and the deviation of the F ratio from 1 in its standard
        deviations under chance.
    """
    counts = np.bincount(groups)
    several = counts[groups] > 1
    values, groups = values[several], groups[several]
    counts = np.bincount(groups)
    used = counts > 0
    k, n = int(used.sum()), len(values)
    if k < 2 or n - k < 2:
        return 0.0, 0.0
    centred = values - values.mean()
    sums = np.bincount(groups, weights=centred)
    between = float((sums[used] ** 2 / counts[used]).sum())
    total = float(centred @ centred)
    within = total - between
    if within <= 0:
        return 1.0, np.inf
    ratio = (between / (k - 1)) / (within / (n - k))
    deviation = float(np.sqrt(2 / (k - 1) + 2 / (n - k)))
    return 1 - (within / (n - k)) / (total / (n - 1)), (ratio - 1) / deviation
