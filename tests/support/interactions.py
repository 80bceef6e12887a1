"""Made-up interactions with tastes and popular items, without texts."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from recserve import Catalogue, Dataset, Tables
from recserve.config import Config

TASTES = 12

Times = Literal["random", "equal", "file", "drifting"]


def made_up_tables(
    users: int = 400, items: int = 500, each: int = 30, *, times: Times = "random", seed: int = 0
) -> Tables:
    """Bare items, and events of users who like the items of two tastes, popular ones more often.

    Args:
        users: Users.
        items: Items, of :data:`TASTES` tastes.
        each: Items a user likes.
        times: Random, all equal, in the order of a file in which users follow each other, or such that items
            have their time and users come and go.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, TASTES, items)
    popularity = (rng.permutation(items) + 3.0) ** -0.8
    born = rng.random(items)
    chosen, moments = [], []
    for user in range(users):
        odds = popularity * np.where(np.isin(taste, rng.choice(TASTES, 2, replace=False)), 1.0, 0.02)
        here = user / users
        if times == "drifting":
            odds = odds * np.exp(-10 * np.abs(born - here))
        liked = rng.permutation(rng.choice(items, each, replace=False, p=odds / odds.sum()))
        chosen.append(liked)
        moments.append(1e6 * np.clip(here + 0.3 * (born[liked] - here) + 0.02 * rng.normal(size=each), 0, 2))
    rows = np.concatenate(chosen)
    moment = {
        "random": rng.permutation(len(rows)),
        "equal": np.zeros(len(rows)),
        "file": np.arange(len(rows)),
        "drifting": np.concatenate(moments),
    }[times]
    events = pa.table(
        {
            "event_id": [str(number) for number in range(len(rows))],
            "user_id": [f"u{number // each:04d}" for number in range(len(rows))],
            "item_id": [f"i{row:04d}" for row in rows],
            "event": ["view"] * len(rows),
            "value": pa.nulls(len(rows), pa.float64()),
            "timestamp": (1_600_000_000_000 + 1000 * moment).astype(np.int64),
        }
    )
    names = [f"i{row:04d}" for row in range(items)]
    return Tables(pa.table({"item_id": names, "attributes": ["{}"] * items}), events)


def made_up_data(
    users: int = 400, items: int = 500, each: int = 30, *, times: Times = "random", seed: int = 0
) -> Dataset:
    """The same as a data set; see :func:`made_up_tables`."""
    tables = made_up_tables(users, items, each, times=times, seed=seed)
    catalogue = Catalogue(tables.items["item_id"].to_pylist(), tables.items["attributes"].to_pylist())
    return Dataset.from_tables(catalogue, tables.events, Config().event_types)
