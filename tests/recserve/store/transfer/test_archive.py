"""The folder of an export: written at once or not at all, and refused when it is not as it was written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from recserve.errors import DataError
from recserve.store.sql.schema import metadata
from recserve.store.transfer.archive import (
    MANIFEST,
    ExportManifest,
    FileEntry,
    arrow_schema,
    new_folder,
    read_batches,
    read_manifest,
    write_manifest,
    write_table,
)

EVENTS = metadata.tables["events"]


def rows(count: int) -> pa.RecordBatch:
    """Rows of events, made up by type; odd ones leave out what may be left out."""
    schema = arrow_schema(EVENTS)
    filled = {pa.int64(): 7, pa.float64(): 1.5, pa.bool_(): True, pa.binary(): b"\x00\xff", pa.string(): "é"}
    optional = {column.name for column in EVENTS.c if column.nullable}
    made = [
        {field.name: None if row % 2 and field.name in optional else filled[field.type] for field in schema}
        for row in range(count)
    ]
    return pa.RecordBatch.from_pylist(made, schema=schema)


def manifest(**tables: FileEntry) -> ExportManifest:
    return ExportManifest(recserve_version="1", kind="events", next_event=3, last_event=3, tables=tables)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    with new_folder(folder) as scratch:
        entry = write_table(scratch, "events", arrow_schema(EVENTS), [rows(3), rows(2)])
        write_manifest(scratch, manifest(events=entry))
    return folder


def test_what_was_written_is_read(export: Path) -> None:
    assert read_manifest(export).tables["events"].rows == 5
    found = pa.Table.from_batches(read_batches(export, EVENTS))
    assert found.equals(pa.Table.from_batches([rows(3), rows(2)]))
    assert sorted(path.name for path in export.parent.iterdir()) == ["export"]


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_column_of_every_table_has_an_arrow_type(table) -> None:
    schema = arrow_schema(table)
    assert schema.names == [column.name for column in table.c]
    for column in table.c:
        arrow = schema.field(column.name).type
        assert pa.types.is_integer(arrow) == (column.type.python_type is int)
        assert pa.types.is_binary(arrow) == (column.type.python_type is bytes)


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        with new_folder(folder) as scratch:
            write_table(scratch, "events", arrow_schema(EVENTS), [rows(1)])
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(export: Path, tmp_path: Path) -> None:
    before = sorted(export.iterdir())
    with pytest.raises(DataError, match="is there already"), new_folder(export):
        pass
    assert sorted(export.iterdir()) == before
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is there already"), new_folder(tmp_path / "file"):
        pass


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as scratch:
        (scratch / "x").touch()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["x"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write to"), new_folder(tmp_path / "file" / "export"):
        pass


def test_an_altered_or_missing_file_is_refused(export: Path) -> None:
    path = export / "events.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="its sha256 is not the one"):
        read_manifest(export)
    path.unlink()
    with pytest.raises(DataError, match=r"events\.parquet cannot be read"):
        read_manifest(export)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace('"schema_version": ', '"schema_version": 9'),
            "with recserve 1, then",
        ),
        (lambda text: text[:20], "is damaged"),
        (lambda text: text.replace('"kind": "events"', '"kind": "all"'), "is damaged"),
        (lambda text: text.replace('"kind"', '"sort"'), "is damaged"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(export: Path, change, message: str) -> None:
    path = export / MANIFEST
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_manifest(export)


def test_a_folder_without_a_manifest_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an export"):
        read_manifest(tmp_path)


def test_files_outside_the_folder_are_not_read(export: Path) -> None:
    """A table's name is a name, not a path."""
    secret = export.parent / "secret.parquet"
    secret.write_bytes(b"x")
    write_manifest(export, manifest(**{"../secret": FileEntry(rows=1, sha256="0")}))
    with pytest.raises(DataError, match=r"export/secret\.parquet cannot be read"):
        read_manifest(export)


def test_other_columns_are_refused(export: Path) -> None:
    other = export / "users.parquet"
    other.write_bytes((export / "events.parquet").read_bytes())
    with pytest.raises(DataError, match="does not have the columns of the table users"):
        list(read_batches(export, metadata.tables["users"]))
    other.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is damaged"):
        list(read_batches(export, metadata.tables["users"]))
