"""Archive folder of an export: one Parquet file a table, and a manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError
from sqlalchemy import BigInteger, Boolean, Double, LargeBinary, Table
from sqlalchemy.types import TypeEngine

from recserve.config.strict import Strict
from recserve.data.system.files import sha256_of, sync
from recserve.errors import DataError
from recserve.store.sql.schema import SCHEMA_VERSION

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
BATCH_ROWS = 20_000

Progress = Callable[[str, int, int], None]
"""Called with what is being done, rows done, and rows there are."""


def no_progress(what: str, done: int, total: int) -> None:
    """Shows nothing."""


class FileEntry(Strict):
    """One table of an export."""

    rows: int = Field(ge=0)
    sha256: str


class ExportManifest(Strict):
    """Contents of ``manifest.json``.

    Attributes:
        format_version: Of this layout.
        recserve_version: What wrote it.
        schema_version: Of the tables.
        kind: Everything, or events only.
        events_after: Events up to this number were left out.
        next_event: Events after this number are what the next incremental export has to bring.
        last_event: Highest number that the store ever gave to an event.
        tables: By name; the file of a table is ``<name>.parquet``.
    """

    format_version: int = FORMAT_VERSION
    recserve_version: str
    schema_version: int = SCHEMA_VERSION
    kind: Literal["everything", "events"]
    events_after: int = 0
    next_event: int
    last_event: int
    tables: dict[str, FileEntry]


def arrow_schema(table: Table) -> pa.Schema:
    """Columns of a table's file, those of the table itself."""
    return pa.schema([pa.field(column.name, _arrow_type(column.type)) for column in table.c])


def _arrow_type(kind: TypeEngine[object]) -> pa.DataType:
    if isinstance(kind, BigInteger):
        return pa.int64()
    for known, arrow in ((Boolean, pa.bool_()), (Double, pa.float64()), (LargeBinary, pa.binary())):
        if isinstance(kind, known):
            return arrow
    return pa.int64() if kind.python_type is int else pa.string()


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes ``target`` at once when all went well, and vanishes otherwise.

    Raises:
        DataError: ``target`` is there and not empty, or cannot be made.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(f"{target} is there already; choose a folder that is new or empty")
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".exporting-", dir=target.parent))
    except OSError as error:
        raise DataError(f"cannot write to {target}: {error.strerror}") from None
    try:
        yield scratch
        for path in [*scratch.iterdir(), scratch]:
            sync(path)
        scratch.rename(target)
        sync(target.parent)
    except OSError as error:
        raise DataError(f"cannot write to {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_table(
    folder: Path, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]
) -> FileEntry:
    """Write one table, batch by batch."""
    path = folder / f"{name}.parquet"
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write(batch)
            rows += len(batch)
    return FileEntry(rows=rows, sha256=sha256_of(path))


def write_manifest(folder: Path, manifest: ExportManifest) -> None:
    """Write ``manifest.json``."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> ExportManifest:
    """Read the manifest of an export and check that its files are as they were written.

    Raises:
        DataError: Not an export, one of another version, or a file that is missing or altered.
    """
    try:
        manifest = ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise DataError(f"{folder} is not an export: {MANIFEST} cannot be read ({error.strerror})") from None
    except ValidationError:
        raise DataError(f"{folder / MANIFEST} is damaged, or of another version of recserve") from None
    if (manifest.format_version, manifest.schema_version) != (FORMAT_VERSION, SCHEMA_VERSION):
        raise DataError(
            f"{folder} was exported with schema version {manifest.schema_version}, this recserve reads "
            f"version {SCHEMA_VERSION}; restore it with recserve {manifest.recserve_version}, then upgrade"
        )
    for name, entry in manifest.tables.items():
        path = folder / f"{Path(name).name}.parquet"
        try:
            found = sha256_of(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        if found != entry.sha256:
            raise DataError(f"{path} is damaged: its sha256 is not the one in {MANIFEST}")
    return manifest


def read_batches(folder: Path, table: Table) -> Iterator[pa.RecordBatch]:
    """Read one table, batch by batch.

    Raises:
        DataError: The file does not have the table's columns.
    """
    path = folder / f"{table.name}.parquet"
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(arrow_schema(table)):
                raise DataError(f"{path} does not have the columns of the table {table.name}")
            yield from file.iter_batches(BATCH_ROWS)
    except pa.ArrowException as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
