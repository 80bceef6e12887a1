"""Cells to typed columns: whole columns at once, cell by cell only where a cell is odd."""

from __future__ import annotations

from recserve.store.ingest.columns.contexts import context_column
from recserve.store.ingest.columns.ids import id_column, name_column
from recserve.store.ingest.columns.numbers import number_column
from recserve.store.ingest.columns.texts import text_column
from recserve.store.ingest.columns.times import time_column

__all__ = ["context_column", "id_column", "name_column", "number_column", "text_column", "time_column"]
