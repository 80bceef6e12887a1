"""What somebody says of a file, and what can be told from the file itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Generic

from recserve.config import nearest
from recserve.data.entities import DEFAULT_EVENT_TYPES, EventType
from recserve.errors import DataError
from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.files.encodings import UTF8, check_encoding, detect_encoding
from recserve.store.ingest.files.opening import content_path
from recserve.store.ingest.files.sources import (
    Form,
    Kind,
    object_keys,
    open_file,
    open_parquet,
    open_table,
    read_objects,
)
from recserve.store.ingest.formats.model import Columns, Format, Sources

_DETECT_BYTES = 64 << 20
_DETECT_JSON_BYTES = 1 << 20  # JSON is UTF-8, with few exceptions


@dataclass(frozen=True)
class Reading:
    """What is said of files instead of being recognised.

    Attributes:
        format: Name of a known format.
        encoding: Of their text.
        header: Names of the columns of files that have none.
        columns: Columns of the files by canonical name or attribute; of several the one that there is.
        event: Type of all events.
        events: Event types by what the files call them.
        times: ``none``, a column, a strptime format, or a column and a format.
        event_types: The configured event types.
    """

    format: str | None = None
    encoding: str | None = None
    header: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    event: str | None = None
    events: Mapping[str, str] = field(default_factory=dict)
    times: tuple[str, ...] = ()
    event_types: Mapping[str, EventType] = field(default_factory=lambda: DEFAULT_EVENT_TYPES)

    @property
    def timeless(self) -> bool:
        """Whether events are said to have no times."""
        return "none" in self.times

    @property
    def time_column(self) -> str | None:
        """The column of times, if it is said."""
        return next((given for given in self.times if given != "none" and "%" not in given), None)

    @property
    def time_format(self) -> str | None:
        """The strptime format of times, if it is said."""
        return next((given for given in self.times if "%" in given), None)


@dataclass(frozen=True)
class Recognised(Generic[Columns]):
    """What a file is.

    Attributes:
        form: How it is written.
        header: Its columns.
        format: The known format, None for a plain file.
        delimiter: Between the columns of a delimited file.
        notes: What is worth saying of how it is written.
    """

    form: Form
    header: list[str]
    format: Format[Columns] | None
    delimiter: str | None
    notes: tuple[str, ...]


def recognise(
    path: Path,
    reading: Reading,
    formats: Sequence[Format[Columns]],
    keys: Sequence[str],
    keys_of: int | None = None,
) -> Recognised[Columns]:
    """Tell encoding, header and format of a file.

    Args:
        path: The file.
        reading: What is said of it.
        formats: The formats it may have.
        keys: Canonical columns by which a file is a plain one.
        keys_of: How many JSON objects are asked for their keys; None for all.

    Raises:
        DataError: It cannot be read, or is not what was said of it.
    """
    encoding = check_encoding(reading.encoding) if reading.encoding else _encoding(path)
    candidates = _candidates(reading, formats)
    named = next((candidate for candidate in candidates if candidate.has_name(content_path(path).name)), None)
    if (
        named is None
        and reading.format
        and candidates
        and all(candidate.headerless for candidate in candidates)
    ):
        named = candidates[0]
    dialect = named.dialect if named else Dialect(header=reading.header or None)
    kind, header, delimiter, sheets = _header(path, Form(encoding, dialect), keys_of)
    if reading.header and kind != "csv":
        raise DataError(f"--header is for delimited files without names of columns; {path} has names")
    found = named or next((candidate for candidate in candidates if candidate.has_header(header)), None)
    if found is not None and not reading.format and _is_plain(header, found, keys):
        found = None
    if found is None and reading.format and candidates:
        raise _is_another(path, candidates, header)
    notes = [f"read as {encoding}"] if encoding != UTF8 and kind in ("csv", "jsonl") else []
    if len(sheets) > 1:
        notes.append(f"the first sheet, {sheets[0]!r}, is read; the other {len(sheets) - 1} are not")
    if found is not None:
        dialect = replace(found.dialect, delimiter=delimiter)
        notes += [found.note] if found.note else []
    return Recognised(Form(encoding, dialect), header, found, delimiter, tuple(notes))


def recognise_header(
    header: Sequence[str], formats: Sequence[Format[Columns]], keys: Sequence[str]
) -> Recognised[Columns]:
    """Tell the format of a Parquet file by its columns.

    Args:
        header: Names of the columns.
        formats: The formats it may have.
        keys: Canonical columns by which a file is a plain one.
    """
    found = next((candidate for candidate in formats if candidate.has_header(header)), None)
    if found is not None and _is_plain(header, found, keys):
        found = None
    notes = (found.note,) if found is not None and found.note else ()
    return Recognised(Form(), list(header), found, None, notes)


def plain_spelling(name: str) -> str:
    """A name without what spellings differ in: case, blanks, ``_`` and ``-``."""
    return "".join(char for char in name.casefold() if char not in " _-.")


def shown_sources(sources: Sources, same_names: bool) -> str:
    """Which columns become what, for people: ``user_id = userId``.

    Args:
        sources: Columns of the file by the name they get.
        same_names: Show also those that keep their names.
    """
    pairs = ((ours, " or ".join(theirs)) for ours, theirs in sources.items())
    shown = (f"{ours} = {theirs}" if ours != theirs else ours for ours, theirs in pairs)
    return ", ".join(text for text in shown if same_names or " = " in text)


def columns_there(sources: Sources, header: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of these columns those that the file has."""
    found = {ours: tuple(name for name in theirs if name in header) for ours, theirs in sources.items()}
    return {ours: theirs for ours, theirs in found.items() if theirs}


def chosen_columns(
    reading: Reading, header: Sequence[str], names: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """The columns that ``--map`` names and the file has.

    Args:
        reading: What is said.
        header: Columns of the file.
        names: Canonical names that count; None for any.
    """
    wanted = {ours: theirs for ours, theirs in reading.columns.items() if names is None or ours in names}
    return columns_there(wanted, header)


def _candidates(reading: Reading, formats: Sequence[Format[Columns]]) -> list[Format[Columns]]:
    if reading.header:
        return []
    return [candidate for candidate in formats if reading.format in (None, candidate.name)]


def _is_plain(header: Sequence[str], found: Format[Columns], keys: Sequence[str]) -> bool:
    """Whether a file that resembles a format has canonical names instead, for which the format has others."""
    sources = found.columns_of(header).sources
    return set(keys) <= set(header) and any(key not in sources.get(key, (key,)) for key in keys)


def _encoding(path: Path) -> str:
    """Detected from the bytes of the file, whatever they are; UTF-8 for what is no text."""
    with open_file(path) as (file, kind):
        if kind not in ("csv", "jsonl"):
            return UTF8
        return detect_encoding(file, _DETECT_BYTES if kind == "csv" else _DETECT_JSON_BYTES)


def _header(path: Path, form: Form, keys_of: int | None) -> tuple[Kind, list[str], str | None, list[str]]:
    with open_file(path, form.encoding) as (file, kind):
        if kind == "xlsx":
            sheet = open_table(file, kind, path, form, ())
            return kind, sheet.header, None, getattr(sheet, "sheets", [])
        if kind == "csv":
            table = open_table(file, kind, path, form, ())
            return kind, table.header, getattr(table, "delimiter", None), []
        if kind == "parquet":
            return kind, list(open_parquet(file, path).schema_arrow.names), None, []
        # A key may come late: what is not in the header is not read.
        return kind, object_keys(islice(read_objects(file, str(path)), keys_of), str(path)), None, []


def _is_another(path: Path, candidates: Sequence[Format[Columns]], header: list[str]) -> DataError:
    titles = " or ".join(dict.fromkeys(candidate.title for candidate in candidates))
    needed = " or ".join(", ".join(candidate.header) for candidate in candidates if candidate.header)
    expected = f"; it needs {needed}" if needed else ""
    return DataError(f"{path} does not look like {titles}{expected}; it has {', '.join(header[:12])}")


def check_format(name: str, known: Sequence[str]) -> None:
    """Refuse a format that there is not.

    Raises:
        DataError: Names the nearest.
    """
    if name not in known:
        raise DataError(f"unknown format {name!r}{nearest(name, known)}")
