"""Store protocol of outcomes: what was shown and what followed, by time, and the daily counts of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from recserve.data.arrays import Int64Array

_FEW = pa.dictionary(pa.int32(), pa.string())
"""Type of columns with few distinct values."""

EXPOSURE_COLUMNS = pa.schema(
    {
        "recommendation_id": pa.string(),
        "user_hash": pa.int64(),
        "timestamp": pa.int64(),
        "items": pa.string(),
        "bundle": _FEW,
        "scenario": _FEW,
        "experiment": _FEW,
        "arm": _FEW,
        "degraded": _FEW,
        "shadow": pa.bool_(),
    }
)
"""Columns of :meth:`OutcomeStore.exposures_between`."""

EVENT_COLUMNS = pa.schema(
    {
        "seq": pa.int64(),
        "user_hash": pa.int64(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
        "recommendation_id": pa.string(),
    }
)
"""Columns of :meth:`OutcomeStore.outcome_events`."""


@dataclass(frozen=True, slots=True)
class DailyTable:
    """One table of the counts of a day.

    Attributes:
        day: Days since 1970 (UTC).
        name: Of the table.
        settings: Digest of the settings that it was counted by.
        final: It cannot be counted anew, as exposures of the day have been removed.
        content: The table as Parquet.
    """

    day: int
    name: str
    settings: str
    final: bool
    content: bytes


class OutcomeStore(Protocol):
    """Exposures and events of spans of time. All moments are milliseconds, the second one not included."""

    def exposure_span(self) -> tuple[int, int] | None:
        """Moments of the oldest and the newest exposure; None without any."""
        ...

    def outcome_cut(self, first: int, last: int, rows: Mapping[str, int]) -> int:
        """Where to cut a span so that its later part has about so many rows at most.

        Never at ``last`` itself: what is of one moment stays together. ``first`` where there are no more.

        Args:
            first: The span's beginning.
            last: Its end.
            rows: Most rows of ``exposures`` and of ``events``; what is not named does not matter.
        """
        ...

    def exposures_between(self, first: int, last: int) -> pa.Table:
        """Exposures of recommendations made in a span, in no order.

        Returns:
            :data:`EXPOSURE_COLUMNS`; ``items`` and ``degraded`` are JSON.
        """
        ...

    def outcome_events(
        self, first: int, last: int, types: Collection[str], *, numbered: bool = True
    ) -> pa.Table:
        """Events of some types that happened in a span and were done with an item, in no order.

        Args:
            first: The span's beginning.
            last: Its end.
            types: Event types.
            numbered: Whether ``seq`` is needed, which takes its share of the time; else it is null.

        Returns:
            :data:`EVENT_COLUMNS`.
        """
        ...

    def merged_hashes(self) -> Int64Array:
        """int64, shape (N,): hashes of ids that were merged into another one."""
        ...

    def user_attribute(self, name: str) -> pa.Table:
        """One attribute of all users that have it: ``user_hash`` and ``value``, as text."""
        ...

    def catalogue_size(self) -> int:
        """Items of the catalogue, hidden ones not counted."""
        ...

    def newest_event(self) -> int | None:
        """Moment of the newest event; None without any."""
        ...

    def late_days(self, before: int) -> tuple[int, list[int]]:
        """Days before a moment of which events were stored since the counts were last known to be right.

        Or taken back, whatever the moment.

        Returns:
            Number of the newest event, all before it being visible; and days since 1970, ascending.
        """
        ...

    def begin_counting(self, event: int, stale: Collection[int]) -> int:
        """Note that counts are right up to an event, and remove those of days that are not.

        Counts that are final stay.

        Returns:
            The number of the event that they are right up to; a higher one than was given, if the newest
            events have been removed meanwhile.
        """
        ...

    def put_daily(self, day: int, settings: str, tables: Mapping[str, bytes], event: int) -> bool:
        """Store the counts of a day in the place of earlier ones.

        Args:
            day: Days since 1970.
            settings: See :class:`DailyTable`.
            tables: Parquet by name.
            event: What :meth:`begin_counting` returned; if another one has begun since, nothing is stored, as
                there may have been events between the two.

        Returns:
            Whether they were stored.
        """
        ...

    def daily_days(self) -> dict[int, tuple[str, bool]]:
        """Days that have counts, with their settings and whether they are final."""
        ...

    def daily_tables(self, first: int, last: int, names: Collection[str]) -> list[DailyTable]:
        """Tables of some names of the days from ``first`` to ``last``, the last one included, by day."""
        ...

    def finish_daily(self, through: int) -> None:
        """Make the counts of all days up to one final: exposures of them are about to be removed."""
        ...

    def expire_daily(self, before: int) -> int:
        """Remove the counts of days before one; returns the number of days."""
        ...

    def lease(self, name: str, holder: str, until: int, now: int) -> bool:
        """Let one process at a time do something for all.

        Args:
            name: What is done.
            holder: Who wants to do it; may prolong what it has.
            until: How long, milliseconds since the epoch.
            now: The present, likewise.

        Returns:
            Whether nobody else does it.
        """
        ...
