"""Approximate search over many vectors: inverted lists of faiss, probed by inner product, scored exactly."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int32Array, Int64Array
from recserve.data.batches import Ragged
from recserve.errors import BundleError
from recserve.plugin.toolkit.topk import top_k
from recserve.plugin.toolkit.vector_index import ExactIndex

RECALL = 0.98
"""Share of the truly best that a search finds, on average over the queries of training."""

TUNED_FOR = (25, 50, 100, 200, 400)
"""Numbers of results that tuning asks for. In between as much is read as for the next higher one."""

# What tuning aims at, so that queries it has not seen still reach RECALL.
_AIM = 0.986
_ITERATIONS = 6
_LEARNT_FROM = 60
_CHUNK = 65_536
# 8-bit scores order candidates nearly as exact ones do: with half as many more, hardly any is lost.
_SPARE = 1.5
# Reading vectors here and there costs as much as reading this many of a list.
_SCATTERED = 2
_KEPT_MASKS = 8
# Fewer scores than this are sorted sooner than they are selected from.
_FEW = 4096

# What faiss writes, as an array of bytes: bundles hold npy files, and numpy maps them.
_INDEX = "index.npy"
_LISTS = "lists.npy"
_TUNING = "index.json"


@dataclass(frozen=True, slots=True)
class Tuning:
    """How many lists to read.

    Attributes:
        cosine: Whether scores are divided by the lengths of the rows.
        probes: Lists for each number of results in :data:`TUNED_FOR`; empty reads everything.
        read: Vectors that they hold, on average over the queries of tuning.
        recall: The lowest share found, with other queries than those that chose the numbers.
    """

    cosine: bool
    probes: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    recall: float = 1.0

    def lists(self, k: int) -> int:
        """Lists to read for ``k`` results."""
        for size, probes in zip(TUNED_FOR, self.probes, strict=True):
            if k <= size:
                return probes
        return self.probes[-1] * k // TUNED_FOR[-1] + 1


@dataclass(frozen=True, slots=True)
class _Mask:
    """A mask as a search needs it: rows, allowed vectors of each list, and what faiss asks."""

    mask: BoolArray
    counts: Int64Array
    selector: Any


class InvertedFileIndex:
    """Inverted-file index (faiss IVF, 8 bits a number) of a float32 matrix that its owner keeps.

    Lists are the cells of k-means by Euclidean distance, so that vectors of one list are alike in
    direction *and* length; a query reads the lists whose centroids have the largest inner product with
    it. What they hold is ordered by 8-bit scores, and the best are scored again with the matrix. How many
    lists are read is what sample queries needed for :data:`RECALL`. A mask makes a query read more lists,
    until it has met as many vectors that are allowed as it would have met without; where a mask leaves
    few, and where too few are found, everything that is allowed is scored.

    Needs the distribution ``faiss-cpu``.

    Args:
        index: A ``faiss.IndexIVF``, filled.
        lists: int32, shape (n,); the list of each row, -1 for zero rows.
        vectors: float32, shape (n, d); the matrix.
        tuning: How many lists to read.
    """

    def __init__(self, index: Any, lists: Int32Array, vectors: FloatArray, tuning: Tuning) -> None:
        self._index = index
        self._lists = lists
        self._vectors = vectors
        self.tuning = tuning
        self._centroids: FloatArray = index.quantizer.reconstruct_n(0, index.quantizer.ntotal)
        self._sizes = np.bincount(lists[lists >= 0], minlength=index.nlist)
        self._masks: OrderedDict[int, _Mask] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes without the lock and the masks met so far."""
        return InvertedFileIndex, (self._index, self._lists, self._vectors, self.tuning)

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        queries: FloatArray,
        excluded: Ragged,
        *,
        cosine: bool = False,
        seed: int = 0,
    ) -> InvertedFileIndex:
        """Sort vectors into lists, and find out how many of them must be read.

        Args:
            vectors: float32, shape (n, d).
            queries: float32, shape (Q, d); what people will ask for.
            excluded: Rows that each of them must not find.
            cosine: Search for the largest cosines, times the length of the query.
            seed: Seed; equal arguments give an equal index, whatever the number of threads.
        """
        import faiss

        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        rows = np.flatnonzero(norms > 0)

        def part(chosen: Int64Array) -> FloatArray:
            picked = vectors[chosen]
            return picked / norms[chosen, None] if cosine else picked

        dimension, count = vectors.shape[1], lists_for(len(rows))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatL2(dimension),
            dimension,
            count,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        index.cp.niter, index.cp.seed = _ITERATIONS, seed % 2**31
        index.cp.spherical, index.cp.min_points_per_centroid = False, 1
        sample = np.random.default_rng(seed).permutation(len(rows))[: _LEARNT_FROM * count]
        if len(rows):
            index.train(part(rows[np.sort(sample)]))
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            index.add_with_ids(part(chosen), chosen)
        # Vectors belong to the nearest centroid; a query asks for those with the largest inner products.
        index.quantizer.metric_type = faiss.METRIC_INNER_PRODUCT
        lists = np.full(len(vectors), -1, dtype=np.int32)
        for number in range(count):
            if held := index.invlists.list_size(number):
                lists[faiss.rev_swig_ptr(index.invlists.get_ids(number), held)] = number
        found = cls(index, lists, vectors, Tuning(cosine))
        found._tune(queries, excluded)
        return found

    def _tune(self, queries: FloatArray, excluded: Ragged) -> None:
        """Half of the queries choose how many lists to read; the others say what that is worth."""
        cosine = self.tuning.cosine
        if not len(queries) or not len(self._centroids):
            return
        best, _ = self._exact.search(queries, TUNED_FOR[-1], (), excluded)
        order = np.argsort(-(queries @ self._centroids.T), axis=1, kind="stable")
        ranks = np.argsort(order, axis=1, kind="stable")
        needed = np.take_along_axis(ranks, self._lists[best].astype(np.int64), axis=1) + 1
        needed[best < 0] = 0
        probes, recalls = [], []
        for size in TUNED_FOR:
            chosen, others = (part[part > 0] for part in (needed[::2, :size], needed[1::2, :size]))
            enough = max(_quantile(chosen, _AIM), _quantile(others, RECALL))
            probes.append(enough)
            recalls.append(float((others <= enough).mean()) if len(others) else 1.0)
        read = np.cumsum(self._sizes[order], axis=1).mean(axis=0)[np.array(probes) - 1]
        self.tuning = Tuning(cosine, tuple(probes), tuple(map(int, read)), round(min(recalls), 4))

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Sequence[BoolArray | None] = (),
        excluded: Ragged | None = None,
    ) -> tuple[Int32Array, FloatArray]:
        """See :class:`recserve.VectorIndex`."""
        k = min(k, len(self._vectors))
        found = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        nothing = np.empty(0, dtype=np.int32)
        for number in np.flatnonzero(queries.any(axis=1)).tolist():
            mask = self._mask(allowed[number] if allowed else None)
            barred = nothing if excluded is None else excluded[number]
            rows, best = self._find(queries[number], k, mask, barred)
            found[number, : len(rows)], scores[number, : len(rows)] = rows, best
        return found, scores

    @cached_property
    def _exact(self) -> ExactIndex:
        return ExactIndex(self._vectors, cosine=self.tuning.cosine)

    def _find(
        self, query: FloatArray, k: int, mask: _Mask | None, barred: Int32Array
    ) -> tuple[Int32Array, FloatArray]:
        """Rows and scores of one query, best first, without pads."""
        probes = self._probes(query, k, mask)
        if probes is not None:
            candidates = self._candidates(query, int(_SPARE * k) + len(barred), probes, mask)
            rows, best = self._scored(query, k, candidates, barred)
            if len(rows) == k:
                return rows, best
        if mask is not None and _SCATTERED * int(mask.counts.sum()) < len(self._vectors):
            return self._scored(query, k, np.flatnonzero(mask.mask & (self._lists >= 0)), barred)
        found, scores = self._exact.search(
            query[None], k, () if mask is None else (mask.mask,), Ragged.of([barred])
        )
        real = found[0] >= 0
        return found[0, real], scores[0, real]

    def _probes(self, query: FloatArray, k: int, mask: _Mask | None) -> int | None:
        """How many lists to read; None for everything that is allowed."""
        if not self.tuning.probes:
            return None
        probes = min(self.tuning.lists(k), len(self._centroids))
        if mask is None:
            return probes if _SCATTERED * self.tuning.read[0] < len(self._vectors) else None
        order = np.argsort(-(self._centroids @ query), kind="stable")
        reading = int(self._sizes[order[:probes]].sum())
        met = np.cumsum(mask.counts[order])
        if _SCATTERED * reading >= met[-1]:
            return None
        return int(np.searchsorted(met, reading)) + 1

    def _candidates(self, query: FloatArray, count: int, probes: int, mask: _Mask | None) -> Int64Array:
        """Rows with the best 8-bit scores in the most promising lists."""
        import faiss

        params = faiss.SearchParametersIVF(nprobe=probes, sel=None if mask is None else mask.selector)
        _, found = self._index.search(query[None], min(count, len(self._vectors)), params=params)
        rows: Int64Array = found[0]
        return rows[rows >= 0]

    def _scored(
        self, query: FloatArray, k: int, rows: Int64Array, barred: Int32Array
    ) -> tuple[Int32Array, FloatArray]:
        """The best of some rows by their exact scores."""
        rows = np.sort(rows[~np.isin(rows, barred)])
        vectors = self._vectors[rows]
        scores = vectors @ query
        if self.tuning.cosine:
            scores /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        if len(rows) < _FEW:
            order = np.argsort(-scores, kind="stable")[:k]
        else:
            order = top_k(scores[None], k)[0][0]
        return rows[order].astype(np.int32), scores[order]

    def _mask(self, allowed: BoolArray | None) -> _Mask | None:
        """A mask made ready. Masks come again, in a batch and in later ones, so the latest are kept."""
        import faiss

        if allowed is None:
            return None
        with self._lock:
            known = self._masks.get(id(allowed))
            if known is not None and known.mask is allowed:
                self._masks.move_to_end(id(allowed))
                return known
        inside = self._lists[allowed]
        counts = np.bincount(inside[inside >= 0], minlength=len(self._sizes))
        made = _Mask(allowed, counts, faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little")))
        with self._lock:
            self._masks[id(allowed)] = made
            if len(self._masks) > _KEPT_MASKS:
                self._masks.popitem(last=False)
        return made

    def save(self, directory: Path) -> None:
        """Write lists and tuning into an existing folder; equal indexes give equal bytes."""
        import faiss

        np.save(directory / _INDEX, faiss.serialize_index(self._index), allow_pickle=False)
        np.save(directory / _LISTS, self._lists, allow_pickle=False)
        (directory / _TUNING).write_text(json.dumps(asdict(self.tuning), sort_keys=True) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path, vectors: FloatArray) -> InvertedFileIndex:
        """Read what :meth:`save` wrote; what grows with the vectors is memory-mapped.

        Raises:
            BundleError: A file is missing, damaged or does not fit the vectors.
        """
        import faiss

        try:
            stored, lists = _mapped(directory / _INDEX), _mapped(directory / _LISTS)
            index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(stored), stored.nbytes))
            index.referenced_objects = [stored]  # what it reads in place
            raw = json.loads((directory / _TUNING).read_text("utf-8"))
            probes, read = (tuple(map(int, raw[name])) for name in ("probes", "read"))
            tuning = Tuning(bool(raw["cosine"]), probes, read, float(raw["recall"]))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
            raise BundleError(f"index in {directory}: {' '.join(str(error).split())}") from None
        tuned = len(probes) == len(read) and len(probes) in (0, len(TUNED_FOR))
        if lists.shape != vectors.shape[:1] or index.d != vectors.shape[1] or not tuned:
            raise BundleError(f"index in {directory} was made for other vectors")
        return cls(index, lists, vectors, tuning)

    def facts(self) -> dict[str, Any]:
        """Vectors, how many of them are read for each number of results, and the recall that was measured."""
        return {
            "vectors": int(self._index.ntotal),
            "lists": int(self._index.nlist),
            "read": dict(zip(map(str, TUNED_FOR), self.tuning.read, strict=False)),
            "recall": self.tuning.recall,
        }


def lists_for(vectors: int) -> int:
    """How many lists to learn: the power of two nearest to twice the root of the number of vectors."""
    return min(max(int(2 ** round(np.log2(2 * np.sqrt(max(vectors, 1))))), 1), max(vectors, 1))


def _mapped(path: Path) -> Any:
    """An array of a file, memory-mapped and a plain array: slices of ``np.memmap`` cost more."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def _quantile(needed: Int64Array, share: float) -> int:
    """How many lists hold this share of all that is needed."""
    return int(np.quantile(needed, share, method="higher")) if len(needed) else 1
