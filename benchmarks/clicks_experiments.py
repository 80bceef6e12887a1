"""Simulated experiments: A/A, A/B, interleaving and sample ratio, each looked at daily."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from benchmarks.clicks_world import Ranker, Row, World, two_rankers
from recserve.data.arrays import BoolArray, Float64Array, Int64Array
from recserve.experiments.interleaving import FIRST, SECOND, draft, preference
from recserve.experiments.statistics.cuped import adjusted_difference
from recserve.experiments.statistics.sample_ratio import LEVEL, sample_ratio
from recserve.experiments.statistics.sequential import always_valid_interval, difference
from recserve.outcomes.intervals import Estimate, Interval, RatioSample, plain_interval

HOPED_FOR = 0.1
"""Scale of the sequential tests: the relative change that one hopes for."""
BEFORE = 7
"""Days before the experiment, whose clicks CUPED takes."""
RATE, ADJUSTED, VALUE, PLAIN = "click-through rate", "with CUPED", "value a user", "plain interval"


class Totals:
    """What each user did since an experiment began.

    Args:
        users: Number of users U.

    Attributes:
        clicks: float64, shape (U,).
        impressions: float64, shape (U,).
        value: float64, shape (U,); of what was bought.
    """

    def __init__(self, users: int) -> None:
        self.clicks = np.zeros(users)
        self.impressions = np.zeros(users)
        self.value = np.zeros(users)

    def add(self, users: Int64Array, clicked: BoolArray) -> None:
        """Count visits: the user of each, shape (V,), and the clicks on its page, shape (V, K)."""
        size = len(self.clicks)
        self.clicks += np.bincount(users, clicked.sum(axis=1), size)
        self.impressions += np.bincount(users, minlength=size) * clicked.shape[1]

    def sides(self, arms: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Users of the treatment and of the control who came: int64 each."""
        came = self.impressions > 0
        return np.flatnonzero(came & (arms == 1)), np.flatnonzero(came & (arms == 0))

    def looks(self, arms: Int64Array, before: Float64Array) -> dict[str, Interval]:
        """Intervals of the difference between the arms, by what is measured and how."""
        treated, held = self.sides(arms)
        new, old = (RatioSample(self.clicks[side], self.impressions[side]) for side in (treated, held))
        earning, earned = (RatioSample(self.value[side], np.ones(len(side))) for side in (treated, held))
        plain = difference(new, old)
        adjusted = adjusted_difference(new, old, before[treated], before[held]).estimate
        return {
            RATE: _looked(plain, old),
            ADJUSTED: _looked(adjusted, old),
            VALUE: _looked(difference(earning, earned), earned),
            PLAIN: plain_interval(plain),
        }


def _looked(estimate: Estimate, control: RatioSample) -> Interval:
    return always_valid_interval(estimate, HOPED_FOR * max(control.ratio, 1e-9))


class Traffic:
    """Visits to an audience that two rankers serve.

    Args:
        world: The audience.
        rankers: Ranker of the control, and of the treatment.
        days: Days of the experiment.
    """

    def __init__(self, world: World, rankers: tuple[Ranker, Ranker], days: int) -> None:
        self._world = world
        self._before = [world.clicks(rankers[0].best(day), day) for day in range(-BEFORE, 0)]
        self._during = [
            np.stack([world.clicks(ranker.best(day), day) for ranker in rankers]) for day in range(days)
        ]

    def true_rate(self, arm: int) -> float:
        """Click-through rate of a ranker, were all users its."""
        visits = self._world.visits[:, None]
        clicks = sum(float((visits * day[arm]).sum()) for day in self._during)
        return clicks / float(visits.sum() * self._world.places * len(self._during))

    def before(self, generator: np.random.Generator) -> Float64Array:
        """Clicks and impressions of each user before the experiment: float64, shape (U, 2)."""
        totals = Totals(self._world.users)
        for clicks in self._before:
            users = self._world.visitors(generator)
            totals.add(users, generator.random((len(users), self._world.places)) < clicks[users])
        return np.column_stack([totals.clicks, totals.impressions])

    def days(self, arms: Int64Array, generator: np.random.Generator) -> Iterator[Totals]:
        """Totals of users by the end of each day.

        Args:
            arms: int64, shape (U,); arm of each user.
            generator: Draws visits, clicks and what is bought.
        """
        totals = Totals(self._world.users)
        for clicks in self._during:
            users = self._world.visitors(generator)
            clicked = generator.random((len(users), self._world.places)) < clicks[arms[users], users]
            totals.add(users, clicked)
            bought = np.repeat(users, generator.binomial(clicked.sum(axis=1), 0.1))
            totals.value += np.bincount(bought, generator.lognormal(3.0, 1.0, len(bought)), len(arms))
            yield totals


def same_arms(runs: int, seed: int, users: int = 1500, days: int = 21) -> list[Row]:
    """A/A experiments: how many of them raise a false alarm at any daily look."""
    generator = np.random.default_rng(seed)
    world = World(users, seed)
    ranker = Ranker(world, 0.7, 1)
    traffic = Traffic(world, (ranker, ranker), days)
    alarms = dict.fromkeys((RATE, ADJUSTED, VALUE, PLAIN), 0)
    for _ in range(runs):
        arms = generator.integers(0, 2, users)
        before = traffic.before(generator)
        raised: set[str] = set()
        for totals in traffic.days(arms, generator):
            looks = totals.looks(arms, before)
            raised |= {name for name, interval in looks.items() if not interval.holds(0.0)}
        for name in raised:
            alarms[name] += 1
    rows = []
    for name, count in alarms.items():
        demand = "" if name == PLAIN else "at most 5%"
        figure = f"{count} of {runs} runs alarm"
        rows.append(
            Row(f"A/A, {days} daily looks: {name}", figure, demand, not demand or count <= 0.05 * runs)
        )
    return rows


def better_arm(runs: int, seed: int, users: int = 20_000, days: int = 28) -> tuple[list[Row], float]:
    """A/B experiments; their rows, and the median of impressions until the better ranker is found."""
    generator = np.random.default_rng(seed)
    world = World(users, seed)
    traffic = Traffic(world, two_rankers(world), days)
    found: dict[str, list[tuple[float, float]]] = {RATE: [], ADJUSTED: []}
    wrong = 0
    for _ in range(runs):
        arms = generator.integers(0, 2, users)
        before = traffic.before(generator)
        waiting = list(found)
        for day, totals in enumerate(traffic.days(arms, generator), start=1):
            looks = totals.looks(arms, before)
            for name in [name for name in waiting if not looks[name].holds(0.0)]:
                waiting.remove(name)
                wrong += looks[name].value < 0
                found[name].append((float(day), float(totals.impressions.sum())))
            if not waiting:
                break
        for name in waiting:
            found[name].append((np.inf, np.inf))
    rates = f"{traffic.true_rate(0):.4f}, better {traffic.true_rate(1):.4f}"
    rows = [Row("A/B: true click-through rates", rates)]
    for name, ends in found.items():
        day, shown = np.median(ends, axis=0)
        share = float(np.isfinite(ends).all(axis=1).mean())
        figure = f"{share:.0%} within {days} days, median day {day:.0f}, {shown:,.0f} impressions"
        rows.append(Row(f"A/B, {name}: better arm found", figure, "at least 80%", share >= 0.8))
    rows.append(Row("A/B: worse arm found", f"{wrong} of {2 * runs}", "at most 5%", wrong <= 0.1 * runs))
    return rows, float(np.median(found[RATE], axis=0)[1])


def interleaved(
    runs: int, seed: int, compared: float, users: int = 20_000, days: int = 28, share: float = 0.04
) -> list[Row]:
    """Interleaving of the same two rankers, for a share of the same users.

    Args:
        runs: Number of experiments.
        seed: As of :func:`better_arm`.
        compared: Impressions that A/B needed.
        users: As of :func:`better_arm`.
        days: Days of an experiment at most.
        share: Share of users who get interleaved pages.
    """
    generator = np.random.default_rng(seed)
    world = World(users, seed)
    rankers = two_rankers(world)
    lists = [[ranker.best(day) for ranker in rankers] for day in range(days)]
    attraction = [world.attraction(day) for day in range(days)]
    coins = random.Random(seed)
    needed = []
    wrong = 0
    for _ in range(runs):
        chosen = generator.random(users) < share
        clicks = np.zeros((2, users))
        shown = 0
        needed.append(np.inf)
        for day in range(days):
            visitors = world.visitors(generator)
            visitors = visitors[chosen[visitors]]
            pages = [
                draft(lists[day][0][user].tolist(), lists[day][1][user].tolist(), world.places, coins)
                for user in visitors.tolist()
            ]
            drafted = np.array(pages, dtype=np.int64)  # (V, K, 2): item and team
            chances = world.examination * attraction[day][visitors[:, None], drafted[:, :, 0]]
            clicked = generator.random(chances.shape) < chances
            for team in (FIRST, SECOND):
                credited = (clicked & (drafted[:, :, 1] == team)).sum(axis=1)
                clicks[team] += np.bincount(visitors, credited, users)
            shown += clicked.size
            interval = always_valid_interval(preference(*clicks).estimate(), HOPED_FOR)
            if not interval.holds(0.0):
                wrong += interval.value < 0
                needed[-1] = float(shown)
                break
    median = float(np.median(needed))
    figure = f"{np.isfinite(needed).mean():.0%}, {median:,.0f} impressions: {median / compared:.1%} of A/B's"
    return [
        Row("Interleaving: better ranker found", figure, "at most a tenth", median <= 0.1 * compared),
        Row("Interleaving: worse ranker found", f"{wrong} of {runs}", "at most 5%", wrong <= 0.05 * runs),
    ]


def sample_ratios(runs: int, seed: int, daily: int = 1000, days: int = 21, loss: float = 0.1) -> list[Row]:
    """Sample ratio tests with daily looks, without and with a planted loss of one arm's users."""
    generator = np.random.default_rng(seed)
    shares = np.array([0.5, 0.5])
    rows = []
    for lost in (0.0, loss):
        alarms = []
        for _ in range(runs):
            new = generator.multinomial(daily, shares, size=days)
            new[:, 1] = generator.binomial(new[:, 1], 1.0 - lost)
            looks = [sample_ratio(counts, shares).mismatch for counts in new.cumsum(axis=0)]
            alarms.append(looks.index(True) + 1 if any(looks) else np.inf)
        count = int(np.isfinite(alarms).sum())
        figure = f"{count} of {runs} runs alarm"
        if lost:
            title, demand, met = f"{lost:.0%} of one arm lost", "at least 99%", count >= 0.99 * runs
            figure += f", median day {np.median(alarms):.0f}"
        else:
            title, demand, met = "nothing planted", f"at most {LEVEL:.0%}", count <= LEVEL * runs
        rows.append(Row(f"Sample ratio: {title}", figure, demand, met))
    return rows
