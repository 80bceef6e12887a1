"""Ratios of sums over independent units, such as click-through rates, with their plain intervals.

Impressions of one user resemble each other; users are independent. The variance of a ratio is therefore taken
over the totals of units (users or sessions) by the delta method (Deng, Knoblich & Lu 2018, "Applying the
Delta Method in Metric Analytics"). Intervals of this module are of one look at the data: whoever looks again
and again needs :mod:`recserve.experiments.statistics.sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from recserve.data.arrays import Float64Array, Int64Array
from recserve.errors import DataError

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high

    def shown(self, form: Callable[[float], str]) -> str:
        """Text such as ``3.1% (2.8 to 3.4%)``; without bounds that are not known, empty without a value.

        Args:
            form: Makes the text of a number.
        """
        if math.isnan(self.value):
            return ""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return form(self.value)
        return f"{form(self.value)} ({form(self.low).removesuffix('%')} to {form(self.high)})"


class Estimate(NamedTuple):
    """An estimate with its sampling variance.

    Attributes:
        value: The estimate; NaN of nothing.
        variance: Estimated variance of ``value``; NaN of fewer than two units.
        units: Number of independent units behind it; of a difference, those of the smaller side.
    """

    value: float
    variance: float
    units: int


@dataclass(frozen=True, eq=False)
class RatioSample:
    """Totals of N independent units, of which a ratio metric is the quotient of two sums.

    Attributes:
        numerator: float64, shape (N,); such as the clicks of each user.
        denominator: float64, shape (N,), none negative; such as the impressions of each user. Ones make the
            metric a mean over units.
    """

    numerator: Float64Array
    denominator: Float64Array

    def __post_init__(self) -> None:
        if self.numerator.ndim != 1 or self.numerator.shape != self.denominator.shape:
            raise DataError("numerators and denominators must be two arrays of one length, a number a unit")
        if not (np.isfinite(self.numerator).all() and np.isfinite(self.denominator).all()):
            raise DataError("numerators and denominators must be finite numbers")
        if (self.denominator < 0).any():
            raise DataError("denominators must not be negative: they are counts or weights")

    @classmethod
    def of_rows(cls, units: Int64Array, numerator: ArrayLike, denominator: ArrayLike | None = None) -> Self:
        """Sum rows, such as impressions, by the unit they belong to.

        Args:
            units: int64, shape (R,); which unit each row is of, any numbers.
            numerator: Numbers, shape (R,), such as whether the row was clicked.
            denominator: Numbers, shape (R,); None for ones.
        """
        above = np.asarray(numerator, dtype=np.float64)
        below = np.ones(len(above)) if denominator is None else np.asarray(denominator, dtype=np.float64)
        if not units.shape == above.shape == below.shape:
            raise DataError("units, numerators and denominators must have one entry a row")
        _, places = np.unique(units, return_inverse=True)
        return cls(total(places, above), total(places, below))

    @property
    def units(self) -> int:
        """Number of units N."""
        return len(self.numerator)

    @property
    def ratio(self) -> float:
        """The metric: sum of numerators by sum of denominators; NaN of nothing."""
        below = self.denominator.sum()
        return float(self.numerator.sum() / below) if below > 0 else np.nan

    def influence(self) -> Float64Array:
        """Influence of each unit on the metric: float64, shape (N,), with mean zero.

        The variance of the metric is that of the influences by the number of units.
        """
        mean = self.denominator.mean() if self.units else 0.0
        if mean <= 0:
            return np.full(self.units, np.nan)
        return (self.numerator - self.ratio * self.denominator) / mean

    def estimate(self) -> Estimate:
        """The metric with its variance."""
        if self.units < 2:
            return Estimate(self.ratio, np.nan, self.units)
        return Estimate(self.ratio, float(self.influence().var(ddof=1) / self.units), self.units)


def total(groups: Int64Array, values: Float64Array, n_groups: int = 0) -> Float64Array:
    """Sums of values by group: float64, shape (G,), where G is at least ``n_groups``."""
    return np.bincount(groups, values, n_groups).astype(np.float64, copy=False)


def plain_interval(estimate: Estimate, confidence: float = CONFIDENCE) -> Interval:
    """Interval of one look, by Student's t with a degree of freedom less than units."""
    radius = float(_quantile(confidence, np.float64(estimate.units)) * np.sqrt(estimate.variance))
    return Interval(estimate.value, estimate.value - radius, estimate.value + radius)


class Ratios(NamedTuple):
    """Ratio metrics of G groups, such as items, with their bounds: float64 arrays of shape (G,).

    Attributes:
        value: The metric of each group; NaN of a group without denominator.
        low: Lower bounds; NaN where there are too few units for bounds.
        high: Upper bounds, likewise.
        units: int64, shape (G,); units of each group.
    """

    value: Float64Array
    low: Float64Array
    high: Float64Array
    units: Int64Array


def grouped_ratios(
    groups: Int64Array,
    numerator: Float64Array,
    denominator: Float64Array,
    n_groups: int,
    *,
    shares: bool,
    confidence: float = CONFIDENCE,
) -> Ratios:
    """Ratio metrics of many groups at once, with intervals of one look.

    Args:
        groups: int64, shape (R,); group of each row, 0 to ``n_groups`` - 1. A row is a unit within a group.
        numerator: float64, shape (R,); total of the unit in this group.
        denominator: float64, shape (R,); likewise.
        n_groups: Number of groups G.
        shares: Whether the metric is a share of its denominator, such as a click-through rate. Its bounds
            are then Wilson's (1927) for as many independent trials as make the same variance (the
            effective sample size of Korn & Graubard 1998): they stay within 0 and 1, and say something
            about a group that nobody has clicked. Else the bounds are Student's t.
        confidence: Mass of an interval.
    """
    if not groups.shape == numerator.shape == denominator.shape:
        raise DataError("groups, numerators and denominators must have one entry a row")
    if len(groups) and not (groups.min() >= 0 and groups.max() < n_groups):
        raise DataError(f"groups must be numbers from 0 to {n_groups - 1}")

    units = np.bincount(groups, minlength=n_groups)
    below = total(groups, denominator, n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = total(groups, numerator, n_groups) / below
        squares = total(groups, (numerator - value[groups] * denominator) ** 2, n_groups)
        variance = np.where(units > 1, units / (units - 1) * squares / below**2, np.nan)
        if shares:
            low, high = _wilson(value, variance, units, below, confidence)
        else:
            radius = _quantile(confidence, units) * np.sqrt(variance)
            low, high = value - radius, value + radius
    return Ratios(value, low, high, units)


def _wilson(
    share: Float64Array, variance: Float64Array, units: Int64Array, trials: Float64Array, confidence: float
) -> tuple[Float64Array, Float64Array]:
    spread = share * (1.0 - share)
    # Nothing is known of how trials of a unit depend on each other while all came out alike: a unit is a
    # trial.
    effective = np.where(variance > 0, np.minimum(spread / variance, trials), np.minimum(units, trials))
    z = special.ndtri(0.5 + confidence / 2.0)
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    radius = z / (1 + z**2 / effective) * np.sqrt(spread / effective + z**2 / (4 * effective**2))
    return np.maximum(centre - radius, 0.0), np.minimum(centre + radius, 1.0)


def _quantile(confidence: float, units: ArrayLike) -> Float64Array:
    """Student's t quantile for two-sided bounds; NaN of fewer than two units."""
    freedom = np.asarray(units, dtype=np.float64) - 1.0
    safe = np.maximum(freedom, 1.0)
    found: Float64Array = np.where(freedom >= 1.0, special.stdtrit(safe, 0.5 + confidence / 2.0), np.nan)
    return found
