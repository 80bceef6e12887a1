"""Always-valid intervals: confidence sequences that hold at all looks at once.

A plain 95% interval is wrong at one look in twenty; whoever looks daily and stops when it excludes zero is
wrong far more often. An always-valid interval holds the truth at *every* look with the stated confidence. It
is the normal mixture of Robbins (1970) around an asymptotically normal estimate: the mSPRT of Johari,
Koomen, Pekelis & Walsh (2017), as an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy &
Ramdas 2024).
"""

from __future__ import annotations

import math

from scipy import special

from recserve.errors import DataError
from recserve.outcomes.intervals import CONFIDENCE, Estimate, Interval, RatioSample

LEAST_UNITS = 100
"""Units that each side needs before the normal approximation is relied on; until then nothing is excluded."""


def difference(treatment: RatioSample, control: RatioSample) -> Estimate:
    """Treatment minus control of two samples of different units."""
    high, low = treatment.estimate(), control.estimate()
    return Estimate(high.value - low.value, high.variance + low.variance, min(high.units, low.units))


def always_valid_interval(estimate: Estimate, scale: float, confidence: float = CONFIDENCE) -> Interval:
    """Interval that holds at every look, whenever and however often one looks.

    Args:
        estimate: The estimate of this look.
        scale: Size of the effect that one hopes for, in the units of the estimate; positive, and the same
            at each look. The interval is valid for any; it is tightest about when a test of one look would
            find an effect of this size.
        confidence: Probability that the intervals of all looks hold the truth.
    """
    if not _reliable(estimate):
        return Interval(estimate.value, -math.inf, math.inf)
    radius = always_valid_radius(estimate.variance, scale, confidence)
    return Interval(estimate.value, estimate.value - radius, estimate.value + radius)


def always_valid_radius(variance: float, scale: float, confidence: float = CONFIDENCE) -> float:
    """Half the width of an always-valid interval around an estimate of this variance."""
    _check(scale, confidence)
    growth = 1.0 + scale**2 / variance
    threshold = 2.0 * math.log(1.0 / (1.0 - confidence)) + math.log(growth)
    return math.sqrt(variance * (1.0 + variance / scale**2) * threshold)


def always_valid_p_value(estimate: Estimate, scale: float, null: float = 0.0) -> float:
    """Largest error rate at which this look excludes ``null``; 1 while there is too little data."""
    _check(scale, CONFIDENCE)
    if not _reliable(estimate):
        return 1.0
    shrunk = estimate.variance * (1.0 + estimate.variance / scale**2)
    evidence = (estimate.value - null) ** 2 / shrunk - math.log(1.0 + scale**2 / estimate.variance)
    return math.exp(-max(evidence, 0.0) / 2.0)


def detectable_change(
    variance: float, scale: float, confidence: float = CONFIDENCE, power: float = 0.8
) -> float:
    """Minimal detectable effect of an always-valid test: what it has found by now in ``power`` of all cases.

    Args:
        variance: Variance of the estimated difference.
        scale: That of the interval.
        confidence: That of the interval.
        power: Probability that an effect of this size is found. Looks before count too, so that it is a
            little higher in truth.
    """
    if not 0.0 < power < 1.0:
        raise DataError(f"power must lie between 0 and 1, not {power}")
    return always_valid_radius(variance, scale, confidence) + float(special.ndtri(power)) * math.sqrt(
        variance
    )


def units_needed(
    unit_variance: float,
    change: float,
    shares: tuple[float, float] = (0.5, 0.5),
    confidence: float = CONFIDENCE,
    power: float = 0.8,
) -> int:
    """Units that an experiment needs, all arms together, to detect a change with an always-valid test.

    Args:
        unit_variance: Variance of one unit's influence on the metric: :attr:`Estimate.units` times
            :attr:`Estimate.variance` of what one arm measured.
        change: The change to detect; positive. It is the scale of the test, too.
        shares: Shares of all units that the two arms get.
        confidence: That of the interval.
        power: Probability that the change is found.
    """
    if not (unit_variance > 0.0 and math.isfinite(unit_variance)):
        raise DataError(f"the variance of a unit must be positive, not {unit_variance}: nothing varies yet")
    if not (min(shares) > 0.0 and sum(shares) <= 1.0 + 1e-9):
        raise DataError(f"shares of the two arms must be positive and at most 1 together, not {shares}")
    of_one = unit_variance * sum(1.0 / share for share in shares)
    low, high = 2.0, 4.0
    while detectable_change(of_one / high, change, confidence, power) > change:
        low, high = high, 2.0 * high
    while high - low > 0.5:
        middle = (low + high) / 2.0
        if detectable_change(of_one / middle, change, confidence, power) > change:
            low = middle
        else:
            high = middle
    return math.ceil(max(high, LEAST_UNITS / min(shares)))


def _reliable(estimate: Estimate) -> bool:
    return estimate.units >= LEAST_UNITS and estimate.variance > 0.0 and math.isfinite(estimate.variance)


def _check(scale: float, confidence: float) -> None:
    if not (scale > 0.0 and math.isfinite(scale)):
        raise DataError(f"the scale of a sequential test must be a positive number, not {scale}")
    if not 0.0 < confidence < 1.0:
        raise DataError(f"confidence must lie between 0 and 1, not {confidence}")
