"""Formats of data files: which there are, how a file's is recognised, and what its columns become."""

from __future__ import annotations

from recserve.store.ingest.formats.event_layout import (
    EVENT_COLUMNS,
    EventLayout,
    canonical_source,
    open_events,
    recognise_event_columns,
    recognise_events,
)
from recserve.store.ingest.formats.item_layout import (
    ItemLayout,
    Table,
    recognise_items,
    recognise_users,
    text_rows,
)
from recserve.store.ingest.formats.known import EVENT_FORMATS, ITEM_FORMATS
from recserve.store.ingest.formats.reading import Reading, check_format

FORMAT_NAMES = tuple(
    dict.fromkeys([*(known.name for known in EVENT_FORMATS), *(known.name for known in ITEM_FORMATS)])
)

__all__ = [
    "EVENT_COLUMNS",
    "FORMAT_NAMES",
    "EventLayout",
    "ItemLayout",
    "Reading",
    "Table",
    "canonical_source",
    "check_format",
    "open_events",
    "recognise_event_columns",
    "recognise_events",
    "recognise_items",
    "recognise_users",
    "text_rows",
]
