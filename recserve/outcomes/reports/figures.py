"""Figures of groups of impressions, with intervals that go by people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recserve.data.arrays import Float64Array, Int64Array
from recserve.outcomes.daily.counter import MEASURES
from recserve.outcomes.intervals import Interval, Ratios, grouped_ratios

_RATES = (("ctr", "clicks"), ("conversion", "conversions"), ("value_each", "value"), ("degraded", "degraded"))


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the impressions of a group.

    Attributes:
        group: Its name; None for what has none, such as users without an attribute.
        impressions: Items shown, each time they were.
        clicks: Impressions that were clicked.
        conversions: Impressions that were converted.
        value: Sum of the values of the conversions.
        ctr: Click-through rate: clicks by impressions.
        debiased_ctr: Clicks by impressions as they would be in the first place of a page.
        conversion: Conversions by impressions.
        value_each: Value by impressions.
        items: Different items that were shown.
        coverage: Share of the catalogue that they are; None for single items.
        degraded: Share of the impressions whose answer had to do without something.
    """

    group: str | None
    impressions: int
    clicks: int
    conversions: int
    value: float
    ctr: Interval
    debiased_ctr: Interval
    conversion: Interval
    value_each: Interval
    items: int
    coverage: float | None
    degraded: float


class GroupFigures:
    """Figures of G groups.

    Args:
        groups: int64, shape (R,): the group of each row; a row is a bucket of people.
        sums: float64, shape (R, measures).
        count: Number of groups G.
        seen: float64, shape (G,): impressions weighted by examination.
    """

    def __init__(self, groups: Int64Array, sums: Float64Array, count: int, seen: Float64Array) -> None:
        columns = [np.bincount(groups, sums[:, column], count) for column in range(len(MEASURES))]
        self._sums = np.stack(columns, axis=1)
        self._seen = seen
        self._rates = {
            name: grouped_ratios(
                groups, sums[:, MEASURES.index(measure)], sums[:, 0], count, shares=measure != "value"
            )
            for name, measure in _RATES
        }

    @property
    def most_shown(self) -> Int64Array:
        """Groups that have any impressions, those with the most first."""
        order = np.argsort(-self._sums[:, 0], kind="stable")
        return order[: np.count_nonzero(self._sums[:, 0])]

    def figures(self, row: int, group: str | None, items: int, catalogue: int | None) -> Figures:
        """Figures of one group."""
        impressions, clicks, conversions, value, _ = self._sums[row].tolist()
        ctr = _interval(self._rates["ctr"], row)
        # Examination is taken as given: what is uncertain of it is not in the bounds.
        bias = impressions / float(self._seen[row]) if self._seen[row] > 0 else np.nan
        return Figures(
            group=group,
            impressions=int(impressions),
            clicks=int(clicks),
            conversions=int(conversions),
            value=value,
            ctr=ctr,
            debiased_ctr=Interval(*(bound * bias for bound in ctr)),
            conversion=_interval(self._rates["conversion"], row),
            value_each=_interval(self._rates["value_each"], row),
            items=int(items),
            coverage=items / catalogue if catalogue else None,
            degraded=float(self._rates["degraded"].value[row]),
        )


def _interval(ratios: Ratios, row: int) -> Interval:
    return Interval(float(ratios.value[row]), float(ratios.low[row]), float(ratios.high[row]))
