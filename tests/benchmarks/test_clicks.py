"""The simulated audience, and small runs of what is measured on it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import clicks_experiments, clicks_off_policy
from benchmarks.clicks_world import Ranker, World


def test_clicks_come_as_often_as_they_should():
    world = World(400, 0)
    ranker = Ranker(world, 0.5, 1)
    traffic = clicks_experiments.Traffic(world, (ranker, ranker), 10)
    arms = np.zeros(400, dtype=np.int64)
    *_, totals = traffic.days(arms, np.random.default_rng(0))
    assert totals.clicks.sum() / totals.impressions.sum() == pytest.approx(traffic.true_rate(0), rel=0.08)


def test_a_smaller_error_ranks_better_and_tastes_change():
    world = World(400, 0)
    rates = [world.clicks(Ranker(world, error, 1).best(0), 0).mean() for error in (2.0, 0.8, 0.4)]
    assert rates == sorted(rates)
    today, later = world.liking(0), world.liking(20)
    assert 0.5 < np.corrcoef(today.ravel(), later.ravel())[0, 1] < 0.95


def test_propensities_are_how_often_items_stand_in_their_places():
    simulation = clicks_off_policy.Simulation(0, population=50, days=1)
    users = np.full(20_000, 7)
    pages = simulation.logger.pages(0, users, np.random.default_rng(0))
    stated = simulation.logger.probabilities(0, users, pages)
    for place in (0, 9):
        best = simulation.logger.ranked(0)[7, place]
        there = pages[:, place] == best
        assert there.mean() == pytest.approx(stated[there, place][0], abs=0.02)
    assert len(set(pages[0])) == len(pages[0])


def test_a_policy_is_valued_from_the_log_of_another():
    simulation = clicks_off_policy.Simulation(0, population=500, days=2)
    _, found = simulation.estimates(simulation.log(500, np.random.default_rng(1)))
    true = simulation.true_rate(simulation.target)
    assert true > simulation.true_rate(simulation.logger)
    assert all(interval.low < true < interval.high for interval in found.values())


def test_rows_of_small_runs_say_what_was_found():
    rows = clicks_experiments.same_arms(2, 0, users=300, days=3)
    assert [row.demand for row in rows] == ["at most 5%"] * 3 + [""]
    compared, impressions = clicks_experiments.better_arm(2, 0, users=1500, days=4)
    assert "better" in compared[0].figure
    assert impressions > 0
    interleaved = clicks_experiments.interleaved(2, 0, np.inf, users=1500, days=3, share=0.3)
    assert interleaved[0].met
    nothing, planted = clicks_experiments.sample_ratios(20, 0)
    assert nothing.met
    assert planted.met
