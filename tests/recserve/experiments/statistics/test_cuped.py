"""CUPED: the same difference with less noise."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.errors import DataError
from recserve.experiments.statistics.cuped import adjusted_difference
from recserve.experiments.statistics.sequential import difference
from recserve.outcomes.intervals import RatioSample, plain_interval


def experiment(generator, users=400, lift=0.0):
    """Two arms of users whose habits last, with their clicks and impressions of before."""
    rate = generator.beta(2.0, 8.0, users)
    before = generator.poisson(40.0, users)
    shown = 1 + generator.poisson(10.0, users)
    facts = np.column_stack([generator.binomial(before, rate), before]).astype(float)
    treated = generator.random(users) < 0.5
    clicked = generator.binomial(shown, np.clip(rate + lift * treated, 0, 1)).astype(float)
    arms = [RatioSample(clicked[side], shown[side].astype(float)) for side in (treated, ~treated)]
    return (*arms, facts[treated], facts[~treated])


def test_adjusted_intervals_hold_the_truth_and_are_narrower():
    generator = np.random.default_rng(0)
    held, ratios, values = 0, [], []
    for _ in range(300):
        adjusted = adjusted_difference(*experiment(generator, lift=0.05))
        held += plain_interval(adjusted.estimate).holds(0.05)
        ratios.append(adjusted.variance_ratio)
        values.append(adjusted.estimate.value)
    assert 0.91 <= held / 300 <= 0.985
    assert np.mean(ratios) < 0.75
    assert np.mean(values) == pytest.approx(0.05, abs=0.002)


def test_the_stated_variance_is_that_of_repeated_experiments():
    generator = np.random.default_rng(1)
    found = [adjusted_difference(*experiment(generator)).estimate for _ in range(400)]
    assert np.mean([one.variance for one in found]) == pytest.approx(
        np.var([one.value for one in found]), rel=0.2
    )


def test_covariates_that_say_nothing_change_nothing():
    treatment, control, _, _ = experiment(np.random.default_rng(2))
    constant = adjusted_difference(
        treatment, control, np.ones((treatment.units, 1)), np.ones((control.units, 1))
    )
    assert constant.estimate == pytest.approx(difference(treatment, control))
    assert constant.variance_ratio == pytest.approx(1.0)


def test_nothing_to_explain_is_left_as_it_is():
    none = RatioSample(np.zeros(3), np.ones(3))
    assert adjusted_difference(none, none, np.ones((3, 1)), np.ones((3, 1))).estimate == (0.0, 0.0, 3)
    empty = RatioSample(np.empty(0), np.empty(0))
    assert np.isnan(adjusted_difference(empty, none, np.ones((0, 1)), np.ones((3, 1))).estimate.value)


def test_covariates_of_other_units_are_refused():
    sample = RatioSample(np.ones(3), np.ones(3))
    with pytest.raises(DataError, match="a row a unit"):
        adjusted_difference(sample, sample, np.ones((2, 1)), np.ones((3, 1)))
