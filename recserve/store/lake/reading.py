"""Reading a lake for training: the days of a window, in streams, checked as an import checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.columns.spool import EventSpool
from recserve.data.entities import DAY_MS, EventType, now_ms
from recserve.errors import DataError
from recserve.store.ingest import ITEM_SCHEMA, FileReport, parquet_events, read_items
from recserve.store.ingest.files.sources import open_parquet, parquet_batches
from recserve.store.ingest.problems import conclude
from recserve.store.lake.folder import LakeFile, LakeFolder

_COLUMNS = ("user_id", "item_id", "event", "value", "timestamp")
_CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Span:
    """Window of days that events are read of.

    Attributes:
        since: First day, days since 1970 (UTC); None for the oldest.
        until: The day after the last one; None for the newest.
    """

    since: int | None = None
    until: int | None = None

    def misses(self, file: LakeFile) -> bool:
        """Whether no event of a file is in the window, as its folder says."""
        if file.day is None:
            return False
        early = self.since is not None and file.day < self.since
        return early or (self.until is not None and file.day >= self.until)

    def part(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events of a batch that are in the window."""
        moments = batch["timestamp"]
        if self.since is not None:
            batch = batch.filter(pc.greater_equal(moments, self.since * DAY_MS))
            moments = batch["timestamp"]
        if self.until is not None:
            batch = batch.filter(pc.less(moments, self.until * DAY_MS))
        return batch


@dataclass(frozen=True, slots=True)
class LakeEvents:
    """Events of a lake.

    Attributes:
        table: Canonical events (see :class:`recserve.Tables`) over memory-mapped files, without ids.
        report: What became of the rows of the files that were read.
        files: Files that were read.
        pruned: Files of days outside of the window, which were not.
        outside: Good rows of the files that were read that are outside of the window.
        last_event: Number of the store's last event that is in the lake; None if no store writes it.
    """

    table: pa.Table
    report: FileReport
    files: int
    pruned: int
    outside: int
    last_event: int | None


def read_lake(
    lake: LakeFolder,
    event_types: Mapping[str, EventType],
    folder: Path,
    span: Span | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LakeEvents:
    """Read the events of a lake.

    Files of other programs are read and checked as ``recserve import`` does. Those that a store wrote hold
    what the store holds, and are taken as they are.

    Args:
        lake: The lake: a folder, or one Parquet file.
        event_types: The configured event types by name.
        folder: Where the columns are kept on disk.
        span: Days that count, by the events' own times.
        progress: Called with the files done and the files there are.

    Raises:
        DataError: There is no file, one is damaged or lacks a column, or nothing good is in any.
    """
    span = span or Span()
    every = lake.files()
    if not every:
        raise DataError(f"{lake.where} holds no Parquet files; check the path")
    files = [file for file in every if not span.misses(file)]
    if not files:
        raise DataError(
            f"{lake.where} holds no day of the window; its files are {every[0].name} to {every[-1].name}"
        )
    report = FileReport(lake.where, "events")
    spool = EventSpool(folder)
    present, outside = now_ms(), 0
    record = lake.record()
    for done, file in enumerate(files, 1):
        report.file = lake.label(file)
        with lake.open(file) as opened:
            batches = (
                _as_they_are(opened, report)
                if record is not None and file.numbers is not None
                else parquet_events(opened, report, event_types, present)
            )
            for batch in batches:
                inside = span.part(batch)
                outside += len(batch) - len(inside)
                spool.extend([inside])
        progress(done, len(files))
    report.file = lake.where
    conclude(report, strict=False)
    return LakeEvents(
        spool.table(),
        report,
        files=len(files),
        pruned=len(every) - len(files),
        outside=outside,
        last_event=None if record is None else record.next_event,
    )


def _as_they_are(file: pa.NativeFile, report: FileReport) -> Iterator[pa.RecordBatch]:
    parquet = open_parquet(file, report.file, may_be_empty=True)
    # Files of earlier versions have no contexts.
    said = [_CONTEXT] if _CONTEXT in parquet.schema_arrow.names else []
    for _, batch in parquet_batches(parquet, [*_COLUMNS, *said], report.file):
        report.rows += len(batch)
        report.taken += len(batch)
        yield batch


def read_lake_items(lake: LakeFolder, folder: Path) -> tuple[pa.Table, list[FileReport]]:
    """Read the items of a lake: a file of any kind that an import reads, or the Parquet files of a folder.

    Args:
        lake: The file or folder.
        folder: Where files of object storage are copied to while they are read.

    Returns:
        Canonical items (see :class:`recserve.Tables`), of several of one id the last, and what became of the
        rows of each file.

    Raises:
        DataError: There is no file, or one cannot be read.
    """
    files = lake.files()
    if not files:
        raise DataError(f"{lake.where} holds no Parquet files; check the path")
    found: dict[str, str] = {}
    reports = []
    for file in files:
        with lake.local_copy(file, folder) as path:
            table, report = read_items(path)
        report.file = lake.label(file)
        reports.append(report)
        found.update(zip(table["item_id"].to_pylist(), table["attributes"].to_pylist(), strict=True))
    return pa.table([list(found), list(found.values())], schema=ITEM_SCHEMA), reports
