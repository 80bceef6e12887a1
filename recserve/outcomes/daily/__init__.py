"""Daily counts of outcomes: how a day is counted, and which days are."""

from __future__ import annotations

from recserve.outcomes.daily.rollup import DayCounts, Rollup

__all__ = ["DayCounts", "Rollup"]
