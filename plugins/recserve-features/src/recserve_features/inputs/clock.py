"""Parts of a moment: hour, daypart, weekday and weekend in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from recserve import Int64Array
from recserve_features.parameters import Moment

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
SIZES: dict[Moment, int] = {"hour": 24, "daypart": 6, "weekday": 7, "weekend": 2}
"""How many values each part of a moment has."""

_HOURS = 4
# 1 January 1970 was a Thursday.
_FIRST_WEEKDAY = 3
_SATURDAY = 5


def part_of(moments: Int64Array, unit: Moment, zone: str) -> Int64Array:
    """A part of each moment.

    Args:
        moments: int64, shape (N,); milliseconds since the epoch, UTC.
        unit: Which part.
        zone: Name of a time zone.

    Returns:
        int64, shape (N,), from 0 to ``SIZES[unit] - 1``.
    """
    local = moments + offsets_of(moments, zone)
    if unit in ("hour", "daypart"):
        hour = local // HOUR_MS % 24
        return hour if unit == "hour" else hour // _HOURS
    weekday = (local // DAY_MS + _FIRST_WEEKDAY) % 7
    return weekday if unit == "weekday" else (weekday >= _SATURDAY).astype(np.int64)


def offsets_of(moments: Int64Array, zone: str) -> Int64Array:
    """What local time is ahead of UTC by at each moment, milliseconds; looked up once an hour."""
    if zone == "UTC":
        return np.zeros(len(moments), dtype=np.int64)
    hours, place = np.unique(moments // HOUR_MS, return_inverse=True)
    there = ZoneInfo(zone)
    ahead = [
        datetime.fromtimestamp(int(hour) * 3600, UTC).astimezone(there).utcoffset() for hour in hours.tolist()
    ]
    seconds = np.array([0 if one is None else round(one.total_seconds()) for one in ahead], dtype=np.int64)
    return seconds[place] * 1000


def varied(moments: Int64Array, unit: Moment, zone: str, share: float = 0.02) -> bool:
    """Whether the moments say anything of a part of the day or week: two values with a share of them each."""
    counts = np.bincount(part_of(moments, unit, zone), minlength=SIZES[unit])
    span = int(moments.max() - moments.min()) if len(moments) else 0
    periods = span >= (2 * DAY_MS if unit in ("hour", "daypart") else 14 * DAY_MS)
    return bool(periods and (counts >= share * max(len(moments), 1)).sum() >= 2)
