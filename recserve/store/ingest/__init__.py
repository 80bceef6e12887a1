"""Reading data files and bringing them into a store.

Bad rows are counted by reason and reported with file, line and value; the good ones can be stored.
"""

from __future__ import annotations

from recserve.store.ingest.columns.vectors import VectorCells
from recserve.store.ingest.events import (
    EVENT_SCHEMA,
    check_events,
    parquet_events,
    read_events,
    with_event_ids,
)
from recserve.store.ingest.items import ITEM_SCHEMA, read_items, read_users
from recserve.store.ingest.load import (
    ImportSummary,
    empty_tables,
    import_tables,
    import_users,
    not_in_catalogue,
    stored_items,
    with_bare_items,
)
from recserve.store.ingest.problems import FileReport, RowProblem, UnusableFileError
from recserve.store.ingest.vectors import import_vectors, read_vectors

__all__ = [
    "EVENT_SCHEMA",
    "ITEM_SCHEMA",
    "FileReport",
    "ImportSummary",
    "RowProblem",
    "UnusableFileError",
    "VectorCells",
    "check_events",
    "empty_tables",
    "import_tables",
    "import_users",
    "import_vectors",
    "not_in_catalogue",
    "parquet_events",
    "read_events",
    "read_items",
    "read_users",
    "read_vectors",
    "stored_items",
    "with_bare_items",
    "with_event_ids",
]
