"""What a format of data files says: how files are recognised, and what their columns become."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Generic, TypeVar

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.problems import RowProblem

AMBIGUOUS_COMMA = re.compile(r"\s*[+-]?[1-9][0-9]{0,2},[0-9]{3}\s*")
"""1,234 may be a little more than one, or more than a thousand."""

Row = dict[str, Any]
Rows = Iterator[tuple[int, "Row | RowProblem"]]
Sources = Mapping[str, tuple[str, ...]]
"""Columns of the file by the name they get; of several the first that is not empty counts."""


@dataclass(frozen=True)
class EventColumns:
    """What the columns of an events file become.

    Attributes:
        sources: By canonical name.
        event: Type of all rows; None for the column ``event``, or by whether there is a value.
        events: Types by the name that the format has for them, in lower case.
        scale: Lowest and highest rating of the format, mapped linearly onto the configured range; None for
            values that stay as they are.
        unrated: Values that stand for "no rating".
        timed: Whether the events have times.
        read_time: A time that is not ISO 8601 or a number, as one that is.
        decimal_comma: Whether 4,5 is a number.
    """

    sources: Sources
    event: str | None = None
    events: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] | None = None
    unrated: frozenset[float] = frozenset()
    timed: bool = True
    read_time: Callable[[str], str] | None = None
    decimal_comma: bool = False


@dataclass(frozen=True)
class ItemColumns:
    """What the columns of an items or users file become.

    Attributes:
        sources: By the name of the attribute (or of the id); columns that are not in it keep their names.
        skipped: Columns that are not stored.
        convert: Makes the attributes of a row out of its cells.
        combine: Makes items out of all rows of a file (whose name it gets), where a row is not an item.
        decimal_comma: Whether 4,5 is a number.
    """

    sources: Sources = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    convert: Callable[[Row], Row] | None = None
    combine: Callable[[Rows, str], Rows] | None = None
    decimal_comma: bool = False


Columns = TypeVar("Columns", EventColumns, ItemColumns)


@dataclass(frozen=True)
class Format(Generic[Columns]):
    """A known form of events or items files.

    Attributes:
        name: What ``--format`` calls it; events and items of one data set share it.
        title: What people call it.
        columns: What the columns become, or a function of the header that says it.
        header: Columns by which a file is recognised.
        files: Patterns of file names by which a file without a header is recognised.
        dialect: How its files are written.
        recognise: Instead of ``header``, where names alone do not tell.
        note: Said at every import.
    """

    name: str
    title: str
    columns: Columns | Callable[[Sequence[str]], Columns]
    header: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    recognise: Callable[[Sequence[str]], bool] | None = None
    note: str = ""

    @property
    def headerless(self) -> bool:
        """Whether the format says what the columns are."""
        return self.dialect.header is not None

    def has_name(self, file: str) -> bool:
        """Whether a file without a header is recognised by its name."""
        return self.headerless and any(fnmatch(file.lower(), pattern.lower()) for pattern in self.files)

    def has_header(self, header: Sequence[str]) -> bool:
        """Whether a file is recognised by the names of its columns."""
        if self.headerless:
            return False
        return self.recognise(header) if self.recognise else set(self.header) <= set(header)

    def columns_of(self, header: Sequence[str]) -> Columns:
        """What the columns of a file become."""
        return self.columns(header) if callable(self.columns) else self.columns


def renamed(**sources: str) -> Sources:
    """One column of the file for each name; several as ``"first or second"``."""
    return {ours: tuple(theirs.split(" or ")) for ours, theirs in sources.items()}


def split(text: Any, separator: str) -> list[str]:
    """A list out of text; a list stays one, nothing becomes an empty one."""
    parts: Iterable[Any] = text.split(separator) if isinstance(text, str) else ()
    parts = text if isinstance(text, list) else parts
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]
