"""Off-policy evaluation: what a policy that was not shown would have earned, from logged propensities.

A policy says how probable each item is in a place of a page. Where chance decided what was shown, the log
holds the propensity of each shown item: the probability that the item stood in this place. Weighting rewards
by target probability over propensity makes the log look as if the target had written it, as long as a click
depends on the item and its place alone (Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen 2018). Three
estimators:

- IPS, inverse propensity scoring (Horvitz & Thompson 1952): unbiased, and the noisiest.
- SNIPS, self-normalised (Swaminathan & Joachims 2015): divides by the weights' sum instead of their number.
- DR, doubly robust (Dudik, Langford & Li 2011): corrects a reward model's prediction by what it missed.

Each is a ratio of sums over users, and its interval is that of such a ratio: users are independent, rows are
not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array
from recserve.errors import DataError
from recserve.outcomes.intervals import CONFIDENCE, Interval, RatioSample, plain_interval, total


@dataclass(frozen=True, eq=False)
class LoggedRows:
    """Shown items whose place chance decided, with what a target policy would have done there.

    Attributes:
        units: int64, shape (R,); user (or session) of each row.
        rewards: float64, shape (R,); such as 1 for a click.
        propensities: float64, shape (R,); probability with which the row's item stood in its place, above 0.
        targets: float64, shape (R,); probability with which the target policy puts it there, 0 to 1.
    """

    units: Int64Array
    rewards: Float64Array
    propensities: Float64Array
    targets: Float64Array

    def __post_init__(self) -> None:
        if not self.units.shape == self.rewards.shape == self.propensities.shape == self.targets.shape:
            raise DataError("units, rewards, propensities and targets must have one entry a row")
        if not np.isfinite(self.rewards).all():
            raise DataError("rewards must be finite numbers")
        if not ((self.propensities > 0) & (self.propensities <= 1)).all():
            raise DataError(
                "propensities must lie above 0 and at most 1; leave out rows that chance did not decide"
            )
        if not ((self.targets >= 0) & (self.targets <= 1)).all():
            raise DataError("probabilities of the target policy must lie between 0 and 1")

    @property
    def weights(self) -> Float64Array:
        """Importance weights: float64, shape (R,); their mean is 1 if the log covers the target."""
        return self.targets / self.propensities


class Coverage(NamedTuple):
    """How much of what a target policy does a log shows.

    Attributes:
        mean_weight: Mean importance weight with its interval. Below 1: the target puts items where the log
            never put them, and no estimator can know what these would earn.
        effective_rows: Rows that would say as much if all weights were equal (Kish 1965).
        rows: Rows of the log.
    """

    mean_weight: Interval
    effective_rows: float
    rows: int

    @property
    def complete(self) -> bool:
        """Whether a mean weight of 1 lies inside the interval."""
        return self.mean_weight.holds(1.0)


def coverage(log: LoggedRows, confidence: float = CONFIDENCE) -> Coverage:
    """Tell whether a log can say anything about a target policy; read it before any estimate."""
    weights = log.weights
    squares = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
    mean = plain_interval(RatioSample.of_rows(log.units, weights).estimate(), confidence)
    return Coverage(mean, effective, len(weights))


def ips(log: LoggedRows, confidence: float = CONFIDENCE) -> Interval:
    """Reward a row under the target policy, by inverse propensity scoring."""
    sample = RatioSample.of_rows(log.units, log.weights * log.rewards)
    return plain_interval(sample.estimate(), confidence)


def snips(log: LoggedRows, confidence: float = CONFIDENCE) -> Interval:
    """Reward a row under the target policy, by self-normalised inverse propensity scoring."""
    sample = RatioSample.of_rows(log.units, log.weights * log.rewards, log.weights)
    return plain_interval(sample.estimate(), confidence)


def doubly_robust(
    log: LoggedRows, predicted: Float64Array, expected: Float64Array, confidence: float = CONFIDENCE
) -> Interval:
    """Reward a row under the target policy, by a reward model that the log corrects.

    Args:
        log: The rows.
        predicted: float64, shape (R,); reward that the model predicts for the shown item in its place.
        expected: float64, shape (R,); mean of its predictions over what the target policy puts into this
            place. The model must not have seen the row's own user, see :func:`cross_fitted_means`.
        confidence: Mass of the interval.
    """
    if not predicted.shape == expected.shape == log.rewards.shape:
        raise DataError("predictions of the reward model must have one entry a row of the log")
    corrected = expected + log.weights * (log.rewards - predicted)
    return plain_interval(RatioSample.of_rows(log.units, corrected).estimate(), confidence)


class FittedMeans(NamedTuple):
    """Reward model of mean rewards, fitted once for each fold of users without that fold.

    Attributes:
        folds: int64, shape (R,); fold of each row.
        means: float64, shape (K, P, I); predicted reward of an item in a place, by the fold it predicts for.
    """

    folds: Int64Array
    means: Float64Array


def cross_fitted_means(
    log: LoggedRows,
    places: Int64Array,
    items: Int64Array,
    shape: tuple[int, int],
    *,
    folds: int = 5,
    strength: float = 4.0,
) -> FittedMeans:
    """Fit the mean reward of each item in each place, for :func:`doubly_robust`.

    A cell with few rows is shrunk towards what its place and its item earn elsewhere (their product, as in
    the position-based click model).

    Args:
        log: The rows.
        places: int64, shape (R,); place of each row, 0 to P - 1.
        items: int64, shape (R,); item of each row, 0 to I - 1.
        shape: P and I.
        folds: Groups K of users; at least 2.
        strength: Rewards that the shrunk value counts as: an item's few rows say little
            while rewards are rare.
    """
    if folds < 2:
        raise DataError(
            "a reward model needs at least two folds of users, so that none predicts its own rewards"
        )
    if not places.shape == items.shape == log.rewards.shape:
        raise DataError("places and items must have one entry a row of the log")
    _, numbers = np.unique(log.units, return_inverse=True)
    fold = numbers % folds
    cell = np.ravel_multi_index((places, items), shape)
    size = shape[0] * shape[1]
    means = np.empty((folds, *shape))
    for number in range(folds):
        others = fold != number
        rows = np.bincount(cell[others], minlength=size).reshape(shape)
        rewards = total(cell[others], log.rewards[others], size).reshape(shape)
        overall = rewards.sum() / max(rows.sum(), 1)
        if overall == 0:
            means[number] = 0.0
            continue
        prior_rows = strength / abs(overall)
        by_place = _shrunk(rewards.sum(axis=1), rows.sum(axis=1), overall, prior_rows)
        by_item = _shrunk(rewards.sum(axis=0), rows.sum(axis=0), overall, prior_rows)
        means[number] = _shrunk(rewards, rows, by_place[:, None] * by_item / overall, prior_rows)
    return FittedMeans(fold, means)


def _shrunk(
    rewards: Float64Array, rows: Int64Array, towards: Float64Array | float, prior_rows: float
) -> Float64Array:
    return (rewards + prior_rows * towards) / (rows + prior_rows)
