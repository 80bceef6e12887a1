"""Test whether the order of a user's events in time says anything about what he does next.

Data without times, with equal times or with times that only number the rows of a file look like any other
once they are sorted. A model that is selected on the newest events of such data is selected on noise, and a
half-life of events means nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.batches import Histories
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset

MIN_USERS = 30
"""With fewer users than this a comparison would be noise."""

_TESTED_USERS = 4000
_COMPARED_USERS = 20_000
# Standard errors; by chance a mean exceeds them once in 700 times.
_SIGNIFICANT = 3.0
# Share of steps in which the item's number grows, from which on a history is a sorted list.
_SORTED = 0.98


def time_order_matters(positive: Dataset, seed: int) -> bool:
    """Whether a user's newest event is more like the event before it, or on a newer item, than by chance.

    If time said nothing, the event before the newest would be any earlier event of the user. So the two are
    compared, user by user: which is more often liked together with the newest item (cosine), and is the
    newest event on an item that others liked later than the item of any earlier event? Histories in the order
    of their items' ids are lists, whatever their times say.

    Args:
        positive: Positive events.
        seed: Chooses users, where there are many, and earlier events.

    Returns:
        False too where fewer than 30 users have events at three different places in time.
    """
    generator = np.random.default_rng(seed)
    users = np.flatnonzero(np.bincount(positive.users, minlength=positive.n_users) >= 3)
    if len(users) > _COMPARED_USERS:
        users = np.sort(generator.choice(users, _COMPARED_USERS, replace=False))
    histories = positive.histories.select(users)
    newest, before, earlier = _drawn(histories, generator)
    if len(newest) < MIN_USERS or _are_lists(histories, positive.catalogue):
        return False
    gains = (
        _closeness(histories, newest, before, positive.n_items)
        - _closeness(histories, newest, earlier, positive.n_items),
        _moments(positive, histories, newest) - _moments(positive, histories, earlier),
    )
    return max(_standard_errors(gain) for gain in gains) > _SIGNIFICANT


def _drawn(histories: Histories, generator: np.random.Generator) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Positions of the newest event of some users, of the one before it in time, and of one before that."""
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


def _are_lists(histories: Histories, catalogue: Catalogue) -> bool:
    """Whether histories are sorted by the ids of their items, as texts or as numbers."""
    owners = histories.owners()
    steps = np.flatnonzero((owners[1:] == owners[:-1]) & (np.diff(histories.timestamps) > 0))
    orders = [histories.items.astype(np.int64)]
    if all(external.isdecimal() and len(external) < 18 for external in catalogue.ids):
        orders.append(np.array([int(external) for external in catalogue.ids])[histories.items])
    return any(np.mean(order[steps + 1] > order[steps]) > _SORTED for order in orders)


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


def _moments(positive: Dataset, histories: Histories, places: Int64Array) -> Float64Array:
    """When others liked the items at some places, on average, in ranks of 0 to 1; NaN if nobody else did."""
    _, order = np.unique(positive.timestamps, return_inverse=True)
    ranks = order / max(int(order[-1]), 1)
    sums = np.bincount(positive.items, ranks, minlength=positive.n_items)
    counts = np.bincount(positive.items, minlength=positive.n_items)
    items = histories.items[places]
    own = ranks[np.searchsorted(positive.timestamps, histories.timestamps[places])]
    with np.errstate(invalid="ignore"):
        return np.asarray((sums[items] - own) / (counts[items] - 1), dtype=np.float64)


def _standard_errors(gain: Float64Array) -> float:
    """How many standard errors the mean is above 0."""
    gain = gain[np.isfinite(gain)]
    if len(gain) < MIN_USERS or not gain.any():
        return 0.0
    return float(gain.mean() / (gain.std() / np.sqrt(len(gain)) + 1e-12))
