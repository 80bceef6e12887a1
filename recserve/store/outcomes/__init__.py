"""Exposures and events as columns of a span of time, and the counts of days that were made of them."""

from __future__ import annotations

from recserve.store.outcomes.protocol import EVENT_COLUMNS, EXPOSURE_COLUMNS, DailyTable, OutcomeStore

__all__ = ["EVENT_COLUMNS", "EXPOSURE_COLUMNS", "DailyTable", "OutcomeStore"]
