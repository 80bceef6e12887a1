"""Indexes that :mod:`benchmarks.indexes` compares with recserve's own, behind the same protocol."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from usearch.index import Index as UsearchIndex

from recserve import (
    BoolArray,
    ExactIndex,
    FloatArray,
    Int32Array,
    Int64Array,
    InvertedFileIndex,
    Ragged,
    VectorIndex,
    top_k,
)

CHUNK = 20_000
EFFORTS = (100, 200, 400, 800)
WANTED = 0.98


class TooSlowError(Exception):
    """The index would take longer to build than the limit allows."""


class Deadline:
    """Stops a build whose end, as far as it can be foreseen, lies beyond a limit.

    Args:
        seconds: The limit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = self._adding = time.perf_counter()

    def start_adding(self) -> None:
        """What comes now takes time in proportion to the vectors, unlike training before."""
        self._adding = time.perf_counter()

    def check(self, done: int, total: int) -> None:
        """Told how many vectors are in; looks ahead once a fiftieth is."""
        now = time.perf_counter()
        expected = self._adding - self._began + (now - self._adding) * total / done
        if now - self._began > self._seconds or (done >= total / 50 and expected > self._seconds):
            taken = f"{done:,} vectors took {now - self._adding:.0f} s"
            raise TooSlowError(f"{taken}, all would take {expected:,.0f} s or more")


class Peer:
    """Approximate index of a library: finds candidates, which are scored again with the matrix.

    Args:
        index: The library's object.
        rows: int64; the matrix's row of each indexed vector. Zero rows are left out.
        vectors: float32, shape (n, d).
    """

    def __init__(self, index: Any, rows: Int64Array, vectors: FloatArray) -> None:
        self.index = index
        self.rows = rows
        self.vectors = vectors
        self.effort = EFFORTS[-1]

    @abstractmethod
    def candidates(self, query: FloatArray, count: int, mask: BoolArray | None) -> Int64Array:
        """Positions in ``rows``, -1 pads; ``mask`` is over them."""

    def tune(self, queries: FloatArray, k: int = 100) -> None:
        """The least effort that finds enough, or the greatest."""
        best, _ = ExactIndex(self.vectors).search(queries, k)
        for self.effort in EFFORTS:
            found, _ = self.search(queries, k)
            if recall(found, best) >= WANTED:
                return

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Sequence[BoolArray | None] = (),
        excluded: Ragged | None = None,
    ) -> tuple[Int32Array, FloatArray]:
        """See :class:`recserve.VectorIndex`."""
        k = min(k, len(self.vectors))
        found = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for number in np.flatnonzero(queries.any(axis=1)).tolist():
            mask = allowed[number] if allowed else None
            barred = np.empty(0, np.int32) if excluded is None else excluded[number]
            places = self.candidates(
                queries[number], k + len(barred), None if mask is None else mask[self.rows]
            )
            rows = np.sort(self.rows[places[places >= 0]])
            rows = rows[~np.isin(rows, barred)]
            if len(rows):
                order, best = top_k((self.vectors[rows] @ queries[number])[None], k)
                found[number, : len(rows)], scores[number, : len(rows)] = rows[order[0]], best[0]
        return found, scores

    def save(self, directory: Path) -> None:
        """Write the library's file, and the rows."""
        faiss.write_index(self.index, str(directory / "index"))
        np.save(directory / "rows.npy", self.rows)
        (directory / "effort").write_text(str(self.effort))

    @classmethod
    def load(cls, directory: Path, vectors: FloatArray) -> Peer:
        """Read it again, memory-mapped."""
        index = faiss.read_index(str(directory / "index"), faiss.IO_FLAG_MMAP_IFC)
        return cls._loaded(index, directory, vectors)

    @classmethod
    def _loaded(cls, index: Any, directory: Path, vectors: FloatArray) -> Peer:
        found = cls(index, np.load(directory / "rows.npy", mmap_mode="r").view(np.ndarray), vectors)
        found.effort = int((directory / "effort").read_text())
        return found

    def facts(self) -> dict[str, Any]:
        """The effort that tuning chose."""
        return {"effort": self.effort}


class FaissIvf(Peer):
    """``IVF,Flat`` of faiss as its factory makes it: k-means by inner product, whole vectors in lists."""

    @classmethod
    def build(cls, vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> Peer:
        """Train, add, and choose ``nprobe``."""
        rows = nonzero(vectors)
        lists = 2 ** round(np.log2(2 * np.sqrt(len(rows))))
        index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid, index.cp.niter = 60, 6
        index.train(vectors[rows[np.random.default_rng(0).permutation(len(rows))[: 60 * lists]]])
        add(rows, lambda part: index.add(vectors[part]), deadline)
        found = cls(index, rows, vectors)
        found.tune(queries)
        return found

    def candidates(self, query: FloatArray, count: int, mask: BoolArray | None) -> Int64Array:
        """With a selector where there is a mask; probes a share of the lists."""
        probes = min(self.index.nlist, self.index.nlist * self.effort // (2 * EFFORTS[-1]))
        sel = None if mask is None else faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        params = faiss.SearchParametersIVF(nprobe=probes, sel=sel)
        found: Int64Array = self.index.search(query[None], min(count, len(self.rows)), params=params)[1][0]
        return found


class FaissHnsw(Peer):
    """HNSW of faiss over 8-bit vectors, by inner product."""

    @classmethod
    def build(cls, vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> Peer:
        """Add all vectors, and choose ``efSearch``."""
        rows = nonzero(vectors)
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexHNSWSQ(vectors.shape[1], kind, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 64
        index.train(vectors[rows[:100_000]])
        add(rows, lambda part: index.add(vectors[part]), deadline)
        found = cls(index, rows, vectors)
        found.tune(queries)
        return found

    def candidates(self, query: FloatArray, count: int, mask: BoolArray | None) -> Int64Array:
        """With a selector where there is a mask."""
        sel = None if mask is None else faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        params = faiss.SearchParametersHNSW(efSearch=max(self.effort, count), sel=sel)
        found: Int64Array = self.index.search(query[None], min(count, len(self.rows)), params=params)[1][0]
        return found


class Usearch(Peer):
    """HNSW of usearch, by inner product; it knows no masks, so ten times as many are asked for."""

    @classmethod
    def build(cls, vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> Peer:
        """Add all vectors, and choose ``expansion_search``."""
        rows = nonzero(vectors)
        index = UsearchIndex(ndim=vectors.shape[1], metric="ip", dtype="f32")
        places = np.arange(len(vectors))
        places[rows] = np.arange(len(rows))
        add(rows, lambda part: index.add(places[part], vectors[part], threads=2), deadline)
        found = cls(index, rows, vectors)
        found.tune(queries)
        return found

    def candidates(self, query: FloatArray, count: int, mask: BoolArray | None) -> Int64Array:
        """More than asked for where there is a mask, which is applied afterwards."""
        count = min(count if mask is None else 10 * count, len(self.rows))
        self.index.expansion_search = max(self.effort, count)
        keys: Int64Array = self.index.search(query, count, threads=1).keys.astype(np.int64)
        return keys if mask is None else keys[mask[keys]]

    def save(self, directory: Path) -> None:
        """Write the library's file, and the rows."""
        self.index.save(str(directory / "index"))
        np.save(directory / "rows.npy", self.rows)
        (directory / "effort").write_text(str(self.effort))

    @classmethod
    def load(cls, directory: Path, vectors: FloatArray) -> Peer:
        """Read it again, memory-mapped."""
        return cls._loaded(UsearchIndex.restore(str(directory / "index"), view=True), directory, vectors)


def nonzero(vectors: FloatArray) -> Int64Array:
    """Rows that can be found."""
    return np.flatnonzero(np.einsum("nd,nd->n", vectors, vectors) > 0)


def add(rows: Int64Array, insert: Callable[[Int64Array], Any], deadline: Deadline) -> None:
    """Add rows in chunks while the deadline can be met."""
    deadline.start_adding()
    for start in range(0, len(rows), CHUNK):
        insert(rows[start : start + CHUNK])
        deadline.check(min(start + CHUNK, len(rows)), len(rows))


def recall(found: Int32Array, best: Int32Array) -> float:
    """Share of the best that is found; what is padded does not count."""
    shares = []
    for some, truth in zip(found.tolist(), best.tolist(), strict=True):
        wanted = {row for row in truth if row >= 0}
        shares.append(len(wanted & set(some)) / max(len(wanted), 1))
    return float(np.mean(shares))


class Kind(Protocol):
    """How an index is built and loaded."""

    def build(self, vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> VectorIndex:
        """Build, tuned with the queries."""
        ...

    def load(self, directory: Path, vectors: FloatArray) -> VectorIndex:
        """Load what was saved."""
        ...


class Exact:
    """Every vector is scored."""

    @staticmethod
    def build(vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> VectorIndex:
        """Nothing to do."""
        return ExactIndex(vectors)

    @staticmethod
    def load(directory: Path, vectors: FloatArray) -> VectorIndex:
        """Nothing to read."""
        return ExactIndex(vectors)


class Recserve:
    """What recserve uses: lists of faiss by distance, probed by inner product, scored again."""

    @staticmethod
    def build(vectors: FloatArray, queries: FloatArray, deadline: Deadline) -> VectorIndex:
        """Build and tune."""
        return InvertedFileIndex.build(vectors, queries, Ragged.of([[]] * len(queries)))

    @staticmethod
    def load(directory: Path, vectors: FloatArray) -> VectorIndex:
        """Map it."""
        return InvertedFileIndex.load(directory, vectors)


KINDS: dict[str, Kind] = {
    "exact": Exact,
    "recserve": Recserve,
    "faiss-ivf": FaissIvf,
    "faiss-hnsw": FaissHnsw,
    "usearch": Usearch,
}
