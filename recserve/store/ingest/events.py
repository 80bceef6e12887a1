"""Event files as canonical Arrow tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import nearest
from recserve.data.arrays import BoolArray, Int64Array
from recserve.data.entities import EventType
from recserve.data.entities import now_ms as present
from recserve.errors import DataError
from recserve.store.ingest.columns import (
    context_column,
    id_column,
    name_column,
    number_column,
    text_column,
    time_column,
)
from recserve.store.ingest.columns.plain import FloatColumn, mask
from recserve.store.ingest.files.delimited import Block
from recserve.store.ingest.files.sources import open_parquet, parquet_source
from recserve.store.ingest.formats import (
    EVENT_COLUMNS,
    EventLayout,
    Reading,
    canonical_source,
    open_events,
    recognise_event_columns,
    recognise_events,
)
from recserve.store.ingest.problems import FileReport, Findings, columns_hint, conclude, quoted

EVENT_SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
        "text": pa.string(),
        "context": pa.string(),
    }
)

_SYNTHETIC_STEP_MS = 1000


def read_events(
    path: Path,
    event_types: Mapping[str, EventType],
    strict: bool = False,
    require_timestamp: bool = True,
    now_ms: int | None = None,
    layout: EventLayout | None = None,
) -> tuple[pa.Table, FileReport]:
    """Read events from a CSV, Parquet, JSON or Excel file.

    Columns ``user_id`` and ``item_id`` (or ``text``) are needed; ``event``, ``value`` (or ``rating``),
    ``timestamp``, ``text``, ``context`` and ``event_id`` are understood; others are ignored. An event
    without a type is a ``rating`` if it has a value, a ``search`` if it has a text and no item, else a
    ``view``. Times are seconds or milliseconds since 1970 (numbers below 1e11 are seconds) or ISO 8601 text,
    UTC unless it names an offset. Texts are brought onto one line and cut where they are too long; a context
    that is no flat JSON object of bounded size is left out. What else ``POST /v1/events`` refuses is refused
    here too.

    Args:
        path: The file.
        event_types: The configured event types by name.
        strict: Refuse the whole file if any row is bad.
        require_timestamp: Refuse a file without a column ``timestamp``. Otherwise such rows get
            times in the order of the file, one second apart.
        now_ms: The moment after which (and a day) times are refused; default: now.
        layout: How the file is read; default: as it is recognised.

    Returns:
        Canonical events in the order of the file (see :class:`recserve.Tables`), with an empty
        ``event_id`` where the file has none (see :func:`with_event_ids`), and what became of each row.

    Raises:
        DataError: The file cannot be read, lacks a column, holds no usable row, or ``strict``.
    """
    now = present() if now_ms is None else now_ms
    report = FileReport(str(path), "events")
    batches: list[pa.RecordBatch] = []
    layout = layout or recognise_events(path, Reading(event_types=event_types))
    with open_events(path, layout) as source:
        header = set(source.header)
        report.ignored = [name for name in source.header if name not in EVENT_COLUMNS]
        if not source.sparse:
            _check_header(source.header, path, require_timestamp)
        timed = require_timestamp or "timestamp" in header
        for block in source.blocks:
            header.update(name for name, cells in block.columns.items() if cells.null_count < len(cells))
            batches.append(_read_block(block, report, event_types, now if timed else None))
        if source.sparse:
            _check_header(list(header), path, require_timestamp)
    events = pa.Table.from_batches(batches, EVENT_SCHEMA)
    conclude(report, strict)
    if not timed:
        order = pa.array(np.arange(len(events), dtype=np.int64) * _SYNTHETIC_STEP_MS)
        events = events.set_column(5, EVENT_SCHEMA.field("timestamp"), order)
    return events, report


def parquet_events(
    file: pa.NativeFile, report: FileReport, event_types: Mapping[str, EventType], now_ms: int
) -> Iterator[pa.RecordBatch]:
    """Canonical events of one Parquet file of several, read and checked as :func:`read_events` does.

    Args:
        file: The open file.
        report: What became of each row is counted here; its ``file`` names the file in messages.
        event_types: The configured event types by name.
        now_ms: The moment after which (and a day) times are refused.

    Raises:
        DataError: The file cannot be read or lacks a column.
    """
    name = report.file
    parquet = open_parquet(file, name, may_be_empty=True)
    layout = recognise_event_columns(name, parquet.schema_arrow.names, Reading(event_types=event_types))
    source = canonical_source(parquet_source(parquet, name, layout.wanted), layout)
    unread = (column for column in source.header if column not in EVENT_COLUMNS)
    report.ignored = list(dict.fromkeys((*report.ignored, *unread)))
    _check_header(source.header, name, require_timestamp=True)
    for block in source.blocks:
        yield _read_block(block, report, event_types, now_ms)


def check_events(
    events: pa.Table, name: str, event_types: Mapping[str, EventType]
) -> tuple[pa.Table, FileReport]:
    """Canonical events from elsewhere, checked as those of a file are.

    Args:
        events: Canonical events (see :class:`recserve.Tables`).
        name: Where they come from.
        event_types: The configured event types by name.

    Returns:
        The good ones, and what became of each.
    """
    report = FileReport(name, "events")
    place = events.schema.get_field_index("timestamp")
    # Canonical times are milliseconds, whatever they look like.
    typed = events.set_column(place, "timestamp", events["timestamp"].cast(pa.timestamp("ms")))
    batches, now = [], present()
    for batch in typed.to_batches():
        lines = np.arange(report.rows + 1, report.rows + 1 + len(batch), dtype=np.int64)
        block = Block(dict(zip(batch.schema.names, batch.columns, strict=True)), lines, [])
        batches.append(_read_block(block, report, event_types, now))
    return pa.Table.from_batches(batches, EVENT_SCHEMA), report


def with_event_ids(events: pa.Table) -> pa.Table:
    """The same events with columns of texts and contexts, and with an id wherever one is missing or empty.

    The id is a hash of user, item (or text, where there is no item), type, value and time; the second of two
    equal events gets a number as well. So importing the same file again gives the same ids and stores
    nothing twice.

    Args:
        events: Canonical events.
    """
    for name in ("text", "context"):
        if name not in events.schema.names:
            events = events.append_column(EVENT_SCHEMA.field(name), pa.nulls(len(events), pa.string()))
    known = events["event_id"].combine_chunks().fill_null("")
    missing = np.flatnonzero(pc.equal(known, "").to_numpy(zero_copy_only=False))
    if len(missing) == 0:
        return events
    unnamed = events.take(pa.array(missing))
    # Bits, not digits, of the value: how a number is written is no part of an event.
    bits = (unnamed["value"].fill_null(0.0).to_numpy() + 0.0).view(np.int64)
    # A text beside an item says nothing of which event it is: files may leave it out.
    subjects = pc.if_else(pc.equal(unnamed["item_id"], ""), unnamed["text"], unnamed["item_id"])
    parts = [
        unnamed["user_id"].to_pylist(),
        subjects.to_pylist(),
        unnamed["event"].to_pylist(),
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
    for row, event_id in enumerate(ids):
        number = seen[event_id] = seen.get(event_id, -1) + 1
        if number:
            found.append((row, number))
    return found


def _check_header(header: list[str], path: Path | str, require_timestamp: bool) -> None:
    subject = ["text"] if "text" in header and "item_id" not in header else ["item_id"]
    needed = ["user_id", *subject, *(["timestamp"] if require_timestamp else [])]
    for name in needed:
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}{columns_hint(name, header)}; needed are "
                f"{', '.join(needed)}; understood too: event, value, rating, text, context. Say which column "
                f"it is with {'--time COLUMN (or none)' if name == 'timestamp' else f'--map {name}=COLUMN'}",
                field=name,
            )


def _read_block(
    block: Block, report: FileReport, event_types: Mapping[str, EventType], now_ms: int | None
) -> pa.RecordBatch:
    """Canonical events of the good rows; times are 0 for now when the file has none."""
    for problem in block.problems:
        report.count_row(problem)
    findings = Findings(report, block.lines)
    empty = pa.nulls(len(block.lines), pa.string())

    def column(name: str) -> pa.Array:
        return block.columns.get(name, empty)

    users = id_column(column("user_id"), "user_id", findings)
    texts = text_column(column("text"), "text", findings)
    written = texts.null_count < len(texts)
    items = id_column(column("item_id"), "item_id", findings, required=not written)
    if written:
        findings.reject(mask(pc.and_(items.is_null(), texts.is_null())), "neither item_id nor text")
    items = items.fill_null("")
    values = _values(column("value"), column("rating"), findings)
    given = name_column(column("event"), "event", findings)
    plainly = pc.if_else(pc.equal(items, ""), "search", "view")
    events = pc.coalesce(given, pc.if_else(pa.array(np.isnan(values)), plainly, "rating"))
    _check_types(events, values, event_types, findings)
    if now_ms is None:
        times: Int64Array = np.zeros(len(block.lines), dtype=np.int64)
    else:
        times = time_column(column("timestamp"), "timestamp", findings, now_ms)
    event_ids = id_column(column("event_id"), "event_id", findings, required=False).fill_null("")
    contexts = context_column(column("context"), "context", findings)
    findings.finish()
    numbers = pa.array(values, from_pandas=True), pa.array(times)
    batch = pa.record_batch([event_ids, users, items, events, *numbers, texts, contexts], schema=EVENT_SCHEMA)
    return batch if findings.good.all() else batch.filter(pa.array(findings.good))


def _values(value: pa.Array, rating: pa.Array, findings: Findings) -> FloatColumn:
    """What stands under ``value``, or else under ``rating``."""
    values = number_column(value, "value", findings)
    ratings = number_column(rating, "rating", findings)
    both = ~np.isnan(values) & ~np.isnan(ratings) & (values != ratings)
    findings.reject(
        both,
        "value and rating differ",
        lambda row: f"value {_shown(values[row])} and rating {_shown(ratings[row])} differ; give one of them",
    )
    return np.where(np.isnan(values), ratings, values)


def _check_types(
    events: pa.Array, values: FloatColumn, event_types: Mapping[str, EventType], findings: Findings
) -> None:
    """Leave out events of a type that is not configured, or with a value off its scale."""
    known = pc.is_in(events, pa.array(list(event_types), pa.string()))
    findings.reject(
        ~np.asarray(known.to_numpy(zero_copy_only=False), dtype=np.bool_),
        "unknown event type",
        lambda row: (
            f"unknown event type {quoted(events[row].as_py())}"
            f"{nearest(events[row].as_py()[:60], event_types)}"
        ),
    )
    for name, kind in event_types.items():
        odd = kind.off_scale(values)
        if odd.any():
            odd &= np.asarray(pc.equal(events, name).to_numpy(zero_copy_only=False), dtype=np.bool_)
            _refuse_off_scale(odd, values, name, kind, findings)


def _refuse_off_scale(
    odd: BoolArray, values: FloatColumn, name: str, kind: EventType, findings: Findings
) -> None:
    low, high = kind.value_range or (-np.inf, np.inf)
    scale = (
        f"is off the scale of {name!r}, which runs from {low:g} to {high:g}; "
        f"set events.{name}.value_range in recserve.yaml"
    )
    short = f"value is off the scale of {name!r} ({low:g} to {high:g})"
    findings.reject(odd, short, lambda row: f"value {_shown(values[row])} {scale}")


def _shown(value: float) -> str:
    """All digits of a value: 5.0000001 is not 5."""
    return repr(float(value)).removesuffix(".0")
