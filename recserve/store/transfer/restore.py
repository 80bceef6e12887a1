"""Restore of an export into an empty store, on either engine.

People who were deleted do not come back: neither those whose deletion is part of the export, nor those
who are deleted in the store that it is restored into. So who asked to be forgotten after a backup was
made is deleted in the new store first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, select, update

from recserve.errors import DataError
from recserve.store.sql import schema
from recserve.store.sql.database import Database
from recserve.store.sql.queries.counters import CHANGES, count_change, exclude_people, hold
from recserve.store.sql.queries.numbering import go_on_from
from recserve.store.sql.queries.rows import Row
from recserve.store.sql.queries.statements import insert_all, insert_new
from recserve.store.sql.schema import (
    counters,
    deletions,
    events,
    exposures,
    merges,
    meta,
    metadata,
    removed_events,
    user_impressions,
    users,
)
from recserve.store.transfer.archive import (
    ExportManifest,
    Progress,
    no_progress,
    read_batches,
    read_manifest,
)

_MAY_BE_FILLED = frozenset({"meta", "counters", "deletions", "removed_events", "audit"})
_MERGED = frozenset({"meta", "counters", "deletions"})


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restore.

    Attributes:
        rows: Rows written, by table.
        forgotten: Rows left out because the person was deleted.
    """

    rows: Mapping[str, int]
    forgotten: int


def restore(database: Database, folder: Path, progress: Progress = no_progress) -> Restored:
    """Restore an export of everything, all of it or nothing.

    Args:
        database: A database with current tables, empty but for deletions and the audit log.
        folder: The export.
        progress: Called along the way.

    Raises:
        DataError: The export is damaged or not of everything, or the store is not empty.
        StoreError: The database failed.
    """
    manifest = read_manifest(folder)
    wanted = {table.name for table in metadata.sorted_tables if table is not meta}
    if manifest.kind != "everything" or set(manifest.tables) != wanted:
        raise DataError(f"{folder} is not an export of everything; make one with: recserve export DIR")
    return database.write(lambda connection: _Restore(connection, folder, manifest, progress).run())


class _Restore:
    """One restore inside of one transaction."""

    def __init__(
        self, connection: Connection, folder: Path, manifest: ExportManifest, progress: Progress
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._manifest = manifest
        self._progress = progress
        self._forgotten = 0

    def run(self) -> Restored:
        exclude_people(self._connection)
        hold(self._connection, "catalogue")
        self._refuse_unless_empty()
        here = self._deletions_here()
        exported = self._read(deletions)
        self._forget = _Forgotten(here, exported, self._removed_here())
        self._merge_deletions(here, exported)
        self._merge_counters()
        rows = {"deletions": len(exported)}
        for table in metadata.sorted_tables:
            if table.name not in _MERGED:
                rows[table.name] = self._copy(table)
        return Restored(rows, self._forgotten)

    def _refuse_unless_empty(self) -> None:
        for table in metadata.sorted_tables:
            if table.name in _MAY_BE_FILLED:
                continue
            if self._connection.execute(select(1).select_from(table).limit(1)).first() is not None:
                raise DataError(
                    f"the store is not empty (there are rows in {table.name}); restore into a new one"
                )

    def _deletions_here(self) -> list[Row]:
        query = select(deletions).order_by(deletions.c.number)
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def _removed_here(self) -> frozenset[bytes]:
        keys = self._connection.execute(select(removed_events.c.event_key)).scalars()
        return frozenset(bytes(key) for key in keys)

    def _read(self, table: Table) -> list[Row]:
        return [row for batch in read_batches(self._folder, table) for row in batch.to_pylist()]

    def _merge_deletions(self, here: list[Row], exported: list[Row]) -> None:
        """Exported ones keep their numbers, which profiles refer to; those made here come after."""
        known = {row["receipt_id"] for row in exported}
        highest = max((row["number"] for row in exported), default=0)
        later = [row for row in here if row["receipt_id"] not in known]
        numbers = {row["number"]: highest + 1 + place for place, row in enumerate(later)}
        numbered = [
            {**row, "number": numbers[row["number"]], "part_of": numbers.get(row["part_of"])} for row in later
        ]
        self._connection.execute(deletions.delete())
        if exported or numbered:
            insert_all(self._connection, deletions, [*exported, *numbered])
        self._deletions = highest + len(numbered)

    def _merge_counters(self) -> None:
        count_change(self._connection)
        for row in self._read(counters):
            name = row["name"]
            if name == CHANGES:
                continue  # who follows this store knows nothing of the other one
            value = max(row["value"], hold(self._connection, name))
            if name == "deletions":
                value = max(value, self._deletions)
            change = update(counters).where(counters.c.name == name).values(value=value)
            self._connection.execute(change)

    def _copy(self, table: Table) -> int:
        total = self._manifest.tables[table.name].rows
        done = written = 0
        for batch in read_batches(self._folder, table):
            rows = batch.to_pylist()
            kept = [row for row in rows if not self._forget.knows(table, row)]
            if kept and table is removed_events:
                insert_new(self._connection, table, kept)
            elif kept:
                insert_all(self._connection, table, kept)
            done += len(rows)
            written += len(kept)
            self._progress(f"Restoring {table.name}", done, total)
        self._forgotten += done - written
        if table.autoincrement_column is not None:
            go_on_from(self._connection, table, self._manifest.last_event if table is events else 0)
        return written


class _Forgotten:
    """Lookup of rows of deleted people.

    Args:
        here: Deletions in the store that is restored into; of these people nothing is restored.
        exported: Deletions in the export; of these people only what is newer is restored.
        removed: Digests of the ids of events that were taken back in the store that is restored into.
    """

    def __init__(self, here: list[Row], exported: list[Row], removed: frozenset[bytes]) -> None:
        self._removed = removed
        known = {row["receipt_id"] for row in exported}
        self._here = {bytes(row["user_key"]) for row in here if row["receipt_id"] not in known}
        self._exported: dict[bytes, Row] = {}
        for row in sorted(exported, key=lambda row: int(row["number"])):
            self._exported[bytes(row["user_key"])] = row  # the last one counts
        self._hashes = {row["user_hash"] for row in (*here, *exported)}

    def knows(self, table: Table, row: Row) -> bool:
        """Whether a row must not come back."""
        if table is events and bytes(row["event_key"]) in self._removed:
            return True
        return any(self._goes(table, row, key) for key in self._keys(table, row))

    def _keys(self, table: Table, row: Row) -> tuple[bytes, ...]:
        """Digests of the people whom a row names."""
        if table in (users, user_impressions):
            return (bytes(row["user_key"]),)
        if table is merges:
            return bytes(row["source_key"]), bytes(row["target_key"])
        if table in (events, exposures) and row["user_hash"] in self._hashes:
            return (schema.key_of(row["user_id"]),)
        return ()

    def _goes(self, table: Table, row: Row, key: bytes) -> bool:
        if key in self._here:
            return True
        deletion = self._exported.get(key)
        if deletion is None:
            return False
        if table is events:
            return bool(row["seq"] <= deletion["last_event"])
        return bool(row["since"] < deletion["number"])
