"""Compressed files as streams of what is in them, told by how they begin."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import cast

import pyarrow as pa

from recserve.errors import DataError

DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What reading a damaged or incomplete file raises."""

_SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".zip")
_BUFFER_BYTES = 1 << 16
_WORKBOOK = "xl/workbook.xml"


def content_path(path: Path) -> Path:
    """The path without the suffix of a compression: ``events.csv.gz`` holds ``events.csv``."""
    return path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path


def unpacked(file: io.BufferedReader, name: str) -> io.BufferedReader:
    """The content of a gzip, Zstandard, bzip2, xz or zip file; any other file as it is.

    Raises:
        DataError: A zip archive that does not hold exactly one file.
    """
    start = file.peek(6)
    if start.startswith(b"\x1f\x8b"):
        return _buffered(gzip.GzipFile(fileobj=file))
    if start.startswith(b"\x28\xb5\x2f\xfd") or start[1:4] == b"\x2a\x4d\x18":
        return _buffered(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))
    if start.startswith(b"BZh"):
        return _buffered(bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ"):
        return _buffered(lzma.LZMAFile(file))
    if start.startswith(b"PK\x03\x04"):
        return _member(file, name)
    return file


def is_workbook(file: io.BufferedReader) -> bool:
    """Whether a file is an Excel workbook (.xlsx)."""
    if not file.peek(4).startswith(b"PK\x03\x04"):
        return False
    names = zipfile.ZipFile(file).namelist()
    file.seek(0)
    return _WORKBOOK in names


def _member(file: io.BufferedReader, name: str) -> io.BufferedReader:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if _WORKBOOK in names:
        file.seek(0)
        return file
    wanted = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(wanted) != 1:
        raise DataError(f"{name} is an archive of {len(wanted)} files; unpack it and name the file to read")
    try:
        return _buffered(archive.open(wanted[0]))
    except RuntimeError as error:  # encrypted, or compressed in a way that Python lacks
        raise DataError(f"cannot read {name}: {error}; unpack it and name the file to read") from None


def _buffered(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES)
