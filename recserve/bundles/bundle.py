"""Bundles: immutable, versioned, hash-verified artefacts of a training run.

A bundle is a folder named by its id::

    manifest.json               what made it and the sha256 of every file
    items.parquet               item_id and attributes, row order = vocabulary
    item_vectors.npy            float32 (n_items, d), memory-mapped by whoever reads it
    item_vectors.<space>.npy    the same of a named space, such as image; zeros where an item has no vector
    components/<stage>.<name>/  what each trained component saved

Only safetensors, npy, parquet and json are allowed: nothing in a bundle can run code when it is read.
The id is a hash of the manifest, so equal data, configuration and seed give an equal id. A bundle holds
items only; nothing in it belongs to a user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.bundles.manifest import (
    ALLOWED_SUFFIXES,
    ITEMS,
    MANIFEST,
    SPACE,
    VECTORS,
    FileEntry,
    Manifest,
)
from recserve.data.arrays import FloatArray
from recserve.data.catalogue import Catalogue
from recserve.data.columns.strings import PackedTexts, ReadOnlySequence, Texts
from recserve.data.system.files import sha256_of
from recserve.data.system.memory import give_back
from recserve.data.vocabulary import COMPACT_FROM, Vocabulary
from recserve.errors import BundleError

# Rows of the items file that are read at a time.
_PART = 16_384


class Bundle:
    """An opened bundle in a local folder.

    Args:
        directory: The folder; its name is the id.
        manifest: Its verified manifest.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @property
    def id(self) -> str:
        """The bundle's id."""
        return self.directory.name

    @cached_property
    def catalogue(self) -> Catalogue:
        """Items in row order; vectors are memory-mapped read-only and shared by all processes.

        Attributes are read when they are first asked for: most retrievers never do.
        """
        path = self.directory / ITEMS
        ids = Vocabulary(Texts(pa.chunked_array(_batches(path, "item_id"), pa.string())))
        vectors = self._array(VECTORS) if VECTORS in self.manifest.files else None
        before, after = SPACE.split("{name}")
        names = [
            name.removeprefix(before).removesuffix(after)
            for name in self.manifest.files
            if name.startswith(before) and name != VECTORS
        ]
        spaces = {name: self._array(SPACE.format(name=name)) for name in names}
        give_back()
        return Catalogue(ids, _Attributes(path, len(ids)), vectors, spaces)

    def _array(self, name: str) -> FloatArray:
        """A matrix of the bundle, mapped into memory."""
        array: FloatArray = np.load(self.directory / name, mmap_mode="r", allow_pickle=False)
        return array

    def component_directory(self, key: str) -> Path:
        """Folder of a trained component, named ``stage.name``.

        Raises:
            BundleError: The bundle has no such component.
        """
        entry = self.manifest.components.get(key)
        if entry is None:
            raise BundleError(
                f"bundle {self.id} has no trained {key}; run `recserve train` with this configuration"
            )
        return self.directory / "components" / key

    @classmethod
    def open(cls, directory: Path) -> Bundle:
        """Open and verify a bundle: every file's presence, size and sha256.

        Raises:
            BundleError: Names the file that is missing, truncated, altered or not allowed.
        """
        try:
            raw = (directory / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(f"bundle {directory.name}: cannot read {MANIFEST} ({error.strerror})") from None
        manifest = Manifest.read(directory.name, raw)
        for name, entry in manifest.files.items():
            _verify(directory, name, entry)
        return cls(directory, manifest)


class _Attributes(ReadOnlySequence[str]):
    """The attributes of a bundle's items, read from its file at the first access.

    Args:
        path: The file.
        size: Its rows.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    @cached_property
    def _texts(self) -> Sequence[str]:
        try:
            found = PackedTexts(self._read()) if self._size >= COMPACT_FROM else list(self._read())
        except ValueError:
            raise BundleError(f"{self._path} holds attributes that are not JSON; train again") from None
        give_back()
        return found

    def _read(self) -> Iterator[str]:
        return chain.from_iterable(batch.to_pylist() for batch in _batches(self._path, "attributes"))

    def __len__(self) -> int:
        return self._size

    def _at(self, place: int) -> str:
        return self._texts[place]

    def __iter__(self) -> Iterator[str]:
        # Who reads them all, as for a column, may never ask for a single one: then they need not be kept.
        return (
            self._read() if self._size >= COMPACT_FROM and "_texts" not in vars(self) else iter(self._texts)
        )


def _batches(path: Path, column: str) -> Iterator[Any]:
    """A column of text, as Arrow arrays.

    In small parts and by one thread: reading a whole column at once takes several times its size, and Arrow
    keeps memory for each of its threads.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_PART, columns=[column], use_threads=False):
            yield batch.column(0)


def _verify(directory: Path, name: str, entry: FileEntry) -> None:
    path = directory / name
    if Path(name).suffix not in ALLOWED_SUFFIXES or ".." in Path(name).parts or Path(name).is_absolute():
        raise BundleError(f"bundle {directory.name}: file {name} is of a kind that bundles may not hold")
    try:
        size = path.stat().st_size
    except OSError:
        raise BundleError(f"bundle {directory.name}: file {name} is missing") from None
    if size != entry.size:
        raise BundleError(
            f"bundle {directory.name}: file {name} has {size} bytes instead of {entry.size} "
            "(truncated or altered)"
        )
    if sha256_of(path) != entry.sha256:
        raise BundleError(f"bundle {directory.name}: file {name} was altered (sha256 differs)")
