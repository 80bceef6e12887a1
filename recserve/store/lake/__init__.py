"""The event lake: Parquet files in a folder a day, on any pyarrow filesystem.

A store writes what is new into its lake (:class:`LakeExport`), and training reads a lake, whoever wrote it
(:func:`read_lake`).
"""

from __future__ import annotations

from recserve.store.lake.export import Exported, LakeExport
from recserve.store.lake.folder import LakeFile, LakeFolder
from recserve.store.lake.reading import LakeEvents, Span, read_lake, read_lake_items
from recserve.store.lake.withdrawal import current_events, current_exposures, rows_of_people

__all__ = [
    "Exported",
    "LakeEvents",
    "LakeExport",
    "LakeFile",
    "LakeFolder",
    "Span",
    "current_events",
    "current_exposures",
    "read_lake",
    "read_lake_items",
    "rows_of_people",
]
