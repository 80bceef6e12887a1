"""What counts as an outcome of a recommendation."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from recserve.config.strict import Strict
from recserve.data.entities import EventType


class OutcomesConfig(Strict):
    """How events are joined to what was shown, and what reports are broken down by."""

    window_hours: float = Field(
        24.0,
        gt=0,
        le=24 * 30,
        description="An event counts for a recommendation up to so long after it. One that names no "
        "recommendation counts for the last one that showed its user the item within this time.",
    )
    clicks: tuple[str, ...] | None = Field(
        None, description="Event types that make an impression clicked; default: all of positive weight."
    )
    conversions: tuple[str, ...] = Field(
        ("purchase",), description="Event types that make an impression converted; their values are added up."
    )
    segments: tuple[str, ...] = Field(
        (), max_length=8, description="User attributes that reports may be broken down by."
    )
    keep_days: float = Field(
        730.0, gt=0, description="`recserve store expire` removes daily counts of days older than this."
    )

    count_days: bool = Field(
        True,
        description="Each day is counted by the server once it is over, by one replica for all and in a "
        "process of its own, so that no report has to. Without it the first report counts.",
    )
    count_hours: tuple[int, int] | None = Field(
        None,
        description="Hours of the day (UTC) between which the server counts, such as [1, 5], or [22, 4] "
        "across midnight; default: as soon as a day is over.",
    )

    @field_validator("count_hours")
    @classmethod
    def _check_hours(cls, hours: tuple[int, int] | None) -> tuple[int, int] | None:
        if hours is not None and not (all(0 <= hour <= 24 for hour in hours) and hours[0] != hours[1]):
            raise ValueError("two different hours from 0 to 24, such as [1, 5]")
        return hours

    def counts_at(self, hour: int) -> bool:
        """Whether the server may count in an hour of the day (UTC)."""
        if self.count_hours is None:
            return True
        begin, end = self.count_hours
        return begin <= hour < end if begin < end else hour >= begin or hour < end

    def unknown_types(self, event_types: Mapping[str, EventType]) -> list[str]:
        """Named event types that are not configured."""
        return [name for name in (*(self.clicks or ()), *self.conversions) if name not in event_types]

    def click_types(self, event_types: Mapping[str, EventType]) -> frozenset[str]:
        """Event types that make an impression clicked."""
        if self.clicks is not None:
            return frozenset(self.clicks)
        return frozenset(name for name, kind in event_types.items() if kind.weight > 0)
