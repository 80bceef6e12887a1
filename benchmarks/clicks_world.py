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
        candidates: Items C that retrieval proposes to each user; every ranker orders these.
        places: Items of a page, K.
        visits: Mean visits of a user in a day.
        spread: Standard deviation of the logarithm of visits: some come ten times as often as others.
        drift: Angle in radians by which tastes turn in a day.
    """

    def __init__(
        self,
        users: int,
        seed: int,
        *,
        items: int = 60,
        candidates: int = 20,
        places: int = 10,
        visits: float = 0.3,
        spread: float = 1.5,
        drift: float = 0.03,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.users = users
        self.items = items
        self.places = places
        self.seed = seed
        self.visits = visits * generator.lognormal(-0.5 * spread**2, spread, users)
        self.examination = 1.0 / (1.0 + np.arange(places)) ** 0.7
        self._readiness = generator.normal(-2.2, 0.8, users)
        self._drift = drift
        self._tastes = generator.normal(size=(2, users, FACTORS)) / np.sqrt(FACTORS)
        self._items = generator.normal(size=(FACTORS, items))
        retrieved = self.liking(0) + generator.normal(size=(users, items))
        self.candidates: Int64Array = np.argsort(-retrieved, axis=1)[:, :candidates]

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
        self._error = error * generator.normal(size=world.candidates.shape)

    def best(self, day: int) -> Int64Array:
        """The page of each user: int64, shape (U, K)."""
        candidates = self._world.candidates
        scores = np.take_along_axis(self._world.liking(day), candidates, axis=1) + self._error
        order = np.argsort(-scores, axis=1)[:, : self._world.places]
        return np.take_along_axis(candidates, order, axis=1)


def two_rankers(world: World) -> tuple[Ranker, Ranker]:
    """A ranker, and a better one."""
    return Ranker(world, 0.8, 1), Ranker(world, 0.3, 2)
