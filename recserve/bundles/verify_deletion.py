"""Checks that a deleted person is gone: from the store and its lake, every bundle, and caches on disk.

Only a digest of the person's id is known by then. So every text in a bundle is digested and compared,
and arrays are judged by their shape: what has one row a user of the training data, but not one an item,
may hold something about each user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.bundles.bundle import Bundle
from recserve.bundles.embedding_cache import CACHE_SUFFIX, keys_of
from recserve.bundles.manifest import ITEMS, MANIFEST
from recserve.bundles.repository import BundleRepository
from recserve.errors import BundleError, NotFoundError
from recserve.store import Deletion, Store, key_of
from recserve.store.lake import LakeFolder, rows_of_people

_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """Result of the check of one bundle.

    Attributes:
        bundle_id: The bundle.
        texts: Places of texts that are the person's id.
        arrays: Arrays with one row a user, with their shapes.
        item_ids: Places of texts that are the person's id, but an item's id as well: nothing tells
            which of them is meant.
        problem: Why the bundle could not be checked, empty if it was.
    """

    bundle_id: str
    texts: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    item_ids: tuple[str, ...] = ()
    problem: str = ""

    @property
    def clean(self) -> bool:
        """Whether it was checked and nothing of the person was found."""
        return not (self.texts or self.arrays or self.problem)


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of the verification of one deletion.

    Attributes:
        deletion: The deletion.
        traces: Rows that still name the person, by table of the store.
        bundles: What was found in each bundle.
        merged: Ids that had been merged into the person; they were looked for as well.
        caches: Files of text vectors that hold the vector of such an id.
        lake: Rows of the store's lake that name the person and are older than the deletion.
    """

    deletion: Deletion
    traces: Mapping[str, int]
    bundles: tuple[BundleCheck, ...]
    merged: int = 0
    caches: tuple[str, ...] = ()
    lake: int | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing of the person is left."""
        kept = any(self.traces.values()) or self.caches or self.lake
        return not kept and all(bundle.clean for bundle in self.bundles)


def verify_deletion(
    store: Store,
    repository: BundleRepository,
    receipt_id: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
    caches: Path | None = None,
    lake: LakeFolder | None = None,
) -> Verification:
    """Look for traces of a deleted person in the store, its lake, every bundle, and caches of text vectors.

    Args:
        store: The store.
        repository: Where bundles live; the remote ones are fetched.
        receipt_id: Of the receipt that the deletion returned.
        progress: Called with the bundles done and the bundles there are.
        caches: Folder of the caches, None if there is none.
        lake: The lake that the store writes, None if there is none.

    Raises:
        NotFoundError: There is no such receipt.
        StoreError: The database failed.
        DataError: The lake cannot be read.
    """
    deletion = store.deletion(receipt_id)
    if deletion is None:
        raise NotFoundError(
            f"no deletion has the receipt {receipt_id[:80]!r}; list them with: recserve deletions list",
            field="receipt_id",
        )
    later = store.deletions(deletion.number)
    merged = [part.user_key for part in later if part.part_of == deletion.number]
    user_keys = frozenset([deletion.user_key, *merged])
    people = dict.fromkeys(user_keys, (deletion.number, deletion.last_event))
    bundle_ids = repository.ids()
    checks = []
    for done, bundle_id in enumerate(bundle_ids, 1):
        checks.append(_check(repository, bundle_id, user_keys))
        progress(done, len(bundle_ids))
    cached = tuple(_cached(caches, user_keys)) if caches is not None else ()
    rows = None if lake is None else rows_of_people(lake, people)
    return Verification(deletion, store.traces(deletion), tuple(checks), len(merged), cached, rows)


def _cached(folder: Path, user_keys: frozenset[bytes]) -> Iterator[str]:
    """Files of text vectors, keyed by digests of their texts, with a text that is one of the ids."""
    wanted = [np.frombuffer(key, dtype="<u8") for key in user_keys]
    for path in sorted(folder.rglob(f"*{CACHE_SUFFIX}")):
        keys = keys_of(path)
        if any((keys == key).all(axis=1).any() for key in wanted):
            yield path.relative_to(folder).as_posix()


def _check(repository: BundleRepository, bundle_id: str, user_keys: frozenset[bytes]) -> BundleCheck:
    try:
        bundle = repository.open(bundle_id)
    except BundleError as error:
        return BundleCheck(bundle_id, problem=error.message)
    names = sorted([MANIFEST, *bundle.manifest.files])
    search = _Search(user_keys)
    for name in names:
        search.file(bundle.directory, name)
    is_item = f"{ITEMS}: item_id" in search.places
    return BundleCheck(
        bundle_id,
        texts=() if is_item else tuple(search.places),
        arrays=tuple(_arrays_of_users(bundle, names)),
        item_ids=tuple(search.places) if is_item else (),
    )


class _Search:
    """Collects the places where a text has one of some digests."""

    def __init__(self, user_keys: frozenset[bytes]) -> None:
        self._user_keys = user_keys
        self.places: dict[str, None] = {}  # in the order of finding

    def file(self, folder: Path, name: str) -> None:
        """Search one file of a bundle."""
        path = folder / name
        if path.suffix == ".json":
            self._value(json.loads(path.read_bytes()), name)
        elif path.suffix == ".parquet":
            self._parquet(path, name)
        elif path.suffix == ".safetensors":
            self._value(_safetensors_header(path), name)

    def _parquet(self, path: Path, name: str) -> None:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            self._value({_text(key): _text(value) for key, value in (schema.metadata or {}).items()}, name)
            self._value(schema.names, name)
            for batch in file.iter_batches(_BATCH_ROWS):
                for column, values in zip(batch.schema.names, batch.columns, strict=True):
                    if not pa.types.is_primitive(values.type):
                        self._value(_distinct(values), f"{name}: {column}")

    def _value(self, value: Any, place: str) -> None:
        for text in _texts(value):
            if key_of(text) in self._user_keys:
                self.places[place] = None


def _distinct(values: pa.Array) -> list[Any]:
    plain = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    return list((values.unique() if plain else values).to_pylist())


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON-like value; those inside of texts that are JSON themselves, too."""
    if isinstance(value, bytes):
        value = _text(value)
    if isinstance(value, str):
        if _encodable(value):
            yield value
        if value[:1] in ("{", "["):
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from _texts(inner)
    elif isinstance(value, Mapping):
        for key, inner_value in value.items():
            yield from _texts(key)
            yield from _texts(inner_value)
    elif isinstance(value, (list, tuple)):
        for inner_value in value:
            yield from _texts(inner_value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no id has
        return False
    return True


def _arrays_of_users(bundle: Bundle, names: list[str]) -> Iterator[str]:
    users = bundle.manifest.data.users
    items = pq.read_metadata(bundle.directory / ITEMS).num_rows
    for name in names:
        for array, shape in _shapes(bundle.directory / name):
            if shape and shape[0] == users != items:
                inside = f": {array}" if array else ""
                yield f"{name}{inside} {'x'.join(map(str, shape))}"


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    if path.suffix == ".npy":
        yield "", np.load(path, mmap_mode="r", allow_pickle=False).shape
    elif path.suffix == ".safetensors":
        for name, tensor in _safetensors_header(path).items():
            if name != "__metadata__":
                yield name, tuple(tensor["shape"])


def _safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    return header
