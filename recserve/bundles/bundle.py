"""Bundles: immutable, versioned, hash-verified artefacts of a training run.

A bundle is a folder named by its id::

    manifest.json               what made it and the sha256 of every file
    items.parquet               item_id and attributes, row order = vocabulary
    item_vectors.npy            float32 (n_items, d), memory-mapped by whoever reads it
    components/<stage>.<name>/  what each trained component saved

Only safetensors, npy, parquet and json are allowed: nothing in a bundle can run code when it is read.
The id is a hash of the manifest, so equal data, configuration and seed give an equal id. A bundle holds
items only; nothing in it belongs to a user.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, ValidationError

from recserve.bundles.remote import fetch
from recserve.config import from_environment
from recserve.data.catalogue import Catalogue
from recserve.data.files import sha256_of, sync
from recserve.data.memory import give_back
from recserve.data.strings import PackedTexts, ReadOnlySequence, Texts
from recserve.data.vocabulary import COMPACT_FROM, Vocabulary
from recserve.errors import BundleError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ITEMS = "items.parquet"
VECTORS = "item_vectors.npy"
ALLOWED_SUFFIXES = frozenset({".safetensors", ".npy", ".parquet", ".json"})
# Rows of the items file that are read at a time.
_PART = 16_384


class FileEntry(BaseModel):
    """Size in bytes and sha256 (hexadecimal) of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str
    size: int


class ComponentEntry(BaseModel):
    """A trained component: where it came from and what its fit reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    plugin: str
    distribution: str
    version: str
    params: dict[str, Any]
    facts: dict[str, Any]
    saved: bool


class DataEntry(BaseModel):
    """Facts about the training data of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fingerprint: str
    users: int
    items: int
    events: int
    until: int


class Manifest(BaseModel):
    """Contents of ``manifest.json``; holds no time of day and no host, so that it is reproducible."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format_version: int = FORMAT_VERSION
    recserve_version: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    data: DataEntry
    encoder_fingerprint: str | None
    components: dict[str, ComponentEntry]
    metrics: dict[str, Any]
    files: dict[str, FileEntry]

    def canonical(self) -> bytes:
        """The bytes of ``manifest.json``."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False)
        return text.encode() + b"\n"

    def bundle_id(self) -> str:
        """``<date of the newest event>-<12 hex digits of the manifest's sha256>``."""
        day = np.datetime64(self.data.until, "ms").astype("datetime64[D]")
        return f"{str(day).replace('-', '')}-{hashlib.sha256(self.canonical()).hexdigest()[:12]}"


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
        vectors = None
        if VECTORS in self.manifest.files:
            vectors = np.load(self.directory / VECTORS, mmap_mode="r", allow_pickle=False)
        give_back()
        return Catalogue(ids, _Attributes(path, len(ids)), vectors)

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
        try:
            manifest = Manifest.model_validate_json(raw)
        except ValidationError as error:
            raise BundleError(
                f"bundle {directory.name}: {MANIFEST} is damaged or of another format "
                f"({error.error_count()} problems)"
            ) from None
        if manifest.format_version != FORMAT_VERSION:
            raise BundleError(
                f"bundle {directory.name} has format {manifest.format_version}, this version of "
                f"recserve reads {FORMAT_VERSION}; train a new one"
            )
        if manifest.canonical() != raw or manifest.bundle_id() != directory.name:
            raise BundleError(f"bundle {directory.name}: {MANIFEST} was altered")
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


class BundleWriter:
    """Writer of a new bundle: collects its files in a scratch folder beside the final place.

    Use as a context manager; without :meth:`finish` nothing is left behind.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._parent = parent
        self.directory = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *details: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_catalogue(self, catalogue: Catalogue) -> None:
        """Write ``items.parquet`` and, if there are vectors, ``item_vectors.npy``."""
        table = pa.table(
            {
                "item_id": pa.array(catalogue.ids.ids, pa.string()),
                "attributes": pa.array(catalogue.attributes_json, pa.string()),
            }
        )
        pq.write_table(table, self.directory / ITEMS, compression="zstd")
        if catalogue.vectors is not None:
            np.save(
                self.directory / VECTORS,
                np.ascontiguousarray(catalogue.vectors, dtype=np.float32),
                allow_pickle=False,
            )

    def component_directory(self, key: str) -> Path:
        """Make and return the empty folder of a component."""
        path = self.directory / "components" / key
        path.mkdir(parents=True)
        return path

    def finish(self, **fields: Any) -> Bundle:
        """Hash every file, write the manifest and move the bundle to its final name at once.

        Args:
            **fields: Every field of :class:`Manifest` but ``files``.

        Returns:
            The bundle; an equal one that already exists is returned as it is.

        Raises:
            BundleError: A component wrote a file of a kind that is not allowed.
        """
        files = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_dir():
                continue
            name = path.relative_to(self.directory).as_posix()
            if path.suffix not in ALLOWED_SUFFIXES:
                raise BundleError(
                    f"{name}: components may only save {', '.join(sorted(ALLOWED_SUFFIXES))} files"
                )
            files[name] = FileEntry(sha256=sha256_of(path), size=path.stat().st_size)
        # The round trip through JSON makes what is hashed now equal to what is read back later.
        plain = json.loads(Manifest(files=files, **fields).canonical())
        manifest = Manifest.model_validate(plain)
        (self.directory / MANIFEST).write_bytes(manifest.canonical())
        for path in self.directory.rglob("*"):
            if path.is_file():
                sync(path)
        final = self._parent / manifest.bundle_id()
        try:
            self.directory.chmod(0o755)
            self.directory.rename(final)
        except OSError:
            return Bundle.open(final)
        sync(self._parent)
        return Bundle(final, manifest)


class BundleRepository:
    """Repository of bundles: a local folder, or any pyarrow filesystem with a local copy.

    Args:
        home: The home folder; remote bundles are copied to ``<home>/bundles``.
        location: None for ``<home>/bundles``, a path, or a URI such as ``s3://bucket/prefix`` or
            ``file:///mnt/shared/bundles``.

    Raises:
        BundleError: The URI names a filesystem that cannot be opened.
    """

    def __init__(self, home: Path, location: str | None = None) -> None:
        self.local = home / "bundles"
        self._remote: fs.SubTreeFileSystem | None = None
        if location is None:
            return
        shown, location = location, from_environment(location, "bundles")
        if "://" not in location:
            self.local = Path(location)
            return
        try:
            filesystem, path = fs.FileSystem.from_uri(location)
            filesystem.create_dir(path, recursive=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise BundleError(f"bundles = {shown!r} cannot be opened: {error}") from None
        self._remote = fs.SubTreeFileSystem(path, filesystem)

    def check(self) -> None:
        """Make sure that bundles can be written, read and removed here.

        Raises:
            OSError: They cannot.
        """
        name = f".check-{uuid.uuid4().hex}"
        filesystem = self._remote
        if filesystem is None:
            self.local.mkdir(parents=True, exist_ok=True)
            filesystem = fs.SubTreeFileSystem(str(self.local), fs.LocalFileSystem())
        with filesystem.open_output_stream(name) as out:
            out.write(b"recserve")
        with filesystem.open_input_stream(name) as file:
            if file.read() != b"recserve":
                raise OSError(f"what is written to {name} is not what is read")
        filesystem.delete_file(name)

    def ids(self) -> list[str]:
        """Ids of all complete bundles, sorted."""
        names = {path.parent.name for path in self.local.glob(f"*/{MANIFEST}")}
        return sorted(name for name in names | self._remote_ids() if not name.startswith("."))

    def writer(self) -> BundleWriter:
        """Start a new bundle."""
        return BundleWriter(self.local)

    def publish(self, bundle: Bundle) -> None:
        """Copy a local bundle to the remote location, the manifest last."""
        if self._remote is None:
            return
        for name in [*bundle.manifest.files, MANIFEST]:
            target = f"{bundle.id}/{name}"
            self._remote.create_dir(target.rpartition("/")[0], recursive=True)
            with self._remote.open_output_stream(target) as out:
                out.write((bundle.directory / name).read_bytes())

    def open(self, bundle_id: str) -> Bundle:
        """Open and verify a bundle, fetching it first if it is only remote or the local copy is damaged.

        Raises:
            BundleError: There is none, or a file of it is damaged and cannot be fetched again.
        """
        if Path(bundle_id).name != bundle_id or bundle_id.startswith("."):
            raise BundleError(f"{bundle_id!r} is not a bundle id")
        directory = self.local / bundle_id
        if directory.exists():
            try:
                return Bundle.open(directory)
            except BundleError as error:
                if self._remote is None or bundle_id not in self._remote_ids():
                    raise
                logger.warning("%s; fetching it again", error)
        if self._remote is None or bundle_id not in self._remote_ids():
            known = ", ".join(self.ids()) or "none; run `recserve train`"
            raise BundleError(f"no bundle {bundle_id!r} (known: {known})")
        self.local.mkdir(parents=True, exist_ok=True)
        fetch(self._remote, bundle_id, self.local, Bundle.open)
        return Bundle.open(directory)

    def remove(self, bundle_id: str) -> None:
        """Remove a bundle, here and remotely; whoever has its files open keeps them.

        The manifest goes first: a half-removed bundle is none.
        """
        directory = self.local / bundle_id
        if directory.exists():
            (directory / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(directory)
        if self._remote is not None and bundle_id in self._remote_ids():
            if self._remote.get_file_info(f"{bundle_id}/{MANIFEST}").type == fs.FileType.File:
                self._remote.delete_file(f"{bundle_id}/{MANIFEST}")
            self._remote.delete_dir(bundle_id)

    def _remote_ids(self) -> set[str]:
        if self._remote is None:
            return set()
        try:
            found = self._remote.get_file_info(fs.FileSelector("", recursive=False))
        except OSError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"bundles in object storage cannot be listed: {reason}") from None
        return {info.base_name for info in found if info.type == fs.FileType.Directory}


def open_newest(repository: BundleRepository, candidates: Sequence[str]) -> Bundle:
    """The first intact bundle of a list; damaged ones are reported and stepped over.

    Args:
        repository: Where bundles live.
        candidates: Ids, the wanted one first, then the ones that were current before.

    Raises:
        BundleError: The list is empty, or no bundle in it is intact (the first problem is named).
    """
    if not candidates:
        raise BundleError("nothing has been trained yet; run `recserve train`")
    problems: list[BundleError] = []
    for bundle_id in candidates:
        try:
            bundle = repository.open(bundle_id)
        except BundleError as error:
            problems.append(error)
            continue
        for problem in problems:
            logger.error("%s; going on with the earlier bundle %s", problem, bundle_id)
        return bundle
    raise problems[0]
