"""Export of a store to Parquet: everything, or new events only."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, Table, func, select

from recserve.store.protocol import Store
from recserve.store.sql.database import Database
from recserve.store.sql.queries.history import EVENT_CHANGES, read_batches
from recserve.store.sql.queries.numbering import last_number, settled_number
from recserve.store.sql.schema import events, meta, metadata
from recserve.store.transfer.archive import (
    BATCH_ROWS,
    ExportManifest,
    Progress,
    arrow_schema,
    new_folder,
    no_progress,
    write_manifest,
    write_table,
)


def export_everything(database: Database, target: Path, progress: Progress = no_progress) -> ExportManifest:
    """Write all tables as they are at one moment; others may go on reading and writing.

    Args:
        database: A database with current tables.
        target: A folder that is new or empty.
        progress: Called along the way.

    Raises:
        DataError: The folder cannot be written to.
        StoreError: The database failed.
    """
    # Looked at first: events that come later are then in the export, in the next one, or in both.
    next_event = settled_number(database, events)

    def write(connection: Connection, folder: Path) -> ExportManifest:
        entries = {
            table.name: write_table(
                folder, table.name, arrow_schema(table), _rows(connection, table, progress)
            )
            for table in metadata.sorted_tables
            if table is not meta
        }
        return ExportManifest(
            recserve_version=version("recserve"),
            kind="everything",
            next_event=next_event,
            last_event=last_number(connection, events),
            tables=entries,
        )

    def in_new_folder(connection: Connection) -> ExportManifest:
        with new_folder(target) as folder:
            manifest = write(connection, folder)
            write_manifest(folder, manifest)
        return manifest

    return database.read(in_new_folder)


def export_events(store: Store, after: int, target: Path, progress: Progress = no_progress) -> ExportManifest:
    """Write the events that were stored after number ``after``.

    Raises:
        DataError: The folder cannot be written to.
        StoreError: The database failed.
    """
    reached = after

    def new_events() -> Iterator[pa.Table]:
        nonlocal reached
        total = 0
        while True:
            found, reached = store.events_after(reached, BATCH_ROWS)
            total += len(found)
            progress("Exporting events", total, total)
            if len(found):
                yield found
            if len(found) < BATCH_ROWS:
                return

    with new_folder(target) as folder:
        entry = write_table(folder, "events", EVENT_CHANGES, new_events())
        manifest = ExportManifest(
            recserve_version=version("recserve"),
            kind="events",
            events_after=after,
            next_event=reached,
            last_event=reached,
            tables={"events": entry},
        )
        write_manifest(folder, manifest)
    return manifest


def _rows(connection: Connection, table: Table, progress: Progress) -> Iterator[pa.RecordBatch]:
    total = int(connection.execute(select(func.count()).select_from(table)).scalar_one())
    query = select(table).order_by(*table.primary_key)
    done = 0
    for batch in read_batches(connection, query, arrow_schema(table)):
        done += len(batch)
        progress(f"Exporting {table.name}", done, total)
        yield batch
