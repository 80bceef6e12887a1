"""Incremental export of a store's events into its lake: every event once, whatever is interrupted when."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recserve.data.arrays import Int64Array
from recserve.data.columns.codes import encoded
from recserve.data.system.files import held_alone
from recserve.errors import DataError
from recserve.store.lake.folder import RECORD, LakeFolder, LakeRecord, days_of
from recserve.store.lake.withdrawal import marks_of, supersede, withdraw
from recserve.store.protocol import Store

LOCK = "lake.lock"

_EXPOSURE_KEY = "recommendation_id"
_READ_ROWS = 100_000
_FILE_ROWS = 2_000_000
"""Events that are written together, a file a day: fewer would leave many small files of a long history."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of one export.

    Attributes:
        events: Events written.
        files: Files written.
        withdrawn: Rows removed because they no longer count.
        next_event: Events after this number come next.
    """

    events: int
    files: int
    withdrawn: int
    next_event: int


class LakeExport:
    """Writer of a store's events into one lake.

    A file is named by the numbers of the events that it was written for, and counts once the lake's record
    has reached them. So files of an interrupted export are known by their names; the next one removes them.

    Args:
        store: The store.
        lake: The lake; a folder that is new or empty, or that this store has written before.
        home: The home folder: one export of a home writes at a time.
        file_rows: At most so many events are written together.
    """

    def __init__(self, store: Store, lake: LakeFolder, home: Path, file_rows: int = _FILE_ROWS) -> None:
        self._store = store
        self._lake = lake
        self._home = home
        self._file_rows = file_rows

    def run(
        self, progress: Callable[[int, int], None] = lambda done, total: None, *, cleaning: bool = True
    ) -> Exported:
        """Write everything new, and remove what no longer counts.

        Args:
            progress: Called with the events written so far, twice.
            cleaning: Look for rows of deleted people and of events that were taken back, in all files.

        Raises:
            DataError: The lake cannot be written, or is somebody else's, or another export is writing.
            StoreError: The database failed.
        """
        with self._alone():
            return self._run(progress, cleaning)

    def expire(self, before: int) -> tuple[int, int]:
        """Remove what is older than a moment from the store, once it is in the lake.

        Args:
            before: Milliseconds since the epoch.

        Returns:
            Events and exposures removed from the store.

        Raises:
            DataError: As for :meth:`run`.
            StoreError: The database failed.
        """
        with self._alone():
            written = self._run().next_event
            return self._store.expire_events(before, written), self._expire_exposures(before)

    def _expire_exposures(self, before: int) -> int:
        record = self._begin()
        # An interruption may have come after the last batch was written and before it left the store.
        last = [file for file in self._lake.exposure_files() if file.batch == record.next_exposures - 1]
        removed = sum(self._remove(self._lake.read(file, [_EXPOSURE_KEY])) for file in last)
        while len(found := self._store.old_exposures(before, _READ_ROWS)):
            for day, rows in _by_day(found):
                self._lake.write(self._lake.new_exposures(day, record.next_exposures), rows)
            record = record.model_copy(update={"next_exposures": record.next_exposures + 1})
            self._lake.write_record(record)
            removed += self._remove(found)
        return removed

    def _remove(self, exposures: pa.Table) -> int:
        return self._store.remove_exposures(exposures[_EXPOSURE_KEY].to_pylist())

    def _alone(self) -> AbstractContextManager[None]:
        refusal = DataError(f"another export of {self._home} is writing a lake; wait for it or stop it")
        return held_alone(self._home / LOCK, refusal)

    def _run(
        self, progress: Callable[[int, int], None] = lambda done, total: None, cleaning: bool = True
    ) -> Exported:
        record = self._begin()
        for file in self._lake.unfinished():
            self._lake.remove(file)
        events = files = withdrawn = 0
        while True:
            found, reached = self._read(record.next_event)
            if not len(found):
                break
            for day, rows in _by_day(found):
                self._lake.write(self._lake.new_file(day, record.next_event + 1, reached), rows)
                files += 1
            # Before they count: after an interruption they are written again, and nothing is there twice.
            withdrawn += supersede(self._lake, found, self._store.merge_targets())
            record = record.model_copy(update={"next_event": reached})
            self._lake.write_record(record)
            events += len(found)
            progress(events, events)
        if cleaning:
            record, cleaned = withdraw(self._lake, self._store, record)
            withdrawn += cleaned
        return Exported(events, files, withdrawn, record.next_event)

    def _begin(self) -> LakeRecord:
        """The record of the lake; a new one where there is none yet."""
        own = hashlib.sha256(self._store.secret("lake").encode()).hexdigest()
        record = self._lake.record()
        if record is None:
            if self._lake.files():
                raise DataError(
                    f"{self._lake.where} holds files of another program; name a folder that is new or empty"
                )
            self._lake.create()
            # What was withdrawn before is not written at all.
            record = LakeRecord(store=own, **marks_of(self._store.withdrawn()))
            self._lake.write_record(record)
        elif record.store != own:
            raise DataError(
                f"{self._lake.where}/{RECORD} is of another store, whose events have other numbers; name a "
                "folder that is new or empty"
            )
        return record

    def _read(self, after: int) -> tuple[pa.Table, int]:
        """New events, as many as are written together, and the number that they reach."""
        parts, reached, rows = [], after, 0
        while rows < self._file_rows:
            limit = min(_READ_ROWS, self._file_rows - rows)
            part, reached = self._store.events_after(reached, limit)
            parts.append(part)
            rows += len(part)
            if len(part) < limit:
                break
        return _newest(pa.concat_tables(parts)), reached


def _newest(events: pa.Table) -> pa.Table:
    """The last row of each event: a session may have been merged between two reads."""
    ids, codes = encoded(events["event_id"])
    if len(ids) == len(codes):
        return events
    last = np.zeros(len(ids), np.int64)
    last[codes] = np.arange(len(codes))
    return events.take(pa.array(np.sort(last)))


def _by_day(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Rows of each day, by their ``timestamp``, in the order in which they were."""
    days: Int64Array = days_of(rows["timestamp"].to_numpy())
    order = np.argsort(days, kind="stable")
    names, starts = np.unique(days[order], return_index=True)
    for day, places in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        yield day, rows.take(pa.array(places))
