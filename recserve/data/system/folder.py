"""Folder on any pyarrow filesystem: a path of this machine, or a URI such as ``s3://bucket/prefix``."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from recserve.data.system.files import sync
from recserve.errors import ConfigError


class Folder:
    """Files by name in one folder; each is there as a whole or not at all.

    Args:
        path: Its path on the filesystem.
        filesystem: Where it is.
        shown: How it is called in messages.
    """

    def __init__(self, path: str, filesystem: fs.FileSystem, shown: str) -> None:
        self._files = fs.SubTreeFileSystem(path, filesystem)
        self.shown = shown
        self.local = Path(path) if isinstance(filesystem, fs.LocalFileSystem) else None

    @classmethod
    def at(cls, location: str | Path, field: str) -> Folder:
        """The folder at a path or a URI.

        Args:
            location: A path, or a URI of a filesystem that pyarrow knows.
            field: The setting or option it comes from, for messages.

        Raises:
            ConfigError: The filesystem cannot be opened.
        """
        text = str(location)
        if "://" not in text:
            path = Path(text).resolve()
            return cls(str(path), fs.LocalFileSystem(), str(path))
        shown = without_secrets(text)
        try:
            filesystem, path_there = fs.FileSystem.from_uri(text)
        except (pa.ArrowException, OSError) as error:
            reason = reason_of(error).replace(text, shown)
            raise ConfigError(f"{field}: {shown} cannot be opened: {reason}", field=field) from None
        if isinstance(filesystem, fs.LocalFileSystem):
            shown = path_there
        return cls(path_there, filesystem, shown)

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read.
        """
        with self._files.open_input_stream(name) as file:
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing what was there.

        Raises:
            OSError: It cannot be written.
        """
        if self.local is not None:
            _replace(self.local / name, content)
            return
        with self._files.open_output_stream(name) as file:
            file.write(content)

    def names(self, folder: str = "") -> list[str]:
        """Names of the files in the folder or one inside it, sorted; none where it does not exist."""
        chosen = fs.FileSelector(folder, allow_not_found=True)
        return sorted(
            info.base_name for info in self._files.get_file_info(chosen) if info.type == fs.FileType.File
        )

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._files.get_file_info(name).type == fs.FileType.File:
            self._files.delete_file(name)


def without_secrets(location: str) -> str:
    """A path or a URI without what signs in: the part before the host, and the query."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def reason_of(error: Exception) -> str:
    """Why a filesystem refused, in one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    sync(scratch)
    scratch.replace(path)
