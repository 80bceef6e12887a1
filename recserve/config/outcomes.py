"""What counts as an outcome of a recommendation."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

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

    def unknown_types(self, event_types: Mapping[str, EventType]) -> list[str]:
        """Named event types that are not configured."""
        return [name for name in (*(self.clicks or ()), *self.conversions) if name not in event_types]

    def click_types(self, event_types: Mapping[str, EventType]) -> frozenset[str]:
        """Event types that make an impression clicked."""
        if self.clicks is not None:
            return frozenset(self.clicks)
        return frozenset(name for name, kind in event_types.items() if kind.weight > 0)
