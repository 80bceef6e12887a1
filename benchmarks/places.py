"""Made-up data: check-ins without times, and a crowd that follows what is popular.

Check-ins are of users near their homes and places of very different appeal. Like real ones, they are sparse,
with many local clusters and few global tastes, and a share of the events says nothing about the user.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from benchmarks.datasets import Data

# Chance events, the reach of a home, and the share of events in a user's second city.
_NOISE, _REACH, _SECOND = 0.3, 0.7, 0.2
_TASTES = 24
_FEWEST, _MOST = 10, 900
_MOMENT_MS = 1_000_000_000_000
_DAY_MS = 86_400_000
_WORDS = (
    "jazz", "opera", "chess", "sailing", "cooking", "gardens", "trains", "boxing", "poetry", "robots", "maps",
    "coins", "comets", "castles", "pottery", "cycling", "wine", "tango", "fossils", "glass", "bees", "drums",
    "horses", "snow",
)  # fmt: skip


def check_ins(n_users: int = 30_000, n_items: int = 41_000, seed: int = 3) -> Data:
    """Distinct places of each user, about 32 on average, at least about ten.

    Args:
        n_users: Users.
        n_items: Places, in a city for every 51 of them.
        seed: Of everything random.
    """
    generator = np.random.default_rng(seed)
    n_cities = max(n_items // 51, 1)
    size = 1.0 / np.arange(1, n_cities + 1) ** 0.8
    city = generator.choice(n_cities, n_items, p=size / size.sum())
    homes = generator.choice(n_cities, (n_users, 2), p=size / size.sum())
    spots, centres = generator.standard_normal((n_items, 2)), generator.standard_normal((n_users, 2))
    kinds = generator.standard_normal((n_items, _TASTES)) / np.sqrt(_TASTES)
    tastes = 1.2 * generator.standard_normal((n_users, _TASTES))
    appeal = generator.pareto(1.3, n_items) + 0.3
    by_chance = np.cumsum(appeal) / appeal.sum()
    counts = _FEWEST + generator.lognormal(np.log(24.0) - 0.6, 1.1, n_users).astype(np.int64)
    places = [np.flatnonzero(city == number) for number in range(n_cities)]
    visited = []
    for user, count in enumerate(np.minimum(counts, _MOST).tolist()):
        first, second = (places[home] for home in homes[user])
        away = np.linalg.norm(spots[first] - centres[user], axis=1) / _REACH
        near = np.log(appeal[first]) - away + kinds[first] @ tastes[user]
        far = np.log(appeal[second]) + kinds[second] @ tastes[user]
        chances = np.concatenate([_normal(near, 1.0 - _SECOND), _normal(far, _SECOND)])
        drawn = np.argsort(-(chances + generator.gumbel(size=len(chances))), kind="stable")[:count]
        lost = generator.binomial(len(drawn), _NOISE)
        known = generator.permutation(np.concatenate([first, second])[drawn])[lost:]
        visited.append(np.union1d(known, np.searchsorted(by_chance, generator.random(lost))))
    users = np.repeat(np.arange(n_users), [len(items) for items in visited])
    items = np.minimum(np.concatenate(visited), n_items - 1)
    n = len(users)
    return Data(
        "check-ins",
        pa.table(
            {
                "user_id": pa.array([f"u{user}" for user in users.tolist()]),
                "item_id": pa.array([f"i{item}" for item in items.tolist()]),
                "event": pa.array(["view"] * n),
                "value": pa.nulls(n, pa.float64()),
                "timestamp": pa.array(np.full(n, _MOMENT_MS)),
            }
        ),
        note="made up, no times",
    )


def crowd(n_users: int = 3_000, n_items: int = 2_000, seed: int = 5) -> Data:
    """Users of whom nine events in ten are on what is popular with everybody, the rest within a taste.

    Items have titles that tell their taste, times order the events, and popularity follows a power law
    whose order slowly changes.

    Args:
        n_users: Users, with about eight distinct items each.
        n_items: Items.
        seed: Of everything random.
    """
    generator = np.random.default_rng(seed)
    tastes = generator.integers(0, _TASTES, n_items)
    own = generator.integers(0, _TASTES, n_users)
    appeal = 1.0 / np.arange(1, n_items + 1) ** 1.2
    counts = 3 + generator.poisson(6, n_users)
    users = np.repeat(np.arange(n_users), counts)
    moments = np.sort(generator.integers(0, 90 * _DAY_MS, len(users)))
    users = generator.permutation(users)
    drift = (moments * (n_items // 100) // (90 * _DAY_MS)).astype(np.int64)
    items = (generator.choice(n_items, len(users), p=appeal / appeal.sum()) + drift) % n_items
    personal = np.flatnonzero(generator.random(len(users)) < 0.1)
    for taste in range(_TASTES):
        rows = personal[own[users[personal]] == taste]
        items[rows] = generator.choice(np.flatnonzero(tastes == taste), len(rows))
    _, first = np.unique(users * n_items + items, return_index=True)
    first.sort()
    users, items, moments = users[first], items[first], moments[first]
    n = len(users)
    return Data(
        "crowd",
        pa.table(
            {
                "user_id": pa.array([f"u{user}" for user in users.tolist()]),
                "item_id": pa.array([f"i{item}" for item in items.tolist()]),
                "event": pa.array(["view"] * n),
                "value": pa.nulls(n, pa.float64()),
                "timestamp": pa.array(moments + _MOMENT_MS),
            }
        ),
        pa.table(
            {
                "item_id": pa.array([f"i{item}" for item in range(n_items)]),
                "attributes": pa.array(
                    [
                        json.dumps({"title": f"Number {item} of {_WORDS[taste]}"})
                        for item, taste in enumerate(tastes)
                    ]
                ),
            }
        ),
        timed=True,
        note="made up, heavy popularity",
    )


def _normal(worth: np.ndarray, share: float) -> np.ndarray:
    """Logarithms of chances that sum to ``share``."""
    highest = worth.max(initial=0.0)
    return np.asarray(worth - highest - np.log(np.exp(worth - highest).sum()) + np.log(share))
