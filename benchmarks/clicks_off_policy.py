"""Off-policy estimates against the truth: of a simulated audience, and of the Open Bandit Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyarrow import csv

from benchmarks.clicks_world import Ranker, Row, World, two_rankers
from recserve.data.arrays import BoolArray, Float64Array, Int64Array
from recserve.outcomes.intervals import Interval, RatioSample, plain_interval
from recserve.outcomes.off_policy import (
    LoggedRows,
    coverage,
    cross_fitted_means,
    doubly_robust,
    ips,
    snips,
)


class Explorer:
    """A policy that ranks a user's candidates, and shuffles them for a share of the visits.

    Args:
        world: The audience.
        ranker: Ranks the candidates.
        share: Share of visits with a shuffled page.
        days: Days for which it serves.
    """

    def __init__(self, world: World, ranker: Ranker, share: float, days: int) -> None:
        self._candidates = world.candidates
        self._share = share
        self._ranked = [ranker.best(day) for day in range(days)]

    def ranked(self, day: int) -> Int64Array:
        """Pages that are not shuffled: int64, shape (U, K)."""
        return self._ranked[day]

    def pages(self, day: int, users: Int64Array, generator: np.random.Generator) -> Int64Array:
        """Pages of visits: int64, shape (V, K)."""
        ranked = self.ranked(day)[users]
        shuffled = generator.permuted(self._candidates[users], axis=1)[:, : ranked.shape[1]]
        by_chance = generator.random(len(users)) < self._share
        return np.where(by_chance[:, None], shuffled, ranked)

    def mean(self, of_ranked: Float64Array, of_pool: Float64Array | float) -> Float64Array:
        """Mean over what it may put into a place: of what it ranks there, and of all candidates."""
        return (1.0 - self._share) * of_ranked + self._share * of_pool

    def probabilities(self, day: int, users: Int64Array, pages: Int64Array) -> Float64Array:
        """How probable each item of pages is in its place: float64, shape (V, K)."""
        return self.mean(
            (self.ranked(day)[users] == pages).astype(np.float64), 1.0 / self._candidates.shape[1]
        )

    def true_rate(self, world: World, day: int) -> float:
        """Click-through rate of a day, were all users its."""
        attraction = world.attraction(day)
        of_ranked = np.take_along_axis(attraction, self.ranked(day), axis=1)
        of_pool = np.take_along_axis(attraction, self._candidates, axis=1).mean(axis=1, keepdims=True)
        clicks = world.examination * self.mean(of_ranked, of_pool)
        return float((world.visits[:, None] * clicks).sum() / (world.visits.sum() * world.places))


class Shown(NamedTuple):
    """What a policy showed on one or several days.

    Attributes:
        users: int64, shape (V,); the user of each visit.
        pages: int64, shape (V, K).
        clicked: bool, shape (V, K).
        propensities: float64, shape (V, K).
        targets: float64, shape (V, K); probabilities of the target policy.
        ranked: int64, shape (V, K); what the target ranks into the places.
    """

    users: Int64Array
    pages: Int64Array
    clicked: BoolArray
    propensities: Float64Array
    targets: Float64Array
    ranked: Int64Array


class Simulation:
    """Logs of samples of users, of whom all visits of some days are logged.

    Args:
        seed: Seed of the audience.
        population: Users of the audience.
        days: Days of a log.
    """

    def __init__(self, seed: int, population: int = 8_000, days: int = 3) -> None:
        self.world = World(population, seed)
        shown, better = two_rankers(self.world)
        self.logger = Explorer(self.world, shown, 0.5, days)
        self.target = Explorer(self.world, better, 0.1, days)
        self._attraction = [self.world.attraction(day) for day in range(days)]

    def true_rate(self, policy: Explorer) -> float:
        """Mean click-through rate of a policy over the days."""
        return float(np.mean([policy.true_rate(self.world, day) for day in range(len(self._attraction))]))

    def log(self, users: int, generator: np.random.Generator) -> Shown:
        """The visits of a sample of users."""
        chosen = np.zeros(self.world.users, dtype=bool)
        chosen[generator.choice(self.world.users, users, replace=False)] = True
        days = [self._day(day, chosen, generator) for day in range(len(self._attraction))]
        return Shown(*(np.concatenate(parts) for parts in zip(*days, strict=True)))

    def estimates(self, shown: Shown) -> tuple[LoggedRows, dict[str, Interval]]:
        """The target's click-through rate by each estimator."""
        width = self.world.places
        log = LoggedRows(
            np.repeat(shown.users, width),
            shown.clicked.ravel().astype(np.float64),
            shown.propensities.ravel(),
            shown.targets.ravel(),
        )
        places = np.tile(np.arange(width), len(shown.pages))
        model = cross_fitted_means(log, places, shown.pages.ravel(), (width, self.world.items))
        pool = np.repeat(self.world.candidates[shown.users], width, axis=0)
        of_pool = model.means[model.folds[:, None], places[:, None], pool].mean(axis=1)
        expected = self.target.mean(model.means[model.folds, places, shown.ranked.ravel()], of_pool)
        predicted = model.means[model.folds, places, shown.pages.ravel()]
        return log, {"IPS": ips(log), "SNIPS": snips(log), "DR": doubly_robust(log, predicted, expected)}

    def _day(self, day: int, chosen: BoolArray, generator: np.random.Generator) -> Shown:
        visitors = self.world.visitors(generator)
        visitors = visitors[chosen[visitors]]
        pages = self.logger.pages(day, visitors, generator)
        chances = self.world.examination * self._attraction[day][visitors[:, None], pages]
        return Shown(
            visitors,
            pages,
            generator.random(pages.shape) < chances,
            self.logger.probabilities(day, visitors, pages),
            self.target.probabilities(day, visitors, pages),
            self.target.ranked(day)[visitors],
        )


def simulated(runs: int, seed: int, users: int = 1500) -> list[Row]:
    """Value of a policy that was not shown, from logs of samples of users."""
    simulation = Simulation(seed)
    true, earned = (simulation.true_rate(policy) for policy in (simulation.target, simulation.logger))
    generator = np.random.default_rng(seed)
    found: list[dict[str, Interval]] = []
    effective = []
    for _ in range(runs):
        log, intervals = simulation.estimates(simulation.log(users, generator))
        found.append(intervals)
        effective.append(coverage(log).effective_rows / len(log.units))
    figure = f"{true:.4f}, {earned:.4f}; {np.mean(effective):.0%} of rows effective"
    rows = [Row("Off-policy: true rate of a policy, of the shown one", figure)]
    for name in found[0]:
        held = sum(intervals[name].holds(true) for intervals in found)
        width = np.mean([intervals[name].high - intervals[name].low for intervals in found])
        figure = f"{held} of {runs} intervals, mean width {width:.4f}"
        met = held >= 0.9 * runs
        rows.append(Row(f"Off-policy: {name} holds the true rate", figure, "at least 90%", met))
    return rows


def open_bandit(folder: Path) -> list[Row]:
    """Both policies of each campaign, estimated from each other's log."""
    rows = []
    for campaign in ("all", "men", "women"):
        logs = {name: _Bandit(folder / name / campaign / f"{campaign}.csv") for name in ("random", "bts")}
        size = max(int(log.items.max()) for log in logs.values()) + 1
        policies = {"random": np.full((3, size), 1.0 / size), "bts": logs["bts"].policy(size)}
        for name, other in (("bts", "random"), ("random", "bts")):
            clicks = logs[name].clicks
            earned = plain_interval(RatioSample(clicks, np.ones(len(clicks))).estimate())
            log, predicted, expected = logs[other].rows(policies[name])
            estimates = {"SNIPS": snips(log), "DR": doubly_robust(log, predicted, expected)}
            for estimator, found in estimates.items():
                title = f"Open Bandit, {campaign}: {name} from the log of {other}, {estimator}"
                figure = f"{_bounds(found)}, earned {_bounds(earned)}"
                # Both are estimates, of independent logs.
                radius = np.hypot(found.high - found.value, earned.high - earned.value)
                met = bool(abs(found.value - earned.value) <= radius)
                rows.append(Row(title, figure, "no difference", met))
    return rows


def _bounds(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


class _Bandit:
    """A log of the Open Bandit Dataset, in which a row is a visit."""

    def __init__(self, path: Path) -> None:
        columns = ["item_id", "position", "click", "propensity_score"]
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(include_columns=columns))
        self.items = table["item_id"].to_numpy().astype(np.int64)
        self.places = table["position"].to_numpy().astype(np.int64) - 1
        self.clicks = table["click"].to_numpy().astype(np.float64)
        self.propensities = table["propensity_score"].to_numpy().astype(np.float64)

    def policy(self, size: int) -> Float64Array:
        """Mean probability of each item in each place: float64, shape (3, ``size``)."""
        cells = self.places * size + self.items
        rows = np.bincount(cells, minlength=3 * size)
        sums = np.bincount(cells, self.propensities, 3 * size)
        return (sums / np.maximum(rows, 1)).reshape(3, size)

    def rows(self, target: Float64Array) -> tuple[LoggedRows, Float64Array, Float64Array]:
        """The log for a target policy, with the predictions of a reward model and their expectation."""
        units = np.arange(len(self.items))
        log = LoggedRows(units, self.clicks, self.propensities, target[self.places, self.items])
        model = cross_fitted_means(log, self.places, self.items, (target.shape[0], target.shape[1]))
        means = (model.means * target).sum(axis=2) / target.sum(axis=1)
        return log, model.means[model.folds, self.places, self.items], means[model.folds, self.places]
