"""A simulated audience, who click by the position-based model: changing tastes, habits of their own.

A user looks at a place of a page with a probability that falls from place to place, and clicks what is
looked at with a probability that depends on the user's taste of the day, the item, and how readily the user
clicks at all (PBM, Craswell et al. 2008). Every probability is known, so that estimates can be held against
the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array

FACTORS = 8


class Row(NamedTuple):
    """A line of the table of results.

    Attributes:
        check: What was measured.
        figure: What came out.
        demand: What must; empty if nothing is demanded.
        met: Whether it did.
    """

    check: str
    figure: str
    demand: str = ""
    met: bool = True


class World:
    """Users, items and pages.

    Args:
        users: Number of users U.
        seed: Seed of everything that is fixed: tastes, habits, items.
        items: Number of items I.
        places: Items of a page, K.
        visits: Mean visits of a user in a day; some come ten times as often as others.
        drift: Angle in radians by which tastes turn in a day.
    """

    def __init__(
        self,
        users: int,
        seed: int,
        *,
        items: int = 60,
        places: int = 10,
        visits: float = 0.5,
        drift: float = 0.03,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.users = users
        self.items = items
        self.places = places
        self.seed = seed
        self.visits = visits * generator.lognormal(-0.5, 1.0, users)
        self.examination = 1.0 / (1.0 + np.arange(places)) ** 0.7
        self._readiness = generator.normal(-2.2, 0.8, users)
        self._drift = drift
        self._tastes = generator.normal(size=(2, users, FACTORS)) / np.sqrt(FACTORS)
        self._items = generator.normal(size=(FACTORS, items))

    def liking(self, day: int) -> Float64Array:
        """How well each user likes each item on a day: float64, shape (U, I)."""
        angle = self._drift * day
        tastes = np.cos(angle) * self._tastes[0] + np.sin(angle) * self._tastes[1]
        liked: Float64Array = tastes @ self._items
        return liked

    def attraction(self, day: int) -> Float64Array:
        """Probability that a user clicks an item that is looked at: float64, shape (U, I)."""
        clicked: Float64Array = 1.0 / (1.0 + np.exp(-self._readiness[:, None] - self.liking(day)))
        return clicked

    def clicks(self, pages: Int64Array, day: int) -> Float64Array:
        """Probability of a click on each item of each user's page.

        Args:
            pages: int64, shape (U, K); a page for each user.
            day: The day.

        Returns:
            float64, shape (U, K).
        """
        return self.examination * np.take_along_axis(self.attraction(day), pages, axis=1)

    def visitors(self, generator: np.random.Generator) -> Int64Array:
        """Visits of one day: int64, the user of each."""
        return np.repeat(np.arange(self.users), generator.poisson(self.visits))


class Ranker:
    """A ranker that knows what users like, up to an error of its own.

    Args:
        world: The audience.
        error: Standard deviation of its error; likings have one of 1.
        seed: Seed of the error, which stays the same on all days.
    """

    def __init__(self, world: World, error: float, seed: int) -> None:
        generator = np.random.default_rng((world.seed, seed))
        self._world = world
        self._error = error * generator.normal(size=(world.users, world.items))

    def scores(self, day: int) -> Float64Array:
        """What it makes of each item: float64, shape (U, I)."""
        return self._world.liking(day) + self._error

    def best(self, day: int, count: int | None = None) -> Int64Array:
        """The best items of each user, in order: int64, shape (U, ``count``); a page if None."""
        return np.argsort(-self.scores(day), axis=1)[:, : count or self._world.places]


def two_rankers(world: World) -> tuple[Ranker, Ranker]:
    """A ranker, and a better one."""
    return Ranker(world, 0.8, 1), Ranker(world, 0.4, 2)
