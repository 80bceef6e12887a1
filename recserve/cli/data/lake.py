"""The event lake on the command line: writing it, and training from one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    out,
    progress_display,
    record,
    show_problems,
    warn,
)
from recserve.cli.data.accounting import MOST_BAD, Row, file_account, show_account
from recserve.errors import ConfigError, DataError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from recserve.data.columns.named_vectors import NamedVectors
    from recserve.data.dataset import Tables
    from recserve.store.ingest import FileReport
    from recserve.store.lake import LakeEvents, LakeExport, LakeFolder, Span

CLEANING_SECONDS = 3600.0
"""A follower looks this often for rows that no longer count: it reads all files for that."""


def export_to_lake(state: State, where: str, every: float | None) -> None:
    """Write what is new into a lake, once or until interrupted.

    Args:
        state: The home.
        where: Path or URI of the lake.
        every: Seconds between two looks; None looks once.

    Raises:
        DataError: The lake cannot be written.
        StoreError: The database failed.
    """
    from recserve.store.lake import LakeExport, LakeFolder

    with state.store as store:
        lake = LakeFolder(where)
        export = LakeExport(store, lake, state.home)
        _run(export, lake.where, quiet=False)
        cleaned = time.monotonic()
        while every is not None:
            try:
                time.sleep(every)
                due = time.monotonic() >= cleaned + CLEANING_SECONDS
                _run(export, lake.where, quiet=True, cleaning=due)
                cleaned = time.monotonic() if due else cleaned
            except (DataError, StoreError) as error:
                # What is there stays right, and the next round begins where this one did.
                warn(f"{error.message}; trying again in {every:g} s")
            except KeyboardInterrupt:
                return


def expire_command(
    days: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="Instead of store.retention_days."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Remove old events, exposures and impressions of users from the database. For cron.

    What reports need of them is counted first and kept. Days whose outcomes are still open stay.
    """
    from recserve.data.entities import DAY_MS, now_ms
    from recserve.outcomes.daily import Rollup
    from recserve.store.lake import LakeExport, LakeFolder

    state = State(home, config)
    age = state.config.store.retention_days if days is None else days
    if age is None:
        raise ConfigError("set store.retention_days in recserve.yaml, or give --older-than DAYS")
    now, lake = now_ms(), LakeFolder.of(state.config.store.lake)
    with state.store as store:
        # What became of recommendations is counted before they go.
        before = Rollup(store, state.config, lake, now).finish(now - int(age * DAY_MS))
        if lake is None:
            events, exposures = store.expire_events(before), store.expire_exposures(before)
        else:
            events, exposures = LakeExport(store, lake, state.home).expire(before)
        impressions = store.expire_impressions(now - int(age * DAY_MS))
        store.expire_daily((now - int(state.config.outcomes.keep_days * DAY_MS)) // DAY_MS)
        removed = {"events": events, "exposures": exposures, "impressions": impressions}
        record(store, "store.expire", "", {**removed, "days": age})
    out.print(
        f"{events:,} events, {exposures:,} exposures and {impressions:,} impressions of users older than "
        f"{age:g} days removed",
        soft_wrap=True,
    )


def _run(export: LakeExport, where: str, *, quiet: bool, cleaning: bool = True) -> None:
    with progress_display() as progress:
        done = export.run(
            lambda written, total: progress("Writing events", written, total), cleaning=cleaning
        )
        progress.finish()
    if quiet and not (done.events or done.withdrawn):
        return
    gone = f", {done.withdrawn:,} rows removed that no longer count" if done.withdrawn else ""
    out.print(
        f"{done.events:,} events in {done.files:,} files -> {where}{gone}; next_event {done.next_event}",
        markup=False,
        soft_wrap=True,
    )


@dataclass(frozen=True)
class TrainingSource:
    """Where `recserve train` takes its data from, as given on the command line.

    Attributes:
        events: Path or URI of a lake; None for the store.
        items: Path or URI of items; None for the store's catalogue.
        since: First day of the events that count, such as 2026-01-31 (UTC).
        until: The day after the last one.
    """

    events: str | None = None
    items: str | None = None
    since: str | None = None
    until: str | None = None

    def tables(self, state: State, progress: Any) -> Tables:
        """Read the data, and say what became of the rows of files.

        Raises:
            ConfigError: Options that contradict each other.
            DataError: Something cannot be read, or too much of it is bad.
        """
        from recserve.data.dataset import Tables

        if self.events is None:
            if self.items or self.since or self.until:
                raise ConfigError("--items, --since and --until need --events PATH_OR_URL")
            return state.store.snapshot()
        span, lake = self._span(), _lake(self.events)
        sections: dict[str, list[Row]] = {}
        items, version, vectors = self._items(state, sections)
        if not len(items):
            raise DataError("the store has no items; import some, or give --items PATH_OR_URL")
        found = self._events(state, lake, span, sections, progress)
        show_account("file", "rows", sections)
        if not len(found.table):
            raise DataError(f"no event of {lake.where} is in the window; mend --since and --until")
        return Tables(items, found.table, version, found.last_event, vectors=vectors)

    def _events(
        self, state: State, lake: LakeFolder, span: Span, sections: dict[str, list[Row]], progress: Any
    ) -> LakeEvents:
        from recserve.store.lake import read_lake

        found = read_lake(
            lake,
            state.config.event_types,
            state.home,
            span,
            lambda done, total: progress("Reading events", done, total),
        )
        taken: list[Row] = [("read for training", found.report.taken - found.outside, "")]
        if found.outside:
            taken.append(("outside of the window", found.outside, ""))
        sections[f"{lake.where} (events)"] = [
            ("files read", found.files, ""),
            *([("files of days outside of the window", found.pruned, "")] if found.pruned else []),
            *file_account(found.report, taken),
        ]
        _check(found.report)
        return found

    def _items(
        self, state: State, sections: dict[str, list[Row]]
    ) -> tuple[pa.Table, int | None, Mapping[str, NamedVectors]]:
        """Items, the version of the store's catalogue if they are its, and its named vectors."""
        from recserve.store.lake import read_lake_items

        if self.items is None:
            stored = state.store.snapshot(events=False)
            return stored.items, stored.version, stored.vectors
        table, reports = read_lake_items(_lake(self.items), state.home)
        for report in reports:
            taken = ("read for training", report.taken, "")
            sections[f"{report.file} (items)"] = file_account(report, [taken])
            _check(report)
        return table, None, {}

    def _span(self) -> Span:
        from recserve.store.lake import Span

        return Span(_day("--since", self.since), _day("--until", self.until))


def _lake(where: str) -> LakeFolder:
    from recserve.store.lake import LakeFolder

    return LakeFolder(where)


def _day(option: str, text: str | None) -> int | None:
    from recserve.store.lake.folder import day_of

    if text is None:
        return None
    day = day_of(text) if len(text) == len("2026-01-31") else None
    if day is None:
        raise ConfigError(f"{option} {text!r} is no day such as 2026-01-31")
    return day


def _check(report: FileReport) -> None:
    show_problems([report])
    if report.bad_share > MOST_BAD:
        raise DataError(
            f"nothing was trained: {report.count('error'):,} of {report.rows:,} rows of {report.file} are "
            f"bad, more than a share of {MOST_BAD:g}; mend the files"
        )
