"""Percentile bootstrap over users (Efron & Tibshirani 1993), vectorised and seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recserve.data.arrays import Float64Array

RESAMPLES = 2000
CONFIDENCE = 0.95

# Numbers of one kind that a chunk of resamples may hold: bounds memory at about 100 MB.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users with its bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside: for a difference, whether it is significant at 5%."""
        return self.low > 0 or self.high < 0


def resampled(users: int, resamples: int, seed: int, width: int = 1) -> Iterator[tuple[slice, Float64Array]]:
    """Draw bootstrap resamples of users, a chunk at a time.

    A resample only matters through how often it holds each user, so that a statistic of all resamples
    of a chunk is a product of matrices.

    Args:
        users: Number of users U, at least 1.
        resamples: Number of resamples R.
        seed: Seed of the draw.
        width: Numbers that the statistic makes of each resample; bounds the size of a chunk.

    Yields:
        Which resamples (a slice of 0..R-1), and float64 counts of shape (those, U).
    """
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(users, width))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        picks = generator.integers(0, users, size=(count, users))
        picks += np.arange(count)[:, None] * users
        counts = np.bincount(picks.ravel(), minlength=count * users).reshape(count, users)
        yield slice(start, start + count), counts.astype(np.float64)


def centred_interval(
    estimate: float, replicates: Float64Array, *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of a share in [0, 1] that is not a mean over users, such as catalogue coverage.

    A resample holds fewer distinct users than all users are, which biases such a statistic; the
    percentiles of the replicates are therefore shifted so that the replicates' mean meets the
    estimate (bootstrap bias correction), and clipped to [0, 1].

    Args:
        estimate: The statistic of all users.
        replicates: float64, shape (R,); the statistic of each resample.
        confidence: Mass of the interval.
    """
    if np.isnan(estimate):
        return Interval(np.nan, np.nan, np.nan)
    drawn = replicates[~np.isnan(replicates)]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail]) - drawn.mean() + estimate
    # Rounding must not push a statistic without any spread out of its own interval.
    return Interval(estimate, min(max(float(low), 0.0), estimate), max(min(float(high), 1.0), estimate))


def mean_intervals(
    values: Float64Array,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> list[Interval]:
    """Means over users with percentile bootstrap intervals, for M metrics at once.

    All metrics are resampled with the same users. Users without a value (NaN) are left out of that
    metric.

    Args:
        values: float64, shape (U, M), one row a user.
        resamples: Bootstrap replicates.
        confidence: Mass of the interval.
        seed: Seed of the resampling; equal values and seed give equal intervals.

    Returns:
        M intervals; NaN throughout for a metric that no user has a value for.
    """
    users = len(values)
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0.0)
    means = _quotient(filled.sum(axis=0), valid.sum(axis=0))
    if users == 0:
        return [Interval(np.nan, np.nan, np.nan)] * values.shape[1]

    complete = bool(valid.all())
    replicates = np.empty((resamples, values.shape[1]))
    for chosen, weights in resampled(users, resamples, seed):
        sums = weights @ filled
        held = np.full(sums.shape, float(users)) if complete else weights @ valid.astype(np.float64)
        replicates[chosen] = _quotient(sums, held)

    tail = (1.0 - confidence) / 2.0
    intervals = []
    for mean, column in zip(means, replicates.T, strict=True):
        drawn = column[~np.isnan(column)]
        low, high = np.quantile(drawn, [tail, 1.0 - tail]) if len(drawn) else (np.nan, np.nan)
        intervals.append(Interval(float(mean), float(low), float(high)))
    return intervals


def growth_interval(
    before: Float64Array,
    after: Float64Array,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """``mean(after) / mean(before) - 1`` with its bootstrap interval.

    Means are divided, not users, so that a user whose ``before`` is near zero does not decide the result.

    Args:
        before: float64, shape (U,); positive. Users without both values (NaN) are left out.
        after: float64, shape (U,).
        resamples: Bootstrap replicates.
        confidence: Mass of the interval.
        seed: Seed of the resampling.
    """
    usable = ~(np.isnan(before) | np.isnan(after))
    pairs = np.column_stack([before[usable], after[usable]])
    if not len(pairs) or pairs[:, 0].sum() <= 0:
        return Interval(np.nan, np.nan, np.nan)
    replicates = np.empty(resamples)
    for chosen, weights in resampled(len(pairs), resamples, seed):
        sums = weights @ pairs
        replicates[chosen] = _quotient(sums[:, 1], sums[:, 0]) - 1.0
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(replicates, [tail, 1.0 - tail])
    return Interval(float(pairs[:, 1].sum() / pairs[:, 0].sum() - 1.0), float(low), float(high))


def paired_difference(
    first: Float64Array,
    second: Float64Array,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Mean of ``first - second`` over the same users, with its paired bootstrap interval.

    Pairing removes the spread between easy and hard users, so it finds differences that two separate
    intervals would hide.

    Args:
        first: float64, shape (U,); a metric of one model, one value a user.
        second: float64, shape (U,); the same metric of another model, users in the same order.
        resamples: Bootstrap replicates.
        confidence: Mass of the interval.
        seed: Seed of the resampling.

    Raises:
        ValueError: The two do not hold the same number of users.
    """
    if first.shape != second.shape:
        raise ValueError(f"cannot pair {first.shape[0]} users with {second.shape[0]}")
    return mean_intervals((first - second)[:, None], resamples=resamples, confidence=confidence, seed=seed)[0]


def _quotient(sums: Float64Array, counts: NDArray[np.number]) -> Float64Array:
    result = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=result, where=counts > 0)
    return result
