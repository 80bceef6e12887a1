"""Folder of an event lake: its files, and the record of how far its store has written it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import Field, ValidationError

from recserve.config import from_environment
from recserve.config.strict import Strict
from recserve.data.arrays import Int64Array
from recserve.data.entities import DAY_MS
from recserve.data.system.files import make_private_folder, sync
from recserve.data.system.folder import without_secrets
from recserve.errors import DataError

RECORD = "_recserve.json"
FORMAT_VERSION = 1

_SUFFIXES = (".parquet", ".pq")
_DAY = re.compile(r"day=(-?\d{4,}-\d\d-\d\d)")
_EVENTS = re.compile(r"events-(\d{20})-(\d{20})\.parquet")
_EXPOSURES = re.compile(r"exposures-(\d{12})\.parquet")
_EXPOSURE_FOLDER = "_exposures"

_BEGUN = re.compile(r"\.(events|exposures)-.*\.parquet\.part")


class LakeRecord(Strict):
    """Contents of ``_recserve.json``: what the store that writes a lake has written.

    Attributes:
        format_version: Of this layout.
        store: Digest of a secret of the store, so that no other one writes into the folder.
        next_event: Events after this number are to be written next; files of later ones do not count.
        next_exposures: Number of the next batch of exposures, likewise.
        deletions: Deletions of people whose rows have been removed.
        removed: Events that were taken back and have been removed, a count.
    """

    format_version: int = FORMAT_VERSION
    store: str
    next_event: int = Field(0, ge=0)
    next_exposures: int = Field(0, ge=0)
    deletions: int = 0
    removed: int = 0

    def reaches(self, file: LakeFile) -> bool:
        """Whether a file is finished; those of other programs are."""
        if file.numbers is not None:
            return file.numbers[1] <= self.next_event
        return file.batch is None or file.batch < self.next_exposures


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One Parquet file of a lake.

    Attributes:
        path: On the lake's filesystem.
        name: Relative to the lake's folder.
        day: Days since 1970 of all its events, None where its folder does not say.
        numbers: First and last number of the store's events that it was written for, None if another
            program wrote it.
        batch: Number of the batch of exposures that it belongs to, None if it holds none.
    """

    path: str
    name: str
    day: int | None
    numbers: tuple[int, int] | None
    batch: int | None = None

    @classmethod
    def of(cls, path: str, name: str) -> LakeFile:
        """What the name of a file says."""
        parts = PurePosixPath(name).parts
        days = [found[1] for part in parts[:-1] if (found := _DAY.fullmatch(part))]
        events, exposures = _EVENTS.fullmatch(parts[-1]), _EXPOSURES.fullmatch(parts[-1])
        return cls(
            path,
            name,
            day_of(days[-1]) if days else None,
            None if events is None else (int(events[1]), int(events[2])),
            None if exposures is None or parts[0] != _EXPOSURE_FOLDER else int(exposures[1]),
        )


class LakeFolder:
    """Files of a lake on any pyarrow filesystem.

    Args:
        where: A path, or a URI such as ``s3://bucket/events``; ``${NAME}`` is replaced by the environment
            variable.

    Attributes:
        where: As it was given, for messages, without keys that the URI may hold.

    Raises:
        DataError: The URI cannot be understood.
    """

    def __init__(self, where: str) -> None:
        self.where = without_secrets(where)
        located = from_environment(where, "store.lake")
        try:
            if "://" in located:
                self._filesystem, self._path = fs.FileSystem.from_uri(located)
            else:
                self._filesystem, self._path = fs.LocalFileSystem(), str(Path(located).absolute())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.where} cannot be opened: {_line(error)}") from None

    @classmethod
    def of(cls, where: str | None) -> Self | None:
        """The lake that a store is configured with; None if it has none."""
        return None if where is None else cls(where)

    def files(self) -> list[LakeFile]:
        """All Parquet files in the order of their paths; none if there is no such folder.

        Names that begin with ``_`` or ``.`` are left out, as are files that a store had not finished with.
        """
        with self._errors("read"):
            record = self.record()
            info = self._filesystem.get_file_info(self._path)
            if info.type is fs.FileType.File:
                return [LakeFile.of(self._path, PurePosixPath(self._path).name)]
        return [
            file
            for file in self._everything()
            if file.name.endswith(_SUFFIXES)
            and not any(part.startswith(("_", ".")) for part in PurePosixPath(file.name).parts)
            and (record is None or record.reaches(file))
        ]

    def unfinished(self) -> list[LakeFile]:
        """Files that this lake's store had begun with when it was interrupted."""
        record = self.record()
        return [
            file
            for file in self._everything()
            if _BEGUN.fullmatch(PurePosixPath(file.name).name)
            or (record is not None and not record.reaches(file))
        ]

    def exposure_files(self) -> list[LakeFile]:
        """Files of exposures that expired."""
        record = self.record()
        return [
            file
            for file in self._everything()
            if file.batch is not None and (record is None or record.reaches(file))
        ]

    def _everything(self) -> list[LakeFile]:
        with self._errors("read"):
            selector = fs.FileSelector(self._path, allow_not_found=True, recursive=True)
            found = self._filesystem.get_file_info(selector)
        paths = sorted(entry.path for entry in found if entry.type is fs.FileType.File)
        return [LakeFile.of(path, self._relative(path)) for path in paths]

    def record(self) -> LakeRecord | None:
        """How far a store has written this lake; None if no store writes it.

        Raises:
            DataError: The record cannot be read, or is of a later version.
        """
        path = f"{self._path}/{RECORD}"
        with self._errors("read"):
            if self._filesystem.get_file_info(path).type is not fs.FileType.File:
                return None
            with self._filesystem.open_input_stream(path) as file:
                content = file.read()
        try:
            record = LakeRecord.model_validate_json(content)
        except ValidationError:
            record = None
        if record is None or record.format_version != FORMAT_VERSION:
            raise DataError(f"{self.where}/{RECORD} is damaged, or of another version of recserve")
        return record

    def open(self, file: LakeFile) -> pa.NativeFile:
        """Open a file for reading at random."""
        with self._errors("read"):
            return self._filesystem.open_input_file(file.path)

    def read(self, file: LakeFile, columns: list[str] | None = None) -> pa.Table:
        """A whole file, or some of its columns.

        Raises:
            DataError: It cannot be read, or is damaged.
        """
        try:
            with self.open(file) as opened:
                return pq.ParquetFile(opened).read(columns)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.label(file)} is not a complete Parquet file ({_line(error)})") from None

    @contextmanager
    def local_copy(self, file: LakeFile, folder: Path) -> Iterator[Path]:
        """The path of a file on this machine; that of a copy in ``folder`` if it is elsewhere."""
        if isinstance(self._filesystem, fs.LocalFileSystem):
            yield Path(file.path)
            return
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
            copy = Path(scratch) / PurePosixPath(file.path).name
            with self._errors("read"):
                fs.copy_files(
                    file.path,
                    str(copy),
                    source_filesystem=self._filesystem,
                    destination_filesystem=fs.LocalFileSystem(),
                )
            yield copy

    def label(self, file: LakeFile) -> str:
        """A file as it is called in messages."""
        return f"{self.where.rstrip('/')}/{file.name}" if file.path != self._path else self.where

    # -- writing --------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder where there are folders: on a local disk, for its owner only.

        Raises:
            DataError: It cannot be made.
        """
        with self._errors("written"):
            if isinstance(self._filesystem, fs.LocalFileSystem):
                make_private_folder(Path(self._path))

    def new_file(self, day: int, first: int, last: int) -> LakeFile:
        """The file of the events of a day with some numbers."""
        name = f"day={np.datetime64(day, 'D')}/events-{first:020d}-{last:020d}.parquet"
        return LakeFile(f"{self._path}/{name}", name, day, (first, last))

    def new_exposures(self, day: int, batch: int) -> LakeFile:
        """The file of the exposures of a day that belong to a batch."""
        name = f"{_EXPOSURE_FOLDER}/day={np.datetime64(day, 'D')}/exposures-{batch:012d}.parquet"
        return LakeFile(f"{self._path}/{name}", name, day, None, batch)

    def write(self, file: LakeFile, table: pa.Table) -> None:
        """Write a file, or put another one in its place; it is there in whole or not at all.

        Raises:
            DataError: It cannot be written.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._put(file.path, sink.getvalue())

    def write_record(self, record: LakeRecord) -> None:
        """Replace the record: what was written before counts from now on."""
        self._put(f"{self._path}/{RECORD}", pa.py_buffer(record.model_dump_json(indent=1).encode()))

    def remove(self, file: LakeFile) -> None:
        """Remove a file."""
        with self._errors("written"):
            self._filesystem.delete_file(file.path)

    def _put(self, path: str, content: pa.Buffer) -> None:
        local = isinstance(self._filesystem, fs.LocalFileSystem)
        folder, _, name = path.rpartition("/")
        # An object appears when it is complete; a local file does when it gets its name.
        target = f"{folder}/.{name}.part" if local else path
        with self._errors("written"):
            if local:
                self._filesystem.create_dir(folder, recursive=True)
            with self._filesystem.open_output_stream(target) as stream:
                stream.write(content)
            if local:
                sync(Path(target))
                Path(target).replace(path)
                for place in (Path(folder), Path(folder).parent):
                    sync(place)

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._path.rstrip("/")).lstrip("/")

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.where} cannot be {done}: {_line(error)}") from None


def day_of(text: str) -> int | None:
    """Days since 1970 of a date such as 2026-11-29, None if it is none."""
    try:
        return int(np.datetime64(text, "D").astype(np.int64))
    except ValueError:
        return None


def days_of(timestamps: Int64Array) -> Int64Array:
    """Days since 1970 (UTC) of moments in milliseconds."""
    return np.asarray(np.floor_divide(timestamps, DAY_MS), np.int64)


def _line(error: BaseException) -> Any:
    return " ".join(str(error).split())[:300]
