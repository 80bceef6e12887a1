"""The bootstrap against theory."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.evaluation import bootstrap, mean_intervals, paired_difference
from recserve.evaluation.bootstrap import centred_interval


def test_interval_of_a_mean_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(900, 1))
    interval = mean_intervals(values, resamples=4000)[0]
    error = values.std() / np.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_intervals_hold_the_true_mean_about_95_times_in_100():
    generator = np.random.default_rng(5)
    samples = (generator.random((60, 300)) < 0.4).astype(float)
    held = [one.low <= 0.4 <= one.high for one in mean_intervals(samples)]
    assert 0.88 <= np.mean(held) <= 0.99


def test_equal_seed_equal_intervals_whatever_the_chunk(monkeypatch):
    values = np.random.default_rng(2).random((50, 3))
    whole = mean_intervals(values, seed=4)
    assert whole == mean_intervals(values, seed=4)
    assert whole != mean_intervals(values, seed=5)
    monkeypatch.setattr(bootstrap, "_CHUNK", 170)
    for one, other in zip(whole, mean_intervals(values, seed=4), strict=True):
        assert one.low == pytest.approx(other.low, abs=1e-12)
        assert one.high == pytest.approx(other.high, abs=1e-12)


def test_missing_values_leave_users_out():
    values = np.array([[0.2, np.nan, np.nan], [0.4, 0.5, np.nan], [0.6, np.nan, np.nan]])
    full, partial, none = mean_intervals(values)
    assert full.mean == pytest.approx(0.4)
    assert full.low >= 0.2
    assert full.high <= 0.6
    assert (partial.mean, partial.low, partial.high) == (0.5, 0.5, 0.5)
    assert np.isnan([none.mean, none.low, none.high]).all()


def test_pairing_finds_a_difference_that_separate_intervals_hide():
    generator = np.random.default_rng(7)
    difficulty = generator.random(200)
    better = difficulty + 0.02 + generator.normal(scale=0.01, size=200)
    first, second = mean_intervals(np.column_stack([better, difficulty]))
    assert first.low < second.high
    difference = paired_difference(better, difficulty)
    assert difference.excludes_zero
    assert difference.mean == pytest.approx((better - difficulty).mean())
    assert not paired_difference(generator.random(200), generator.random(200)).excludes_zero


def test_an_interval_of_coverage_is_centred_and_stays_a_share():
    replicates = np.random.default_rng(1).normal(0.4, 0.02, size=5000)
    interval = centred_interval(0.5, replicates)
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.02, abs=0.002)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.02, abs=0.002)
    assert centred_interval(0.99, replicates).high == 1.0
    assert centred_interval(0.01, replicates).low == 0.0
    assert np.isnan(centred_interval(float("nan"), replicates).low)


def test_pairing_needs_the_same_users():
    with pytest.raises(ValueError, match="cannot pair 3 users with 2"):
        paired_difference(np.zeros(3), np.zeros(2))
