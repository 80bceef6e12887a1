"""Sample ratio mismatch: false alarms, planted losses, changed shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import dirichlet_multinomial, multinomial

from recserve.errors import DataError
from recserve.experiments.statistics.sample_ratio import sample_ratio

HALVES = np.array([0.5, 0.5])


def alarms(counts, shares, **options):
    """Share of runs with an alarm at any look; counts of new units are (runs, looks, arms)."""
    return np.mean(
        [any(sample_ratio(look, shares, **options).mismatch for look in run) for run in counts.cumsum(axis=1)]
    )


def test_false_alarms_of_all_looks_together_stay_below_the_level():
    generator = np.random.default_rng(0)
    new = generator.multinomial(100, [0.6, 0.3, 0.1], size=(300, 30))
    shares = np.array([6.0, 3.0, 1.0])
    assert alarms(new, shares, level=0.05) <= 0.05
    assert alarms(new, shares) <= 0.01


def test_a_planted_loss_raises_the_alarm():
    generator = np.random.default_rng(1)
    new = generator.multinomial(1000, HALVES, size=(50, 20))
    new[:, :, 1] = generator.binomial(new[:, :, 1], 0.9)
    assert alarms(new, HALVES) == 1.0


def test_it_is_the_bayes_factor_of_lindon_and_malek():
    counts = np.array([30, 60])
    factor = dirichlet_multinomial.pmf(counts, [250.0, 250.0], 90) / multinomial.pmf(counts, 90, HALVES)
    found = sample_ratio(counts, HALVES)
    assert found.p_value == pytest.approx(1.0 / factor)
    assert found.expected.tolist() == [45.0, 45.0]
    assert sample_ratio(np.array([50, 50]), HALVES).p_value == 1.0


def test_shares_may_change_while_it_runs():
    """A ramp from 10% to 50%: by period nothing is wrong; the last shares alone would raise an alarm."""
    counts = np.array([[900, 100], [1000, 1000]])
    by_period = sample_ratio(counts, np.array([[0.9, 0.1], [0.5, 0.5]]))
    assert not by_period.mismatch
    assert by_period.counts.tolist() == [1900, 1100]
    assert by_period.expected.tolist() == [1900.0, 1100.0]
    assert sample_ratio(counts.sum(axis=0), HALVES).mismatch


@pytest.mark.parametrize(
    ("counts", "shares", "message"),
    [
        ([5], [1.0], "at least two arms"),
        ([5, 5], [0.3, 0.3, 0.4], "at least two arms"),
        ([-1, 5], [0.5, 0.5], "negative"),
        ([5, 5], [1.0, 0.0], "positive"),
    ],
)
def test_bad_input_is_refused(counts, shares, message):
    with pytest.raises(DataError, match=message):
        sample_ratio(np.array(counts), np.array(shares))
