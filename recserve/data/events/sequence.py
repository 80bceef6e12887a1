"""Tests of histories: does the newest event follow from the one before it, are they only sorted lists?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from recserve.data.arrays import Float64Array, FloatArray, Int16Array, Int32Array, Int64Array
from recserve.data.batches import Histories
from recserve.data.vocabulary import Vocabulary

MIN_USERS = 30
"""With fewer users than this a comparison would be noise."""

_TESTED_USERS = 4000
_COMPARED_USERS = 20_000
_SEED = 0
# Standard errors; by chance a mean exceeds them once in 700 times.
_SIGNIFICANT = 3.0
# Share of steps in which the item's number grows, from which on a history is a sorted list.
_SORTED = 0.98


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Events in order of time.

    Attributes:
        users: int32, shape (N,).
        items: int32, shape (N,).
        events: int16, shape (N,).
        weights: float32, shape (N,).
        times: int64, shape (N,), non-decreasing.
        ids: The items' ids.
    """

    users: Int32Array
    items: Int32Array
    events: Int16Array
    weights: FloatArray
    times: Int64Array
    ids: Vocabulary


def tested_histories(events: EventColumns) -> Histories:
    """Positive events of the users who have three, oldest first; of many users some are drawn."""
    liked = events.weights > 0
    users = np.flatnonzero(np.bincount(events.users[liked]) >= 3)
    if len(users) > _COMPARED_USERS:
        users = np.sort(np.random.default_rng(_SEED).choice(users, _COMPARED_USERS, replace=False))
    place = np.full(int(events.users.max(initial=-1)) + 1, -1, dtype=np.int64)
    place[users] = np.arange(len(users))
    rows = np.flatnonzero(liked & (place[events.users] >= 0))
    rows = rows[np.argsort(events.users[rows], kind="stable")]
    lengths = np.bincount(place[events.users[rows]], minlength=len(users))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(
        offsets, events.items[rows], events.events[rows], events.weights[rows], events.times[rows]
    )


def sorted_by_item(histories: Histories, ids: Vocabulary) -> bool:
    """Whether histories are sorted by the ids of their items, as texts or as numbers."""
    owners = histories.owners()
    steps = np.flatnonzero((owners[1:] == owners[:-1]) & (np.diff(histories.timestamps) > 0))
    if len(histories) < MIN_USERS or not len(steps):
        return False
    orders = [histories.items.astype(np.int64)]
    if all(external.isdecimal() and len(external) < 18 for external in ids):
        orders.append(np.array([int(external) for external in ids])[histories.items])
    return any(np.mean(order[steps + 1] > order[steps]) > _SORTED for order in orders)


def next_events_follow(events: EventColumns, histories: Histories) -> bool:
    """Whether a user's newest event is more like the event before it, or on a newer item, than by chance.

    If time said nothing, the event before the newest would be any earlier event of the user. So the two are
    compared, user by user: which is more often liked together with the newest item (cosine), and is the
    newest event on an item that others liked later than the item of any earlier event?

    Args:
        events: All events.
        histories: Of the users to compare, see :func:`tested_histories`.

    Returns:
        False too where fewer than 30 users have events at three different places in time.
    """
    newest, before, earlier = _drawn(histories)
    if len(newest) < MIN_USERS:
        return False
    n_items = len(events.ids)
    gains = (
        _closeness(histories, newest, before, n_items) - _closeness(histories, newest, earlier, n_items),
        _moments(events, histories, newest) - _moments(events, histories, earlier),
    )
    return max(_standard_errors(gain) for gain in gains) > _SIGNIFICANT


def _drawn(histories: Histories) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Positions of the newest event of some users, of the one before it in time, and of one before that."""
    generator = np.random.default_rng(_SEED)
    owners = histories.owners()
    last = histories.offsets[1:] - 1
    older = histories.timestamps < histories.timestamps[last][owners]
    counts = np.bincount(owners[older], minlength=len(histories))
    able = np.flatnonzero(counts >= 2)
    if len(able) > _TESTED_USERS:
        able = np.sort(generator.choice(able, _TESTED_USERS, replace=False))
    starts = histories.offsets[able]
    before = starts + counts[able] - 1
    return last[able], before, starts + generator.integers(0, counts[able] - 1)


def _closeness(histories: Histories, newest: Int64Array, others: Int64Array, n_items: int) -> Float64Array:
    """Cosine of the users who like one item and those who like another, for each pair of positions."""
    ones = np.ones(len(histories.items), dtype=np.float32)
    by_item = csr_array((ones, (histories.items, histories.owners())), shape=(n_items, len(histories)))
    by_item.sum_duplicates()
    by_item.data[:] = 1.0
    counts = np.diff(by_item.indptr).astype(np.float64)
    left, right = histories.items[newest], histories.items[others]
    common = (by_item[left] * by_item[right]).sum(axis=1)
    return np.asarray(common / np.sqrt(counts[left] * counts[right]), dtype=np.float64)


def _moments(events: EventColumns, histories: Histories, places: Int64Array) -> Float64Array:
    """When others liked the items at some places, on average, in ranks of 0 to 1; NaN if nobody else did."""
    liked = events.weights > 0
    items, times = events.items[liked], events.times[liked]
    order = np.cumsum(np.diff(times, prepend=times[0]) > 0)
    ranks = order / max(int(order[-1]), 1)
    n_items = len(events.ids)
    sums = np.bincount(items, ranks, minlength=n_items)
    counts = np.bincount(items, minlength=n_items)
    chosen = histories.items[places]
    own = ranks[np.searchsorted(times, histories.timestamps[places])]
    with np.errstate(invalid="ignore"):
        return np.asarray((sums[chosen] - own) / (counts[chosen] - 1), dtype=np.float64)


def _standard_errors(gain: Float64Array) -> float:
    """How many standard errors the mean is above 0."""
    gain = gain[np.isfinite(gain)]
    if len(gain) < MIN_USERS or not gain.any():
        return 0.0
    return float(gain.mean() / (gain.std() / np.sqrt(len(gain)) + 1e-12))
