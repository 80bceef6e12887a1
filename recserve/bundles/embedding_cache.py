"""Text vectors that need not be computed again: a cache on disk and one in memory.

Vectors are keyed by the content of their text, so that retraining encodes only what changed. Nothing
here knows a model: any :class:`recserve.Encoder` will do.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from recserve.data.arrays import BoolArray, FloatArray, Int64Array
from recserve.errors import PluginError
from recserve.plugin.protocols import Encoder

log = logging.getLogger(__name__)

Keys = NDArray[np.uint64]

# Texts of one call of the encoder, on a worker where there are some.
_CHUNK = 2048
# Texts encoded between two writes: what an interrupted run loses at most.
_WRITTEN = 8192
_KEY_BYTES = 16
CACHE_SUFFIX = ".sqlite3"
"""How the file of a cache ends."""

_TIMEOUT = 60.0
_TABLE = """CREATE TABLE IF NOT EXISTS blocks
    (id INTEGER PRIMARY KEY, keys BLOB NOT NULL, vectors BLOB NOT NULL, checksum INTEGER NOT NULL)"""


def text_keys(texts: Sequence[str]) -> Keys:
    """128-bit content hashes of texts, uint64, shape (n, 2)."""
    digests = b"".join(_digest(text) for text in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


def _digest(text: str) -> bytes:
    # Lone surrogates cannot be encoded strictly; they must not stop a catalogue from loading.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class VectorCache:
    """SQLite database of text vectors, keyed by content hash, for one encoder fingerprint.

    A row is a block: the vectors that were added at once, with a checksum. Several processes may read and
    write at once; the worst that happens is that a text is kept twice. A damaged block, or a file that is no
    database any more, is removed and its texts are encoded again.

    A cache that cannot be read or written (full or read-only disk) costs time, not the run: a warning is
    logged and the vectors are used from memory.

    Args:
        directory: Folder of all caches; each fingerprint gets a file.
        fingerprint: :attr:`recserve.Encoder.fingerprint` of the vectors.
        dimension: Length d of a vector.
    """

    def __init__(self, directory: Path, fingerprint: str, dimension: int) -> None:
        name = hashlib.sha256(f"{fingerprint}\x00{dimension}".encode()).hexdigest()[:32]
        self.path = directory / f"{name}{CACHE_SUFFIX}"
        self.dimension = dimension
        shutil.rmtree(directory / name, ignore_errors=True)  # as earlier versions kept it

    def __len__(self) -> int:
        """Vectors on disk; a text written by two processes at once counts twice."""
        total = 0
        with self._tolerated(), self._connected() as connection:
            (total,) = connection.execute("SELECT total(length(keys)) FROM blocks").fetchone()
        return int(total) // _KEY_BYTES

    def lookup(self, keys: Keys) -> tuple[BoolArray, FloatArray]:
        """Find vectors.

        Args:
            keys: From :func:`text_keys`, shape (n, 2).

        Returns:
            found, bool, shape (n,), and vectors, float32, shape (n, d), zeros where not found.
        """
        found = np.zeros(len(keys), dtype=bool)
        vectors = np.zeros((len(keys), self.dimension), dtype=np.float32)
        with self._tolerated(), self._connected() as connection:
            blocks = [
                (block, np.frombuffer(held, dtype="<u8").reshape(-1, 2))
                for block, held in connection.execute("SELECT id, keys FROM blocks")
            ]
            place = _places(keys, [held for _, held in blocks])
            start = 0
            for block, held in blocks:
                inside = np.flatnonzero((place >= start) & (place < start + len(held)))
                content = self._vectors(connection, block) if len(inside) else None
                if content is not None:
                    vectors[inside] = content[place[inside] - start]
                    found[inside] = True
                start += len(held)
        return found, vectors

    def _vectors(self, connection: sqlite3.Connection, block: int) -> FloatArray | None:
        """Vectors of a block; None if it is damaged, and then it is removed."""
        query = "SELECT keys, vectors, checksum FROM blocks WHERE id = ?"
        row = connection.execute(query, [block]).fetchone()
        if row is None:  # another process found it damaged
            return None
        held, content, checksum = row
        if _checksum(held, content) == checksum:
            return np.frombuffer(content, dtype="<f4").reshape(-1, self.dimension)
        log.warning("removed a damaged block of the text vector cache %s", self.path)
        connection.execute("DELETE FROM blocks WHERE id = ?", [block])
        return None

    def add(self, keys: Keys, vectors: FloatArray) -> None:
        """Keep vectors for good.

        Args:
            keys: Shape (n, 2).
            vectors: float32, shape (n, d).
        """
        held, content = keys.astype("<u8").tobytes(), vectors.astype("<f4").tobytes()
        with self._tolerated(), self._connected() as connection:
            row = [held, content, _checksum(held, content)]
            connection.execute("INSERT INTO blocks (keys, vectors, checksum) VALUES (?, ?, ?)", row)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=_TIMEOUT)) as connection, connection:
            connection.execute(_TABLE)
            yield connection

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        """Goes on after the block if the database fails in it."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            log.warning("text vectors cannot be kept in %s: %s", self.path, error)
        except (sqlite3.DatabaseError, ValueError) as error:
            log.warning("removed the damaged text vector cache %s: %s", self.path, error)
            self.path.unlink(missing_ok=True)


def keys_of(path: Path) -> Keys:
    """Keys of all texts in a cache's file, shape (n, 2); none of a file that cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_TIMEOUT)) as connection:
            held = [row for (row,) in connection.execute("SELECT keys FROM blocks")]
    except sqlite3.Error:
        held = []
    return np.frombuffer(b"".join(held), dtype="<u8").reshape(-1, 2)


def _checksum(keys: bytes, vectors: bytes) -> int:
    return zlib.crc32(vectors, zlib.crc32(keys))


def _places(wanted: Keys, blocks: Sequence[Keys]) -> Int64Array:
    """Place of each key in the blocks one after the other, int64, shape (n,); -1 where it is in none."""
    held = np.concatenate([np.empty((0, 2), np.uint64), *blocks])
    if not len(held):
        return np.full(len(wanted), -1, dtype=np.int64)
    # Two of a million texts share the first half of their key with a chance of 3e-8; the second half
    # then tells them apart and one of them is simply encoded every time.
    order = np.argsort(held[:, 0], kind="stable")
    nearest = np.searchsorted(held[:, 0], wanted[:, 0], sorter=order)
    place = order[np.minimum(nearest, len(order) - 1)]
    return np.where((held[place] == wanted).all(axis=1), place, -1)


def encode_all(
    encoder: Encoder,
    texts: Sequence[str],
    cache: VectorCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    encode: Callable[[Iterator[Sequence[str]]], Iterable[FloatArray]] | None = None,
) -> tuple[FloatArray, int]:
    """Vectors of many texts; encodes each distinct text that the cache lacks once.

    The result is a function of the texts, the encoder and what the cache held: missing texts go to
    the encoder in the order of their first occurrence, in chunks of fixed size.

    Args:
        encoder: Encodes what is missing.
        texts: n texts, duplicates welcome.
        cache: Where vectors are looked up and kept; None for neither.
        progress: Called with (texts done, texts to encode) during long work.
        encode: Encodes chunks elsewhere by the same encoder, in their order; None for here.

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

    spans = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    chunks = ([texts[originals[row]] for row in span] for span in spans)
    if encode is None:
        results: Iterable[FloatArray] = (encoder.encode(chunk, step) for chunk in chunks)
    else:
        results = encode(chunks)
    written = end = 0
    for span, fresh in zip(spans, results, strict=True):
        vectors[span] = checked_vectors(fresh, len(span), encoder.dimension)
        end += len(span)
        if encode is not None:
            step(len(span))
        if cache is not None and (end - written >= _WRITTEN or end == len(missing)):
            cache.add(keys[missing[written:end]], vectors[missing[written:end]])
            written = end
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


def content_key(content: bytes) -> bytes:
    """128-bit content hash of what an item encoder reads, 16 bytes."""
    return hashlib.blake2b(content, digest_size=_KEY_BYTES, person=b"recserve.content").digest()


def content_keys(keys: Iterable[bytes]) -> Keys:
    """Several of :func:`content_key` as a cache wants them, shape (n, 2)."""
    return np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2).astype(np.uint64)


def checked_item_vectors(vectors: FloatArray, count: int, dimension: int) -> FloatArray:
    """Insist on what an item encoder promises.

    Raises:
        PluginError: Wrong shape, not finite, or rows that are neither zero nor of unit length.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (count, dimension):
        raise PluginError(
            f"the item encoder returned vectors of shape {vectors.shape} instead of {(count, dimension)}"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.isclose(lengths, 1.0, atol=1e-3) | (lengths == 0)).all():
        raise PluginError("the item encoder returned vectors that are neither zero nor of unit length")
    return vectors


class TextVectorCache:
    """The most recently used text vectors in memory, in front of an encoder.

    For live encoding while serving; safe to call from several threads. Texts are remembered by their
    hash, so a long text costs no more than a short one.

    Args:
        encoder: Encodes what is missing.
        capacity: Vectors kept; the least recently used goes first.

    Attributes:
        encoder: The encoder.
        hits: Texts answered from memory so far.
        misses: Texts encoded so far.
    """

    def __init__(self, encoder: Encoder, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.encoder = encoder
        self._vectors: LRUCache[bytes, FloatArray] = LRUCache(capacity)
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return self.encoder.dimension

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
                    out[row] = known
            self.hits += len(texts) - sum(map(len, missing.values()))
            self.misses += len(missing)
        if not missing:
            return out
        # The lock is not held here: a slow text must not keep others from their hits.
        fresh = self.encoder.encode([texts[rows[0]] for rows in missing.values()])
        fresh = checked_vectors(fresh, len(missing), self.dimension)
        with self._lock:
            for vector, (digest, rows) in zip(fresh, missing.items(), strict=True):
                out[rows] = vector
                self._vectors[digest] = vector.copy()
        return out
