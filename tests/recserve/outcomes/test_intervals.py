"""Ratios over users and their plain intervals, against theory and known values."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.errors import DataError
from recserve.outcomes.intervals import Estimate, Interval, RatioSample, grouped_ratios, plain_interval


def users_with_habits(generator, users=300):
    """Clicks and impressions of users, some of whom come far more often and click far more readily."""
    impressions = 1 + generator.poisson(generator.lognormal(1.0, 1.0, users))
    clicks = generator.binomial(impressions, generator.beta(1.0, 4.0, users))
    return clicks.astype(float), impressions.astype(float)


def test_a_mean_has_the_textbook_interval():
    sample = RatioSample(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.ones(5))
    assert sample.estimate() == pytest.approx((3.0, 2.5 / 5, 5))
    assert plain_interval(sample.estimate()) == pytest.approx(
        (3.0, 3 - 2.7764 * 0.7071, 3 + 2.7764 * 0.7071), abs=1e-3
    )


def test_rows_are_summed_by_unit():
    sample = RatioSample.of_rows(np.array([7, -1, 7, 7]), [True, False, True, False])
    assert sorted(zip(sample.numerator, sample.denominator, strict=True)) == [(0.0, 1.0), (2.0, 3.0)]
    assert sample.ratio == pytest.approx(0.5)


def test_intervals_hold_the_true_rate_though_impressions_of_a_user_resemble_each_other():
    """The rate is .2; impressions as independent trials would give intervals that miss it far too often."""
    generator = np.random.default_rng(3)
    held = naive = 0
    for _ in range(400):
        clicks, impressions = users_with_habits(generator)
        sample = RatioSample(clicks, impressions)
        held += plain_interval(sample.estimate()).holds(0.2)
        error = np.sqrt(0.2 * 0.8 / impressions.sum())
        naive += abs(sample.ratio - 0.2) < 1.96 * error
    assert 0.92 <= held / 400 <= 0.98
    assert naive / 400 < 0.85


def test_the_variance_agrees_with_the_bootstrap():
    generator = np.random.default_rng(4)
    clicks, impressions = users_with_habits(generator)
    picks = generator.integers(0, len(clicks), (4000, len(clicks)))
    bootstrapped = (clicks[picks].sum(axis=1) / impressions[picks].sum(axis=1)).var()
    assert RatioSample(clicks, impressions).estimate().variance == pytest.approx(bootstrapped, rel=0.1)


def test_nothing_and_one_user_have_no_interval():
    nothing = RatioSample(np.empty(0), np.empty(0)).estimate()
    assert np.isnan(nothing.value)
    assert nothing.units == 0
    alone = RatioSample(np.array([1.0]), np.array([4.0])).estimate()
    assert alone.value == 0.25
    assert np.isnan(plain_interval(alone).low)
    assert np.isnan(plain_interval(Estimate(0.0, np.nan, 0)).high)


def test_groups_have_the_intervals_that_each_has_by_itself():
    generator = np.random.default_rng(5)
    clicks, impressions = users_with_habits(generator, 90)
    groups = generator.integers(0, 3, 90)
    found = grouped_ratios(groups, clicks, impressions, 4, shares=False)
    for group in range(3):
        mine = groups == group
        expected = plain_interval(RatioSample(clicks[mine], impressions[mine]).estimate())
        assert (found.value[group], found.low[group], found.high[group]) == pytest.approx(expected)
        assert found.units[group] == mine.sum()
    assert found.units[3] == 0
    assert np.isnan([found.value[3], found.low[3], found.high[3]]).all()


def test_shares_of_independent_trials_have_wilsons_interval():
    """Newcombe (1998): 81 of 263 give .2553 to .3662."""
    clicked = (np.arange(263) < 81).astype(float)
    found = grouped_ratios(np.zeros(263, dtype=np.int64), clicked, np.ones(263), 1, shares=True)
    assert (found.low[0], found.high[0]) == pytest.approx((0.2553, 0.3662), abs=2e-4)


def test_shares_stay_within_0_and_1_and_say_something_about_groups_without_clicks():
    none, few = np.zeros(20), np.array([3.0] + [0.0] * 19)
    groups = np.repeat([0, 1], 20)
    found = grouped_ratios(groups, np.concatenate([none, few]), np.full(40, 3.0), 2, shares=True)
    assert found.low[0] == 0.0
    assert 0.1 < found.high[0] < 0.2  # Wilson's of none of 20, as a user is one trial
    assert 0.0 < found.low[1] < found.value[1] < found.high[1] < 1.0


def test_shares_hold_the_truth_with_few_clicks():
    generator = np.random.default_rng(6)
    groups = np.repeat(np.arange(500), 40)
    impressions = 1 + generator.poisson(2.0, len(groups))
    clicks = generator.binomial(impressions, generator.beta(0.5, 9.5, len(groups)))
    found = grouped_ratios(groups, clicks.astype(float), impressions.astype(float), 500, shares=True)
    held = (found.low <= 0.05) & (found.high >= 0.05)
    assert 0.91 <= held.mean() <= 0.99


@pytest.mark.parametrize(
    ("numerator", "denominator", "message"),
    [
        ([1.0], [1.0, 2.0], "one length"),
        ([np.nan], [1.0], "finite"),
        ([1.0], [-1.0], "not be negative"),
    ],
)
def test_bad_totals_are_refused(numerator, denominator, message):
    with pytest.raises(DataError, match=message):
        RatioSample(np.array(numerator), np.array(denominator))


def test_groups_out_of_range_are_refused():
    with pytest.raises(DataError, match="from 0 to 1"):
        grouped_ratios(np.array([2]), np.ones(1), np.ones(1), 2, shares=True)


def test_an_interval_holds_its_bounds():
    assert Interval(0.5, 0.0, 1.0).holds(0.0)
    assert not Interval(0.5, 0.1, 1.0).holds(0.0)
