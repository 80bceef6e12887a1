"""Off-policy estimators on logs whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.errors import DataError
from recserve.outcomes.intervals import RatioSample, plain_interval
from recserve.outcomes.off_policy import LoggedRows, coverage, cross_fitted_means, doubly_robust, ips, snips

LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.2, 0.7])
RATES = np.array([0.1, 0.3, 0.5])
TRUE = float(TARGET @ RATES)


def drawn(generator, users=200, rows=1200, target=TARGET):
    """A log of three items, and which item each row shows; users click more or less readily."""
    units = generator.integers(0, users, rows)
    ready = generator.uniform(0.5, 1.5, users)
    items = generator.choice(3, rows, p=LOGGING)
    clicked = generator.random(rows) < RATES[items] * ready[units]
    return LoggedRows(units, clicked.astype(float), LOGGING[items], target[items]), items


def robust(log, items, target=TARGET):
    model = cross_fitted_means(log, np.zeros_like(items), items, (1, 3))
    return doubly_robust(log, model.means[model.folds, 0, items], model.means[model.folds, 0] @ target)


def test_intervals_of_all_estimators_hold_the_true_value():
    generator = np.random.default_rng(0)
    held = np.zeros(3)
    for _ in range(200):
        log, items = drawn(generator)
        held += [found.holds(TRUE) for found in (ips(log), snips(log), robust(log, items))]
    assert (held >= 0.91 * 200).all(), held
    assert (held <= 0.99 * 200).all(), held


def test_the_shown_policy_gets_what_it_earned():
    log, items = drawn(np.random.default_rng(1), target=LOGGING)
    earned = plain_interval(RatioSample.of_rows(log.units, log.rewards).estimate())
    assert ips(log) == pytest.approx(earned)
    assert snips(log) == pytest.approx(earned)
    assert robust(log, items, LOGGING).value == pytest.approx(earned.value, abs=0.01)


def test_self_normalising_and_a_reward_model_narrow_the_interval():
    log, items = drawn(np.random.default_rng(2), rows=5000)
    widths = [found.high - found.low for found in (ips(log), snips(log), robust(log, items))]
    assert widths[1] < widths[0]
    assert widths[2] < widths[0]


def test_a_reward_model_that_is_wrong_does_no_harm():
    log, _ = drawn(np.random.default_rng(3), rows=5000)
    wrong = doubly_robust(log, np.full(5000, 0.9), np.full(5000, 0.9))
    assert wrong.holds(TRUE)
    assert wrong.value == pytest.approx(TRUE, abs=0.06)


def test_a_log_that_never_shows_what_the_target_would_is_told():
    """An item that takes 30% of the target's places was never shown."""
    log, _ = drawn(np.random.default_rng(4))
    assert coverage(log).complete
    assert 0.3 < coverage(log).effective_rows / 1200 < 0.6
    partly, _ = drawn(np.random.default_rng(4), target=np.array([0.3, 0.2, 0.2]))
    found = coverage(partly)
    assert not found.complete
    assert found.mean_weight.value == pytest.approx(0.7, abs=0.05)


def test_nobody_predicts_their_own_rewards():
    """Changing the rewards of one user leaves what is predicted for that user as it was."""
    log, items = drawn(np.random.default_rng(5), users=20, rows=200)
    mine = log.units == 3
    changed = LoggedRows(
        log.units, np.where(mine, 1.0 - log.rewards, log.rewards), log.propensities, log.targets
    )
    before, after = (cross_fitted_means(one, np.zeros_like(items), items, (1, 3)) for one in (log, changed))
    fold = before.folds[mine][0]
    assert (before.folds[mine] == fold).all()
    assert (before.means[fold] == after.means[fold]).all()
    assert (before.means[(fold + 1) % 5] != after.means[(fold + 1) % 5]).any()


def test_means_of_rare_cells_are_shrunk_towards_place_and_item():
    units = np.arange(2000)
    places, items = units % 2, (units // 2) % 2
    places[0], items[0] = 0, 1
    rates = np.array([[0.8, 0.4], [0.4, 0.2]])
    rewards = rates[places, items]
    log = LoggedRows(units, rewards, np.ones(2000), np.ones(2000))
    means = cross_fitted_means(log, places, items, (2, 3)).means
    assert means[:, :, :2] == pytest.approx(np.broadcast_to(rates, (5, 2, 2)), abs=0.01)
    # The third item was never shown: each place is expected to do with it as with any item.
    assert means[0, :, 2] == pytest.approx([0.6, 0.3], abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensities": np.array([0.0])}, "above 0"),
        ({"propensities": np.array([1.5])}, "at most 1"),
        ({"targets": np.array([-0.1])}, "between 0 and 1"),
        ({"rewards": np.array([np.inf])}, "finite"),
        ({"rewards": np.array([1.0, 2.0])}, "one entry a row"),
    ],
)
def test_bad_logs_are_refused(change, message):
    good = {
        "units": np.array([1]),
        "rewards": np.array([1.0]),
        "propensities": np.array([0.5]),
        "targets": np.array([0.5]),
    }
    with pytest.raises(DataError, match=message):
        LoggedRows(**{**good, **change})


def test_a_model_without_folds_is_refused():
    log, items = drawn(np.random.default_rng(6))
    with pytest.raises(DataError, match="two folds"):
        cross_fitted_means(log, np.zeros_like(items), items, (1, 3), folds=1)
