"""Reading data files and bringing them into a store.

Bad rows are reported with file, line and reason and left out; the good ones load.
"""

from __future__ import annotations

from recserve.store.ingest.events import EVENT_SCHEMA, read_events, with_event_ids
from recserve.store.ingest.items import ITEM_SCHEMA, read_items
from recserve.store.ingest.load import ImportSummary, empty_tables, import_tables
from recserve.store.ingest.problems import RowProblem

__all__ = [
    "EVENT_SCHEMA",
    "ITEM_SCHEMA",
    "ImportSummary",
    "RowProblem",
    "empty_tables",
    "import_tables",
    "read_events",
    "read_items",
    "with_event_ids",
]
