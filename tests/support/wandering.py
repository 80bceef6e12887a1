"""Made-up likes of users whose tastes move from group to group of items."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Dataset, Vocabulary

_GROUPS = 6
_ITEMS = 20
_STAY = 8


def drifting(seed: int, *, times: str = "moments", n_users: int = 120, n_events: int = 24) -> Dataset:
    """Likes of users who leave one group of items for the next after a while.

    Args:
        seed: Of everything random.
        times: ``moments`` are when it happened; ``equal`` are all the same; ``day`` tells two days apart, on
            which everybody did everything; ``shuffled`` number a user's likes at random, ``sorted`` by the
            item's id, as a file might.
        n_users: Users.
        n_events: Likes of each, before those of one item are counted once.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        first = generator.integers(_GROUPS)
        places = (first + np.arange(n_events) // _STAY) % _GROUPS * _ITEMS
        likes = list(dict.fromkeys((places + generator.integers(0, _ITEMS, n_events)).tolist()))
        if times == "shuffled":
            likes = generator.permutation(likes).tolist()
        if times == "sorted":
            likes.sort()
        for place, item in enumerate(likes):
            moment = {"equal": 0, "day": int(generator.integers(2))}.get(times, place * 1000 + user)
            rows.append((moment, user, item))
    generator.shuffle(rows)
    rows.sort(key=lambda row: row[0])
    moments, users, items = (np.array(column) for column in zip(*rows, strict=True))
    return Dataset(
        Catalogue([f"{row:03}" for row in range(_GROUPS * _ITEMS)]),
        Vocabulary(f"u{row:03}" for row in range(n_users)),
        users.astype(np.int32),
        items.astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        moments.astype(np.int64),
        ("like",),
    )
