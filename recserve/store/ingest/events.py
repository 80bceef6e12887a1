"""Event files as canonical Arrow tables."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import nearest
from recserve.data.arrays import Int64Array
from recserve.errors import DataError
from recserve.store.ingest.columns import number_column, reject_bad_ids, text_column, time_column
from recserve.store.ingest.delimited import Block
from recserve.store.ingest.formats import EventLayout, Reading, open_events, recognise_events
from recserve.store.ingest.problems import Findings, RowProblem, columns_hint, conclude, quoted

EVENT_SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
    }
)

_SYNTHETIC_STEP_MS = 1000


def read_events(
    path: Path,
    event_types: Collection[str],
    strict: bool = False,
    require_timestamp: bool = True,
    now_ms: int | None = None,
    layout: EventLayout | None = None,
) -> tuple[pa.Table, list[RowProblem]]:
    """Read events from a CSV, Parquet, JSON or Excel file.

    Columns ``user_id`` and ``item_id`` are needed; ``event``, ``value`` (or ``rating``), ``timestamp``
    and ``event_id`` are understood; others are ignored. An event without a type is a ``rating`` if it
    has a value, else a ``view``. Times are seconds or milliseconds since 1970 (numbers below 1e11
    are seconds) or ISO 8601 text, UTC unless it names an offset.

    Args:
        path: The file.
        event_types: Names of the configured event types.
        strict: Refuse the whole file if any row is bad.
        require_timestamp: Refuse a file without a column ``timestamp``. Otherwise such rows get
            times in the order of the file, one second apart.
        now_ms: The moment after which (and a day) times are refused; default: now.
        layout: How the file is read; default: as it is recognised.

    Returns:
        Canonical events in the order of the file (see :class:`recserve.Tables`), with an empty
        ``event_id`` where the file has none (see :func:`with_event_ids`), and the rows that were
        left out.

    Raises:
        DataError: The file cannot be read, lacks a column, holds no usable row, or ``strict``.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    problems: list[RowProblem] = []
    batches: list[pa.RecordBatch] = []
    layout = layout or recognise_events(path, Reading())
    with open_events(path, layout) as source:
        _check_header(source.header, path, require_timestamp)
        timed = "timestamp" in source.header
        for block in source.blocks:
            batch, found = _read_block(block, str(path), event_types, now_ms if timed else None)
            batches.append(batch)
            problems += found
    problems.sort(key=lambda problem: problem.line)
    events = pa.Table.from_batches(batches, EVENT_SCHEMA)
    conclude(str(path), len(events), problems, strict)
    if not timed:
        order = pa.array(np.arange(len(events), dtype=np.int64) * _SYNTHETIC_STEP_MS)
        events = events.set_column(5, EVENT_SCHEMA.field("timestamp"), order)
    return events, problems


def with_event_ids(events: pa.Table) -> pa.Table:
    """The same events with an id wherever one is missing or empty.

    The id is a hash of user, item, type, value and time; the second of two equal events gets a
    number as well. So importing the same file again gives the same ids and stores nothing twice.

    Args:
        events: Canonical events.
    """
    known = events["event_id"].combine_chunks().fill_null("")
    missing = np.flatnonzero(pc.equal(known, "").to_numpy(zero_copy_only=False))
    if len(missing) == 0:
        return events
    unnamed = events.take(pa.array(missing))
    # Bits, not digits, of the value: how a number is written is no part of an event.
    bits = (unnamed["value"].fill_null(0.0).to_numpy() + 0.0).view(np.int64)
    parts = [
        *(unnamed[name].to_pylist() for name in ("user_id", "item_id", "event")),
        pc.if_else(unnamed["value"].is_valid(), pa.array(bits).cast(pa.string()), "").to_pylist(),
        unnamed["timestamp"].cast(pa.string()).to_pylist(),
    ]
    ids = [
        hashlib.blake2b("\x00".join(fields).encode(), digest_size=16).hexdigest()
        for fields in zip(*parts, strict=True)
    ]
    for row, number in _repeats(ids):
        ids[row] += f"-{number}"
    names = known.to_numpy(zero_copy_only=False)
    names[missing] = ids
    return events.set_column(0, EVENT_SCHEMA.field("event_id"), pa.array(names, pa.string()))


def _repeats(ids: list[str]) -> list[tuple[int, int]]:
    """Position and number (1, 2, ...) of each id that occurred before."""
    if len(set(ids)) == len(ids):
        return []
    seen: dict[str, int] = {}
    found = []
    for row, one in enumerate(ids):
        number = seen[one] = seen.get(one, -1) + 1
        if number:
            found.append((row, number))
    return found


def _check_header(header: list[str], path: Path, require_timestamp: bool) -> None:
    needed = ["user_id", "item_id", *(["timestamp"] if require_timestamp else [])]
    for name in needed:
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}{columns_hint(name, header)}; needed are "
                f"{', '.join(needed)}; understood too: event, value, rating. Say which column it is with "
                f"{'--time COLUMN (or none)' if name == 'timestamp' else f'--map {name}=COLUMN'}",
                field=name,
            )


def _read_block(
    block: Block, file: str, event_types: Collection[str], now_ms: int | None
) -> tuple[pa.RecordBatch, list[RowProblem]]:
    """Canonical events of the good rows; times are 0 for now when the file has none."""
    findings = Findings(file, block.lines)
    empty = pa.nulls(len(block.lines), pa.string())

    def text(name: str) -> pa.Array:
        return text_column(block.columns.get(name, empty), name, file)

    users, items = text("user_id"), text("item_id")
    reject_bad_ids(users, "user_id", findings)
    reject_bad_ids(items, "item_id", findings)
    value_name = "value" if "value" in block.columns else "rating"
    raw_values = block.columns.get(value_name, empty)
    if value_name == "value" and "rating" in block.columns:
        raw_values = pc.coalesce(raw_values, block.columns["rating"])
    values = number_column(raw_values, value_name, findings)
    rated = pa.array(~np.isnan(values))
    events = pc.coalesce(text("event"), pc.if_else(rated, "rating", "view"))
    known = pc.is_in(events, pa.array(list(event_types), pa.string()))
    findings.reject(
        ~np.asarray(known.to_numpy(zero_copy_only=False), dtype=np.bool_),
        lambda row: (
            f"unknown event type {quoted(events[row].as_py())}"
            f"{nearest(events[row].as_py()[:60], event_types)}"
        ),
    )
    if now_ms is None:
        times: Int64Array = np.zeros(len(block.lines), dtype=np.int64)
    else:
        times = time_column(block.columns.get("timestamp", empty), "timestamp", findings, now_ms)
    batch = pa.record_batch(
        [
            text("event_id").fill_null(""),
            users,
            items,
            events,
            pa.array(values, from_pandas=True),
            pa.array(times),
        ],
        schema=EVENT_SCHEMA,
    )
    if not findings.good.all():
        batch = batch.filter(pa.array(findings.good))
    return batch, block.problems + findings.problems
