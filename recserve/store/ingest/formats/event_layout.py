"""Rows of any events file as canonical columns."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import nearest
from recserve.data.entities import DAY_MS, EventType
from recserve.errors import DataError
from recserve.store.ingest.columns.plain import is_binary, plain
from recserve.store.ingest.files.delimited import Block
from recserve.store.ingest.files.sources import Form, Source, open_source
from recserve.store.ingest.formats.known import EVENT_FORMATS
from recserve.store.ingest.formats.model import AMBIGUOUS_COMMA, EventColumns
from recserve.store.ingest.formats.reading import (
    Reading,
    Recognised,
    chosen_columns,
    columns_there,
    plain_spelling,
    recognise,
    recognise_header,
    shown_sources,
)

EVENT_COLUMNS = ("event_id", "user_id", "item_id", "event", "value", "rating", "timestamp", "text", "context")

_SPELLINGS = {
    "user_id": ("userid", "user"),
    "item_id": ("itemid", "item"),
    "event": ("eventtype",),
    "timestamp": ("timestamp", "time", "datetime"),
}
"""Other names that canonical columns have where they cannot be mistaken."""

_KEYS = ("user_id", "item_id")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_YEAR_MS = 365 * DAY_MS


@dataclass(frozen=True)
class EventLayout:
    """How one events file is read.

    Attributes:
        form: How it is written.
        columns: What its columns become.
        title: The known format, None for a plain file.
        unread: Columns that become nothing.
        notes: What an import should say, a phrase each.
        event_types: The configured event types.
    """

    form: Form
    columns: EventColumns
    title: str | None
    unread: tuple[str, ...]
    notes: tuple[str, ...]
    event_types: Mapping[str, EventType]

    @property
    def wanted(self) -> set[str]:
        """Columns of the file that are read."""
        return {name for names in self.columns.sources.values() for name in names}

    def shown_columns(self, full: bool) -> list[str]:
        """What columns become, for people, a phrase each; also those that keep their names if ``full``."""
        shown = [shown_sources(self.columns.sources, full)]
        return [*shown, f"not read: {', '.join(self.unread)}"] if full and self.unread else shown


def recognise_events(path: Path, reading: Reading) -> EventLayout:
    """Tell how an events file is to be read.

    Raises:
        DataError: It cannot be read, or is not what was said of it.
    """
    return _layout(path, recognise(path, reading, EVENT_FORMATS, _KEYS), reading)


def recognise_event_columns(name: str, header: Sequence[str], reading: Reading) -> EventLayout:
    """Tell by its columns how a Parquet file of events is to be read.

    Raises:
        DataError: It is not what was said of it.
    """
    return _layout(name, recognise_header(header, EVENT_FORMATS, _KEYS), reading)


def _layout(path: Path | str, known: Recognised[EventColumns], reading: Reading) -> EventLayout:
    header = known.header
    columns = known.format.columns_of(header) if known.format else EventColumns(_plain(header))
    sources = columns_there(columns.sources, header) | chosen_columns(reading, header, EVENT_COLUMNS)
    if reading.time_column:
        if reading.time_column not in header:
            raise DataError(
                f"{path} has no column {reading.time_column!r}{nearest(reading.time_column, header)}; "
                "--time is none, a column, or a strptime format such as %d.%m.%Y"
            )
        sources["timestamp"] = (reading.time_column,)
    columns = replace(
        columns,
        sources=sources,
        event=reading.event or columns.event,
        events=_types(columns, reading),
        timed=not reading.timeless and (columns.timed or "timestamp" in sources),
        read_time=_strptime(reading.time_format) if reading.time_format else columns.read_time,
        decimal_comma=known.delimiter in (";", "\t"),
    )
    rated = reading.event_types.get("rating")
    if rated is None or rated.value_range is None or rated.value_range == columns.scale:
        columns = replace(columns, scale=None)
    used = {name for theirs in sources.values() for name in theirs}
    return EventLayout(
        known.form,
        columns,
        known.format.title if known.format else None,
        tuple(name for name in header if name not in used),
        (*known.notes, *_notes(columns, reading.event_types)),
        reading.event_types,
    )


@contextmanager
def open_events(path: Path, layout: EventLayout) -> Iterator[Source]:
    """Open an events file as blocks of canonical columns."""
    with open_source(path, layout.wanted, layout.form) as source:
        yield canonical_source(source, layout)


def canonical_source(source: Source, layout: EventLayout) -> Source:
    """The same blocks with canonical columns."""
    timeless = () if layout.columns.timed else ("timestamp",)
    header = list(dict.fromkeys((*layout.columns.sources, *timeless, *layout.unread)))
    return Source(header, (canonical_block(block, layout) for block in source.blocks), source.sparse)


def canonical_block(block: Block, layout: EventLayout) -> Block:
    """The same rows under canonical names, values and types as the store has them."""
    columns = layout.columns
    made = {
        ours: _joined(found)
        for ours, theirs in columns.sources.items()
        if (found := [block.columns[name] for name in theirs if name in block.columns])
    }
    for name in ("value", "rating"):
        if name in made and (columns.scale or columns.unrated or columns.decimal_comma):
            made[name] = _mapped(made[name], _value_reader(layout))
    if columns.event:
        made["event"] = pa.repeat(columns.event, len(block.lines))
    elif columns.events and "event" in made:
        made["event"] = _mapped(made["event"], _type_reader(layout))
    if not columns.timed:
        made["timestamp"] = _unordered_times(made, len(block.lines))
    elif columns.read_time and "timestamp" in made:
        made["timestamp"] = _mapped(made["timestamp"], columns.read_time)
    return Block(made, block.lines, block.problems)


def _plain(header: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The canonical columns of a plain file, some of which may be spelled otherwise."""
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in EVENT_COLUMNS if name in header}
    for name, spellings in _SPELLINGS.items():
        others = [name for name in header if plain_spelling(name) in spellings]
        if name not in found and len(others) == 1:
            found[name] = (others[0],)
    return found


def _types(columns: EventColumns, reading: Reading) -> dict[str, str]:
    """Event types by plain spelling: those that are said, else configured, else of the format."""
    configured = {plain_spelling(name) for name in reading.event_types}
    said = {plain_spelling(name): ours for name, ours in reading.events.items()}
    return {**{name: ours for name, ours in columns.events.items() if name not in configured}, **said}


def _notes(columns: EventColumns, event_types: Mapping[str, EventType]) -> list[str]:
    notes = []
    if columns.event:
        notes.append(f"every row is of type {columns.event}")
    if columns.unrated and "value" in columns.sources:
        values = " or ".join(f"{value:g}" for value in sorted(columns.unrated))
        notes.append(f"a value of {values} means none")
    if columns.scale:
        low, high = event_types["rating"].value_range or columns.scale
        notes.append(
            f"ratings {columns.scale[0]:g} to {columns.scale[1]:g} become {low:g} to {high:g}, linearly"
        )
    if not columns.timed:
        notes.append("without times: events get times in a random order that stays the same")
    return notes


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    """One column of several, of which the first that is not empty counts.

    A column that is neither text nor numbers stays alone: it is refused, by its type, where it is read.
    """
    if len(columns) == 1:
        return columns[0]
    found = [plain(column) for column in columns]
    odd = next((column for column in found if not _has_text(column.type)), None)
    if odd is not None:
        return odd
    kind = pa.large_binary() if any(is_binary(column.type) for column in found) else pa.string()
    return pc.coalesce(*(_filled(column).cast(kind) for column in found))


def _has_text(kind: pa.DataType) -> bool:
    types = pa.types
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numbers or types.is_string(kind) or is_binary(kind))


def _filled(column: pa.Array) -> pa.Array:
    """Text or bytes, null where a cell is empty."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    text = column if is_binary(column.type) else column.cast(pa.string())
    return pc.if_else(pc.equal(pc.binary_length(text), 0), None, text)


def _mapped(column: pa.Array, function: Callable[[str], str | None]) -> pa.Array:
    """The column with a function applied to the text of each distinct cell; lists and times stay."""
    column = plain(column)
    if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        return column
    encoded = column.dictionary_encode()
    values = [None if cell is None else function(_as_text(cell)) for cell in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(encoded.indices)


def _as_text(cell: Any) -> str:
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)


def _value_reader(layout: EventLayout) -> Callable[[str], str | None]:
    columns = layout.columns
    scale = columns.scale
    low, high = layout.event_types["rating"].value_range or (0.0, 1.0) if scale else (0.0, 1.0)

    def read(cell: str) -> str | None:
        if columns.decimal_comma and _DECIMAL_COMMA.fullmatch(cell):
            if AMBIGUOUS_COMMA.fullmatch(cell):
                return f"{cell} ({cell.replace(',', '.')} or {cell.replace(',', '')}?)"
            cell = cell.replace(",", ".")
        try:
            number = float(cell)
        except ValueError:
            return cell  # refused where numbers are read
        if number in columns.unrated:
            return None
        if scale is None:
            return cell
        place = (number - scale[0]) / (scale[1] - scale[0])
        return repr(low * (1 - place) + high * place)

    return read


def _type_reader(layout: EventLayout) -> Callable[[str], str]:
    configured = {plain_spelling(name): name for name in layout.event_types}

    def read(cell: str) -> str:
        spelled = plain_spelling(cell)
        return layout.columns.events.get(spelled) or configured.get(spelled) or cell

    return read


def _strptime(form: str) -> Callable[[str], str]:
    def read(cell: str) -> str:
        try:
            moment = datetime.strptime(cell.strip(), form)
        except ValueError:
            return f"{cell} (not {form})"
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()

    return read


def _unordered_times(columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """Times within a year from 1970 on that say nothing of order, the same at each import.

    Times in the order of a file would put whole users behind others: such files are sorted by user.
    """
    empty = pa.nulls(rows, pa.string())
    texts = [_texts(columns.get(name, empty)) for name in ("user_id", "item_id")]
    moments = [_moment(f"{user}\x00{item}") for user, item in zip(*texts, strict=True)]
    return pa.array(moments, pa.int64()).cast(pa.timestamp("ms"))


def _texts(column: pa.Array) -> list[str | None]:
    """Any column as text; null for what no id can be, which is refused where ids are read."""
    try:
        return list(column.cast(pa.string()).to_pylist())
    except pa.ArrowException:
        return [str(cell) if is_binary(column.type) else None for cell in column]


def _moment(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") % _YEAR_MS
