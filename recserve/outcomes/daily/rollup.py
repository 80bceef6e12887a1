"""Daily counts of outcomes: read from the store where a day is over and counted, else made of what was shown.

A day is over when the window of its last answer has passed; its counts are then kept. They are made anew when
events of the day are stored late, as long as the day's exposures are in the store. Counts stay when exposures
expire, and when a person is deleted: nothing in them says who anybody was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from recserve.config import Config
from recserve.data.entities import DAY_MS, now_ms
from recserve.errors import StoreError
from recserve.outcomes.daily.counter import (
    SEGMENT,
    VIEWS,
    DayCounter,
    Segment,
    read_counts,
    written_counts,
)
from recserve.outcomes.join import CLOCK_SKEW_MS, OutcomeRules, joined
from recserve.outcomes.source import OutcomeSource
from recserve.store import Store
from recserve.store.lake import LakeFolder

_READ_DAYS = 8

Progress = Callable[[int, int], None]

_LAYOUT = 1
"""Of the tables; raised when they change."""


class DayCounts(NamedTuple):
    """Tables of the counts of one day.

    Attributes:
        day: Days since 1970 (UTC).
        tables: Those that were asked for, by name.
        stored: Whether they had been counted before.
        same: Whether they were counted by the present settings.
    """

    day: int
    tables: Mapping[str, pa.Table]
    stored: bool
    same: bool


@dataclass(frozen=True)
class _Plan:
    """Days of a report.

    Attributes:
        stored: Those whose counts are read, with whether they were made by the present settings.
        missing: Those that are counted now.
        event: Number of the event that counts are right up to.
    """

    stored: Mapping[int, bool]
    missing: Sequence[int]
    event: int


class Rollup:
    """Counter of days.

    Args:
        store: The store.
        config: Its configuration.
        lake: The store's lake, to which exposures and events may have expired.
        now: The present, milliseconds since the epoch; None for the clock's.
    """

    def __init__(
        self, store: Store, config: Config, lake: LakeFolder | None = None, now: int | None = None
    ) -> None:
        self._store = store
        self._rules = OutcomeRules.of(config)
        self._segments = config.outcomes.segments
        self._settings = _digest(self._rules, self._segments)
        self._source = OutcomeSource(store, self._rules.types, lake)
        self._now = now_ms() if now is None else now

    def daily(
        self, first: int, last: int, names: Iterable[str], progress: Progress = lambda done, total: None
    ) -> Iterator[DayCounts]:
        """Counts of days, in no order; days on which nothing was shown may be missing.

        Args:
            first: Days since 1970.
            last: The last day, included.
            names: Tables that are wanted.
            progress: Called with the days counted now so far, and how many there are to count.

        Raises:
            DataError: The lake cannot be read.
            StoreError: The database failed.
        """
        wanted = frozenset(names)
        plan = self._plan(first, last)
        yield from self._stored(plan.stored, wanted)
        counted = 0
        over = [day for day in plan.missing if self._over(day)]
        for run in _runs(over):
            for day, tables in self._count(run):
                counted += 1
                progress(counted, len(plan.missing))
                self._store.put_daily(day, self._settings, written_counts(tables), plan.event)
                yield DayCounts(day, _those(tables, wanted), stored=False, same=True)
        # What is not kept is not counted by anything that nobody asks for.
        for run in _runs(plan.missing[len(over) :]):
            for day, tables in self._count(run, wanted):
                counted += 1
                progress(counted, len(plan.missing))
                yield DayCounts(day, _those(tables, wanted), stored=False, same=True)

    def due(self) -> bool:
        """Whether the last day that is over has not been counted yet; takes a moment."""
        span = self._store.exposure_span()
        if span is None:
            return False
        last = min(self._last_over(), span[1] // DAY_MS)
        if last < span[0] // DAY_MS:
            return False
        settings, _ = self._store.daily_days().get(last, ("", False))
        return settings != self._settings

    def count_over(self) -> int:
        """Count all days that are over and have not been counted; returns how many.

        Raises:
            DataError: The lake cannot be read.
            StoreError: The database failed.
        """
        days, last, counted = self._source.days, self._last_over(), 0
        if days and days[0] <= last:
            plan = self._plan(days[0], last)
            for run in _runs(plan.missing):
                for day, tables in self._count(run):
                    if not self._store.put_daily(day, self._settings, written_counts(tables), plan.event):
                        return counted  # events came meanwhile, so that somebody counts anew
                    counted += 1
        return counted

    def finish(self, before: int) -> int:
        """Count all days of which exposures are about to be removed, and keep the counts for good.

        Args:
            before: What is older than this moment is to be removed, milliseconds since the epoch.

        Returns:
            The moment before which exposures and events may be removed: ``before``, or the beginning of the
            first day that is not over yet.

        Raises:
            DataError: The lake cannot be read.
            StoreError: The database failed, or others are counting the same days.
        """
        before = min(before, (self._last_over() + 1) * DAY_MS - CLOCK_SKEW_MS)
        through = (before - 1) // DAY_MS
        days = self._source.days
        if days and days[0] <= through:
            plan = self._plan(days[0], through)
            for run in _runs(plan.missing):
                for day, tables in self._count(run):
                    if not self._store.put_daily(day, self._settings, written_counts(tables), plan.event):
                        raise StoreError("events came while days were counted; run it again")
            self._store.finish_daily(through)
        return before

    def _over(self, day: int) -> bool:
        """Whether nothing that happens from now on can count for a day."""
        return day <= self._last_over()

    def _last_over(self) -> int:
        """The last day for which nothing can count any more that happens from now on."""
        return (self._now - self._rules.window_ms - CLOCK_SKEW_MS) // DAY_MS - 1

    def _plan(self, first: int, last: int) -> _Plan:
        """Find out which days are counted, after those that are not right any more are gone."""
        newest, late = self._store.late_days((self._now // DAY_MS + 1) * DAY_MS)
        # An event counts for answers of up to a window before it, and of a little after by another clock.
        reach = -(-self._rules.window_ms // DAY_MS)
        stale = {day - back for day in late for back in range(-1, reach + 1)}
        event = self._store.begin_counting(newest, stale)
        known, present = self._store.daily_days(), self._source.days
        wanted = range(first, last + 1)
        good = {
            day: settings == self._settings
            for day, (settings, final) in known.items()
            # What has expired into a lake can be counted anew.
            if settings == self._settings or (final and not self._source.expired(day)) or day not in present
        }
        missing = [day for day in wanted if day in present and day not in good]
        return _Plan({day: same for day, same in good.items() if day in wanted}, missing, event)

    def _stored(self, days: Mapping[int, bool], names: frozenset[str]) -> Iterator[DayCounts]:
        """Counts that are read, some days at a time, which bounds memory."""
        ordered = sorted(days)
        for start in range(0, len(ordered), _READ_DAYS):
            some = ordered[start : start + _READ_DAYS]
            rows = self._store.daily_tables(some[0], some[-1], names)
            for day, tables in groupby(rows, key=lambda row: row.day):
                if day in days:
                    found = {row.name: read_counts(row.content) for row in tables}
                    yield DayCounts(day, found, stored=True, same=days[day])

    def _count(
        self, days: range, names: Collection[str] | None = None
    ) -> Iterator[tuple[int, dict[str, pa.Table]]]:
        """Count days that follow one another, from the last to the first.

        Args:
            days: The days.
            names: Tables that are needed; None for all.
        """
        views = [view for view in VIEWS if names is None or any(name.startswith(view) for name in names)]
        segments = {
            name: Segment.of(self._store.user_attribute(name))
            for name in self._segments
            if names is None or SEGMENT + name in names
        }
        # What was shown within the window after a day may have taken events from it.
        until = days[-1] + 1 + -(-self._rules.window_ms // DAY_MS)
        merged = self._store.merged_hashes()
        counter, current = DayCounter(segments, views), days[-1]
        end = min(until, self._source.days[-1] + 1) * DAY_MS
        for begin, found in joined(self._source, self._rules, merged, days[0] * DAY_MS, end):
            day = begin // DAY_MS
            if day > days[-1]:
                continue
            while current > day:
                yield current, counter.tables()
                counter, current = DayCounter(segments, views), current - 1
            counter.add(found)
        yield current, counter.tables()


def _those(tables: Mapping[str, pa.Table], names: Collection[str]) -> dict[str, pa.Table]:
    return {name: tables[name] for name in names if name in tables}


def _digest(rules: OutcomeRules, segments: Sequence[str]) -> str:
    """Digest of everything that decides what is counted."""
    settings = [_LAYOUT, rules.window_ms, sorted(rules.clicks), sorted(rules.conversions), sorted(segments)]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _runs(days: Sequence[int]) -> Iterator[range]:
    """Ascending days as ranges without gaps."""
    for _, run in groupby(enumerate(days), key=lambda pair: pair[1] - pair[0]):
        found = [day for _, day in run]
        yield range(found[0], found[-1] + 1)
