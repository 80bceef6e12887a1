"""The validation split that suits the data: by time where times order all events, else by user."""

from __future__ import annotations

from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.evaluation.splits import DEFAULT_HISTORY, Split, by_user, temporal

TESTED_USERS = 5000


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
    if data.event_order is EventOrder.TIME:
        return temporal(data, share, history=history, queries_per_user=queries_per_user)
    newest = data.event_order is EventOrder.USER
    return by_user(data, share, newest=newest, users=users, seed=seed, history=history)
