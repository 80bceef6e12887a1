"""Text vectors that need not be computed again: a cache on disk and one in memory.

Vectors are keyed by the content of their text, so that retraining encodes only what changed. Nothing
here knows a model: any :class:`recserve.Encoder` will do.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recserve.data.arrays import BoolArray, FloatArray, Int64Array
from recserve.errors import PluginError
from recserve.plugin.protocols import Encoder

log = logging.getLogger(__name__)

Keys = NDArray[np.uint64]

_SUFFIX = ".npy"
# Texts encoded between two writes: what an interrupted run loses at most.
_CHUNK = 8192
_MAX_SEGMENTS = 8
_STALE_SECONDS = 86_400


def text_keys(texts: Sequence[str]) -> Keys:
    """128-bit content hashes of texts, uint64, shape (n, 2)."""
    digests = b"".join(_digest(text) for text in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


def _digest(text: str) -> bytes:
    # Lone surrogates cannot be encoded strictly; they must not stop a catalogue from loading.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class _Segment:
    """One immutable file, records sorted by key; the name holds a checksum of its content."""

    path: Path
    first: Keys
    records: NDArray[np.void]


class VectorCache:
    """Text vectors on disk, keyed by content hash, for one encoder fingerprint.

    A folder of immutable segment files (``.npy`` records of key and vector). Each is written under a
    temporary name and renamed, and its name holds its checksum: a torn or altered file is dropped and
    its texts are encoded again. Several processes may read and write at once; the worst that happens
    is that a text is kept twice. Small segments are merged as they accumulate.

    A cache that cannot be written (full or read-only disk) costs time, not the run: a warning is
    logged and the vectors are used from memory.

    Args:
        directory: Folder of all caches; each fingerprint gets a sub-folder.
        fingerprint: :attr:`recserve.Encoder.fingerprint` of the vectors.
        dimension: Length d of a vector.
    """

    def __init__(self, directory: Path, fingerprint: str, dimension: int) -> None:
        name = hashlib.sha256(f"{fingerprint}\x00{dimension}".encode()).hexdigest()[:32]
        self.directory = directory / name
        self.dimension = dimension
        self._record = np.dtype([("key", "<u8", (2,)), ("vector", "<f4", (dimension,))])
        self._segments: dict[str, _Segment] = {}
        self._dropped: set[str] = set()
        self._refresh()

    def __len__(self) -> int:
        """Records on disk; a text written by two processes at once counts twice."""
        return sum(len(segment.records) for segment in self._segments.values())

    def lookup(self, keys: Keys) -> tuple[BoolArray, FloatArray]:
        """Find vectors.

        Args:
            keys: From :func:`text_keys`, shape (n, 2).

        Returns:
            found, bool, shape (n,), and vectors, float32, shape (n, d), zeros where not found.
        """
        found = np.zeros(len(keys), dtype=bool)
        vectors = np.zeros((len(keys), self.dimension), dtype=np.float32)
        self._refresh()
        for name in sorted(self._segments):
            missing = np.flatnonzero(~found)
            if len(missing) == 0:
                break
            segment = self._segments[name]
            wanted = keys[missing]
            # Two of a million texts share the first half of their key with a chance of 3e-8; the
            # second half then tells them apart and one of them is simply encoded every time.
            place = np.searchsorted(segment.first, wanted[:, 0])
            place = np.minimum(place, len(segment.first) - 1)
            same = (segment.records["key"][place] == wanted).all(axis=1)
            vectors[missing[same]] = segment.records["vector"][place[same]]
            found[missing[same]] = True
        return found, vectors

    def add(self, keys: Keys, vectors: FloatArray) -> None:
        """Keep vectors for good.

        Args:
            keys: Shape (n, 2).
            vectors: float32, shape (n, d).
        """
        if len(keys) == 0:
            return
        records = np.empty(len(keys), dtype=self._record)
        records["key"] = keys
        records["vector"] = vectors
        try:
            self._write(records)
            self._refresh()
            self._compact()
        except OSError as error:
            log.warning("text vectors cannot be kept in %s: %s", self.directory, error)

    def _write(self, records: NDArray[np.void]) -> str:
        """Write one segment atomically; returns its file name."""
        order = np.lexsort((records["key"][:, 1], records["key"][:, 0]))
        records = records[order]
        name = f"{_checksum(records)}{_SUFFIX}"
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / f".{uuid.uuid4().hex}.tmp"
        try:
            with temporary.open("wb") as file:
                np.save(file, records, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.directory / name)
        finally:
            temporary.unlink(missing_ok=True)
        return name

    def _refresh(self) -> None:
        """Take in segments that appeared and forget those that another process merged away."""
        try:
            present = {path.name: path for path in self.directory.glob(f"*{_SUFFIX}")}
        except OSError:
            present = {}
        for name in [name for name in self._segments if name not in present]:
            del self._segments[name]
        for name, path in present.items():
            if name in self._segments or name in self._dropped:
                continue
            segment = self._open(path)
            if segment is not None:
                self._segments[name] = segment

    def _open(self, path: Path) -> _Segment | None:
        try:
            records = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:  # merged away since the folder was listed
            return None
        except (OSError, ValueError, EOFError) as error:
            self._drop(path, str(error))
            return None
        if records.dtype != self._record or records.ndim != 1 or len(records) == 0:
            self._drop(path, "not a segment of this cache")
            return None
        if f"{_checksum(records)}{_SUFFIX}" != path.name:
            self._drop(path, "its checksum differs")
            return None
        return _Segment(path, np.ascontiguousarray(records["key"][:, 0]), records)

    def _drop(self, path: Path, why: str) -> None:
        log.warning("dropped the damaged text vector cache file %s: %s", path, why)
        self._dropped.add(path.name)
        try:
            path.unlink(missing_ok=True)
        except OSError:
            log.warning("cannot remove %s", path)
        else:
            self._dropped.discard(path.name)

    def _compact(self) -> None:
        """Merge small segments once there are many.

        The largest one is left alone while it holds most of the records, so that a record is
        rewritten a logarithmic number of times. Others may read what is removed: it stays readable
        to those who have it mapped, and everything in it has been written anew before.
        """
        if len(self._segments) <= _MAX_SEGMENTS:
            return
        by_size = sorted(self._segments.values(), key=lambda one: (-len(one.records), one.path.name))
        if 2 * len(by_size[0].records) > len(self):
            by_size = by_size[1:]
        merged = np.concatenate([segment.records for segment in by_size])
        _, distinct = np.unique(merged["key"], axis=0, return_index=True)
        kept = self._write(merged[np.sort(distinct)])
        for segment in by_size:
            if segment.path.name != kept:
                segment.path.unlink(missing_ok=True)
        for leftover in self.directory.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)
        self._refresh()


def _checksum(records: NDArray[np.void]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(records), _CHUNK):
        digest.update(np.ascontiguousarray(records[start : start + _CHUNK]).tobytes())
    return digest.hexdigest()[:40]


def encode_all(
    encoder: Encoder,
    texts: Sequence[str],
    cache: VectorCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FloatArray, int]:
    """Vectors of many texts; encodes each distinct text that the cache lacks once.

    The result is a function of the texts, the encoder and what the cache held: missing texts go to
    the encoder in the order of their first occurrence, in chunks of fixed size.

    Args:
        encoder: Encodes what is missing.
        texts: n texts, duplicates welcome.
        cache: Where vectors are looked up and kept; None for neither.
        progress: Called with (texts done, texts to encode) during long work.

    Returns:
        float32, shape (n, d), and how many texts were encoded.

    Raises:
        PluginError: The encoder returned something that is not unit vectors of its dimension.
    """
    keys, inverse, originals = _distinct(texts)
    if cache is None:
        found = np.zeros(len(keys), dtype=bool)
        vectors = np.zeros((len(keys), encoder.dimension), dtype=np.float32)
    else:
        found, vectors = cache.lookup(keys)
    missing = np.flatnonzero(~found)
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, len(missing))

    for start in range(0, len(missing), _CHUNK):
        chunk = missing[start : start + _CHUNK]
        fresh = encoder.encode([texts[originals[row]] for row in chunk], step)
        vectors[chunk] = checked_vectors(fresh, len(chunk), encoder.dimension)
        if cache is not None:
            cache.add(keys[chunk], vectors[chunk])
    return vectors[inverse], len(missing)


def _distinct(texts: Sequence[str]) -> tuple[Keys, Int64Array, Int64Array]:
    """Keys of the distinct texts by first occurrence, the distinct text of each, its first place."""
    keys = text_keys(texts)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    originals = first[order].astype(np.int64)
    return keys[originals], rank[inverse.reshape(-1)], originals


def checked_vectors(vectors: FloatArray, count: int, dimension: int) -> FloatArray:
    """Insist on what an encoder promises.

    Raises:
        PluginError: Wrong shape, numbers that are not finite, or rows that are not of unit length.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (count, dimension):
        raise PluginError(
            f"the encoder returned vectors of shape {vectors.shape} instead of {(count, dimension)}"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1.0, atol=1e-3):
        raise PluginError("the encoder returned vectors that are not of unit length")
    return vectors


class TextVectorCache:
    """The most recently used text vectors in memory, in front of an encoder.

    For live encoding while serving; safe to call from several threads. Texts are remembered by their
    hash, so a long text costs no more than a short one.

    Args:
        encoder: Encodes what is missing.
        capacity: Vectors kept; the least recently used goes first.

    Attributes:
        hits: Texts answered from memory so far.
        misses: Texts encoded so far.
    """

    def __init__(self, encoder: Encoder, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._encoder = encoder
        self._capacity = capacity
        self._vectors: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts; only what is not in memory reaches the encoder, each distinct text once.

        Returns:
            float32, shape (n, d).

        Raises:
            PluginError: See :func:`checked_vectors`.
        """
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        missing: dict[bytes, list[int]] = {}
        digests = [_digest(text) for text in texts]
        with self._lock:
            for row, digest in enumerate(digests):
                known = self._vectors.get(digest)
                if known is None:
                    missing.setdefault(digest, []).append(row)
                else:
                    self._vectors.move_to_end(digest)
                    out[row] = known
            self.hits += len(texts) - sum(map(len, missing.values()))
            self.misses += len(missing)
        if not missing:
            return out
        # The lock is not held here: a slow text must not keep others from their hits.
        fresh = self._encoder.encode([texts[rows[0]] for rows in missing.values()])
        fresh = checked_vectors(fresh, len(missing), self.dimension)
        with self._lock:
            for vector, (digest, rows) in zip(fresh, missing.items(), strict=True):
                out[rows] = vector
                self._vectors[digest] = vector.copy()
                self._vectors.move_to_end(digest)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)
        return out
