"""Charts of HTML reports: axes and marks; the macros of ``charts.html`` draw them as responsive SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recserve.evaluation.bootstrap import Interval

_FEW_DECADES, _MOST_DECADES = 2, 6

COLOURS = 8
"""Series that the style sheet has colours for; further ones start again."""


@dataclass(frozen=True)
class Mark:
    """One figure with its interval.

    Attributes:
        series: Number of its model; decides the colour.
        interval: The figure; NaN is left out.
        title: Shown where the pointer rests.
    """

    series: int
    interval: Interval
    title: str = ""

    @property
    def colour(self) -> str:
        """Class of the style sheet that sets the colour."""
        return f"s{self.series % COLOURS}"


@dataclass(frozen=True)
class Row:
    """One line of a chart: its label, its marks below each other, and a note behind them."""

    label: str
    marks: Sequence[Mark]
    note: str = ""

    @property
    def shown(self) -> list[Mark]:
        """Marks that have a figure."""
        return [mark for mark in self.marks if not math.isnan(mark.interval.mean)]


class Axis:
    """Linear axis with round ticks.

    Args:
        values: What it spans.
        whole: Only whole numbers get a tick.

    Attributes:
        ticks: Place and text of each tick.
    """

    def __init__(self, values: Iterable[float], *, whole: bool = False) -> None:
        found = [value for value in values if not math.isnan(value)] or [0.0]
        low, high = min(found), max(found)
        if high <= low:
            margin = max(abs(high) / 10, 1e-6)
            low, high = low - margin, high + margin
        raw = max((high - low) / 5, 1.0 if whole else 0.0)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        numbers = range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
        self._low, self._high = numbers[0] * step, numbers[-1] * step
        self.ticks = [(self(number * step), f"{number * step:.{decimals}f}") for number in numbers]

    def __call__(self, value: float) -> float:
        """Place of a value, 0 to 100."""
        return round(100 * (value - self._low) / (self._high - self._low), 3)


class LogAxis(Axis):
    """Logarithmic axis from one power of ten to another, for what spans orders of magnitude.

    Args:
        values: What it spans; those that are not positive are at its lower end.
    """

    def __init__(self, values: Iterable[float]) -> None:
        found = [math.log10(value) for value in values if value > 0 and math.isfinite(value)] or [0.0]
        first, last = math.floor(min(found) + 1e-9), math.ceil(max(found) - 1e-9)
        last = max(last, first + 1)
        self._low, self._high = float(first), float(last)
        step = math.ceil((last - first) / _MOST_DECADES)
        # Within few decades the ticks at 2 and 5 help.
        factors = (1, 2, 5) if last - first <= _FEW_DECADES else (1,)
        powers = range(first, last, step)
        numbers = [factor * 10.0**power for power in powers for factor in factors]
        self.ticks = [(self(number), f"{number:g}") for number in [*numbers, 10.0**last]]

    def __call__(self, value: float) -> float:
        """Place of a value, 0 to 100."""
        exponent = math.log10(value) if value > 0 else self._low
        return round(100 * (max(exponent, self._low) - self._low) / (self._high - self._low), 3)


def row_axis(rows: Iterable[Row]) -> Axis:
    """The axis that the rows of a chart share; it begins at zero."""
    intervals = [mark.interval for row in rows for mark in row.shown]
    return Axis([0.0, *(end for interval in intervals for end in (interval.low, interval.high))])
