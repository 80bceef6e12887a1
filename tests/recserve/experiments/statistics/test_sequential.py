"""Always-valid intervals: what holds at every look, and what a look costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from recserve.errors import DataError
from recserve.experiments.statistics.sequential import (
    LEAST_UNITS,
    always_valid_interval,
    always_valid_p_value,
    always_valid_radius,
    detectable_change,
    difference,
    units_needed,
)
from recserve.outcomes.intervals import Estimate, RatioSample, plain_interval


def looks(generator, users, days, lift=0.0):
    """The estimated difference by the end of each day of an experiment on users who come back."""
    arms = np.arange(users) % 2
    activity = generator.lognormal(-0.5, 1.0, users)
    rate = np.clip(generator.beta(1.0, 4.0, users) * (1.0 + lift * arms), 0.0, 1.0)
    shown, clicked = np.zeros(users), np.zeros(users)
    for _ in range(days):
        today = 5 * generator.poisson(activity)
        shown += today
        clicked += generator.binomial(today, rate)
        sides = [(shown > 0) & (arms == arm) for arm in (1, 0)]
        yield difference(*(RatioSample(clicked[side], shown[side]) for side in sides))


def test_all_looks_together_raise_few_false_alarms_where_plain_intervals_raise_many():
    generator = np.random.default_rng(0)
    alarms = plain = 0
    for _ in range(150):
        found = list(looks(generator, 600, 20))
        alarms += any(not always_valid_interval(estimate, 0.02).holds(0.0) for estimate in found)
        plain += any(not plain_interval(estimate).holds(0.0) for estimate in found)
    assert alarms <= 0.05 * 150
    assert plain > 0.12 * 150


def test_a_difference_is_found():
    found = [always_valid_interval(one, 0.05) for one in looks(np.random.default_rng(1), 2000, 15, lift=0.5)]
    assert found[-1].low > 0.0
    assert found[-1].value == pytest.approx(0.1, abs=0.03)


def test_the_level_holds_for_independent_increments_looked_at_continuously():
    """A random walk with 2000 looks from 100 units on, in the exact setting of the theory."""
    generator = np.random.default_rng(2)
    steps = generator.normal(size=(400, 2000)).cumsum(axis=1)
    counts = np.arange(1, 2001)
    radius = np.array([always_valid_radius(1.0 / count, 0.1) for count in counts])
    outside = np.abs(steps / counts) > radius
    assert 0.0 < outside[:, 99:].any(axis=1).mean() <= 0.05


def test_the_interval_is_tightest_about_where_one_look_would_find_the_scale():
    """Its radius, by that of a plain interval, is least near an error of scale / 2.8."""
    scale = 0.1
    errors = scale / np.geomspace(0.3, 30, 60)
    ratio = [always_valid_radius(error**2, scale) / (1.96 * error) for error in errors]
    best = scale / errors[int(np.argmin(ratio))]
    assert 2.0 < best < 4.0
    assert 1.3 < min(ratio) < 1.6


def test_the_p_value_and_the_interval_agree():
    estimate = Estimate(0.03, 0.0001, 500)
    for confidence in (0.8, 0.9, 0.99):
        interval = always_valid_interval(estimate, 0.05, confidence)
        at_bound = Estimate(interval.value, estimate.variance, 500)
        assert always_valid_p_value(at_bound, 0.05, null=interval.low) == pytest.approx(1.0 - confidence)
    assert always_valid_p_value(Estimate(0.0, 0.0001, 500), 0.05) == 1.0


@pytest.mark.parametrize(
    "estimate", [Estimate(1.0, 1e-9, LEAST_UNITS - 1), Estimate(1.0, 0.0, 1000), Estimate(np.nan, np.nan, 0)]
)
def test_too_little_data_excludes_nothing(estimate):
    interval = always_valid_interval(estimate, 0.1)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert always_valid_p_value(estimate, 0.1) == 1.0


def test_a_detectable_change_is_found_with_its_power():
    variance, scale = 0.0004, 0.05
    change = detectable_change(variance, scale, power=0.8)
    radius = always_valid_radius(variance, scale)
    assert norm.sf((radius - change) / math.sqrt(variance)) == pytest.approx(0.8)


def test_needed_units_detect_the_change_and_fewer_do_not():
    units = units_needed(0.25, 0.02, shares=(0.1, 0.1))
    variance = 0.25 * (1 / 0.1 + 1 / 0.1)
    assert (
        detectable_change(variance / units, 0.02) <= 0.02 < detectable_change(variance / (0.99 * units), 0.02)
    )
    # A test of one look at 5% and power .8 needs 7.85 variances; to look daily costs about twice as many.
    assert 1.3 < units / (7.85 * variance / 0.02**2) < 2.2


def test_few_units_are_never_enough():
    assert units_needed(1e-6, 1.0) == 2 * LEAST_UNITS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: always_valid_radius(1.0, 0.0), "scale"),
        (lambda: always_valid_radius(1.0, 1.0, 1.0), "confidence"),
        (lambda: always_valid_p_value(Estimate(0.0, 1.0, 200), -1.0), "scale"),
        (lambda: detectable_change(1.0, 1.0, power=1.0), "power"),
        (lambda: units_needed(0.0, 1.0), "variance"),
        (lambda: units_needed(1.0, 1.0, shares=(0.9, 0.2)), "shares"),
        (lambda: units_needed(1.0, 0.0), "scale"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
