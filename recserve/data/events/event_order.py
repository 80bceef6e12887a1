"""What the times of events order: everything, what each user did, or nothing.

Files without times get some from the order of their lines, or random ones. Once sorted they look like any
other log. A split by time of such data tests on users nobody has seen, or on nothing that time would predict;
a model that is chosen on the newest events of each user is chosen on noise, and a half-life of events means
nothing.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.events.sequence import EventColumns, next_events_follow, sorted_by_item, tested_histories

FEWEST_EVENTS = 2000
"""With fewer events times are believed: little could be told from them."""
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
    def of(cls, events: EventColumns) -> EventOrder:
        """Find out from the events alone.

        Random times are told by analyses of variance (users and items differ no more in the mean times of
        their events than chance explains) and by the newest event of a user, which is no more like the event
        before it than like any other. A file's order is told by users who follow each other in blocks; within
        them, order means nothing where it is that of a sorted list, or random again. Nor does it where users
        do not differ and all their histories are sorted by item.
        """
        times = events.times
        if not len(times) or times[0] == times[-1]:
            return cls.NONE
        if len(times) < FEWEST_EVENTS:
            return cls.TIME
        users, items = events.users.astype(np.int64), events.items.astype(np.int64)
        if _share_of_blocks(users) >= _BLOCKS:
            explained, deviations = _variance_between(_places_within(users), items)
            if explained >= _SORTED:
                return cls.NONE
            return cls.USER if deviations > _DEVIATIONS or _follow(events) else cls.NONE
        places = _places(times)
        if _variance_between(places, users)[1] > _DEVIATIONS:
            return cls.TIME
        if sorted_by_item(tested_histories(events), events.ids):
            return cls.NONE
        by_item = _variance_between(places, items)[1]
        return cls.TIME if by_item > _DEVIATIONS or _follow(events) else cls.NONE


def _follow(events: EventColumns) -> bool:
    return next_events_follow(events, tested_histories(events))


def _places(times: Int64Array) -> Float64Array:
    """Mid-ranks of sorted times: a single event of long ago does not decide."""
    starts = np.flatnonzero(np.diff(times, prepend=times[0] - 1))
    ends = np.append(starts[1:], len(times))
    return np.asarray(np.repeat((starts + ends) / 2.0, ends - starts))


def _places_within(users: Int64Array) -> Float64Array:
    """Place of each event among its user's, from 0 to 1."""
    counts = np.bincount(users)
    order = np.argsort(users, kind="stable")
    starts = np.repeat(np.flatnonzero(np.diff(users[order], prepend=-1)), counts[counts > 0])
    within = np.empty(len(users))
    within[order] = (np.arange(len(users)) - starts) / np.maximum(counts[users[order]] - 1, 1)
    return within


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
