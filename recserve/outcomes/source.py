"""What was shown and what was done, of any span of time: from the store, and from its lake what left it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.columns.codes import encoded
from recserve.data.entities import DAY_MS
from recserve.store import Store, hash_of
from recserve.store.lake import LakeFile, LakeFolder, current_events, current_exposures
from recserve.store.outcomes import EVENT_COLUMNS, EXPOSURE_COLUMNS

T = TypeVar("T")

CHUNK_ROWS = 30_000
"""Exposures that are worked on at a time: about 50 MB with ten items on a page, which caches like."""

_EVENTS = 4
"""Events that are worked on at a time, for each of these exposures."""

BLOCK_ROWS = 250_000
"""Events that are read at a time, about 20 MB: they may lie in the store in any order."""


class OutcomeSource:
    """Reader of exposures and events by time, newest first.

    Args:
        store: The store.
        types: Event types that matter.
        lake: The store's lake, from which what expired is read; None without one.
        chunk_rows: Exposures of one chunk, about; None for :data:`CHUNK_ROWS`.
        block_rows: Events that are read at a time, about.
    """

    def __init__(
        self,
        store: Store,
        types: Collection[str],
        lake: LakeFolder | None = None,
        chunk_rows: int | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self._store = store
        self._types = frozenset(types)
        self._lake = lake
        self._chunk_rows = chunk_rows or CHUNK_ROWS
        self._block_rows = block_rows
        self._block = 0, 0, EVENT_COLUMNS.empty_table()
        self._events: dict[int, pa.Table] = {}
        self._expired: dict[int, list[LakeFile]] = {}
        for file in [] if lake is None else lake.exposure_files():
            if file.day is not None:
                self._expired.setdefault(file.day, []).append(file)

    @property
    def days(self) -> range:
        """Days, since 1970, from the oldest exposure to the newest; empty without any."""
        span = self._store.exposure_span()
        ends = [] if span is None else [moment // DAY_MS for moment in span]
        ends += self._expired
        return range(min(ends), max(ends) + 1) if ends else range(0)

    def expired(self, day: int) -> bool:
        """Whether exposures of a day are in the lake."""
        return day in self._expired

    def chunks(self, first: int, last: int) -> Iterator[tuple[int, int, pa.Table]]:
        """Exposures of a span, from the newest to the oldest, in chunks that meet.

        Args:
            first: Milliseconds since the epoch.
            last: The end, not included.

        Yields:
            Beginning and end of a part of the span, and its exposures.
        """
        for day in range((last - 1) // DAY_MS, first // DAY_MS - 1, -1):
            begin, end = max(first, day * DAY_MS), min(last, (day + 1) * DAY_MS)
            if day in self._expired:
                yield from self._of_lake(day, begin, end)
                continue
            while end > begin:
                most = {"exposures": self._chunk_rows, "events": _EVENTS * self._chunk_rows}
                cut = self._store.outcome_cut(begin, end, most)
                yield cut, end, self._store.exposures_between(cut, end)
                end = cut

    def events(self, first: int, last: int, earliest: int | None = None) -> pa.Table:
        """Events of a span; see :meth:`recserve.store.outcomes.OutcomeStore.outcome_events`.

        Args:
            first: Milliseconds since the epoch.
            last: The end, not included.
            earliest: The beginning of all that will be asked for, one span before the other; None for this
                span alone.
        """
        found = self._stored(first, last, first if earliest is None else earliest)
        days = range(first // DAY_MS, min(last // DAY_MS, max(self._expired, default=-1)) + 1)
        if self._lake is None or not days:
            return found
        every = pa.concat_tables([found, *(self._events_of(self._lake, day, first, last) for day in days)])
        # What has not expired yet is in both, under the same number.
        _, places = np.unique(every["seq"].to_numpy(), return_index=True)
        return every.take(pa.array(places))

    def _stored(self, first: int, last: int, earliest: int) -> pa.Table:
        """Events of the store, of which more are read than are asked for now."""
        begin, end, _ = self._block
        if not (begin <= first and last <= end):
            begin = first
            if earliest < first:
                begin = min(first, self._store.outcome_cut(earliest, last, {"events": self._block_rows}))
            # What is in the store and in the lake is told by its number.
            found = self._store.outcome_events(begin, last, self._types, numbered=self._lake is not None)
            self._block = begin, last, found
        return _within(self._block[2], first, last)

    def _events_of(self, lake: LakeFolder, day: int, first: int, last: int) -> pa.Table:
        """Events of a day of the lake that happened in a span."""
        if day not in self._events:
            wanted = pa.array(sorted(self._types), pa.string())
            parts = [EVENT_COLUMNS.empty_table()]
            for file in lake.files():
                if file.numbers is not None and file.day == day:
                    rows = current_events(lake.read(file), self._store.withdrawn())
                    rows = rows.filter(
                        pc.and_(pc.is_in(rows["event"], wanted), pc.not_equal(rows["item_id"], ""))
                    )
                    parts.append(_hashed(rows).select(EVENT_COLUMNS.names).cast(EVENT_COLUMNS))
            # A chunk and its window are seldom of more than two days.
            self._events = {near: self._events[near] for near in self._events if abs(near - day) <= 1}
            self._events[day] = pa.concat_tables(parts)
        return _within(self._events[day], first, last)

    def _of_lake(self, day: int, first: int, last: int) -> Iterator[tuple[int, int, pa.Table]]:
        """Exposures of a day some of which have expired; the others are still in the store."""
        assert self._lake is not None  # which files of it were found
        withdrawn = self._store.withdrawn()
        parts = [self._store.exposures_between(first, last)]
        for file in self._expired[day]:
            rows = _hashed(current_exposures(self._lake.read(file), withdrawn))
            parts.append(_as_stored(rows))
        every = pa.concat_tables(parts)
        ids, codes = encoded(every["recommendation_id"])
        places = np.zeros(len(ids), np.int64)
        places[codes] = np.arange(len(codes))  # an expiry that was interrupted leaves some in both
        moments = every["timestamp"].to_numpy()[places]
        places = places[np.argsort(moments, kind="stable")]
        moments = np.sort(moments)
        end = last
        while end > first:
            until = int(np.searchsorted(moments, end))
            cut = first if until <= self._chunk_rows else int(moments[until - self._chunk_rows - 1]) + 1
            cut = min(cut, end - 1)
            begin = int(np.searchsorted(moments, cut))
            yield cut, end, every.take(pa.array(places[begin:until]))
            end = cut


def _within(rows: pa.Table, first: int, last: int) -> pa.Table:
    """Rows with a timestamp in a span."""
    moments = rows["timestamp"]
    return rows.filter(pc.and_(pc.greater_equal(moments, first), pc.less(moments, last)))


def _hashed(rows: pa.Table) -> pa.Table:
    """Rows of a lake with the hash of their user, null for an anonymous session."""
    users = rows["user_id"].combine_chunks().dictionary_encode()
    hashes = [hash_of(user_id) for user_id in users.dictionary.to_pylist()]
    codes = users.indices
    return rows.append_column("user_hash", pa.array(hashes, pa.int64()).take(codes))


def _as_stored(rows: pa.Table) -> pa.Table:
    """Exposures with the columns of today; files of earlier versions lack some."""
    columns = []
    for field in EXPOSURE_COLUMNS:
        if field.name not in rows.schema.names:
            columns.append(pa.nulls(len(rows), field.type))
        elif pa.types.is_dictionary(field.type):
            columns.append(rows[field.name].dictionary_encode())
        else:
            columns.append(rows[field.name].cast(field.type))
    return pa.table(columns, schema=EXPOSURE_COLUMNS)


def ahead(parts: Iterator[T]) -> Iterator[T]:
    """The same, each made in another thread while the one before is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="outcomes") as pool:
        following = pool.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = pool.submit(next, parts, None)
            yield part
