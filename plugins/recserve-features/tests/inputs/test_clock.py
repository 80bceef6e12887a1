"""Parts of moments in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from recserve_features.inputs.clock import DAY_MS, part_of, varied


def at(*moments: str) -> np.ndarray:
    read = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in moments]
    return np.array([int(moment.timestamp() * 1000) for moment in read], dtype=np.int64)


def test_hours_and_days() -> None:
    # A Friday evening, a Saturday, a Sunday, a Monday morning.
    moments = at("2026-11-27T23:30", "2026-11-28T00:10", "2026-11-29T12:00", "2026-11-30T04:00")
    assert part_of(moments, "hour", "UTC").tolist() == [23, 0, 12, 4]
    assert part_of(moments, "daypart", "UTC").tolist() == [5, 0, 3, 1]
    assert part_of(moments, "weekday", "UTC").tolist() == [4, 5, 6, 0]
    assert part_of(moments, "weekend", "UTC").tolist() == [0, 1, 1, 0]


def test_a_time_zone_has_its_own_days_and_summer_time() -> None:
    moments = at("2026-11-27T23:30", "2026-07-01T12:00", "2026-12-01T12:00", "1969-12-31T23:00")
    assert part_of(moments, "hour", "Europe/Berlin").tolist() == [0, 14, 13, 0]
    assert part_of(moments, "weekend", "Europe/Berlin").tolist() == [1, 0, 0, 0]


def test_moments_that_say_nothing() -> None:
    days = np.arange(60, dtype=np.int64) * DAY_MS
    assert varied(days, "weekend", "UTC")
    assert not varied(days, "hour", "UTC"), "all at midnight"
    assert not varied(days[:10], "weekend", "UTC"), "less than two weeks"
    assert not varied(days * 7, "weekend", "UTC"), "always a Thursday"
    assert not varied(days[:0], "hour", "UTC")
