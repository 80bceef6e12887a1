"""Approximate search for the largest inner products or cosines over many vectors.

Vectors are stored by cell: those of one direction are neighbours, longest first. For each run of stored
vectors a query has an estimate of the best score to be found there, out of the angle to the cell's direction
and the length of the run's first vector. The most promising runs are read, in a few matrix products over
memory that is mapped, and the best of what they hold is returned with its exact score.

How much has to be read is no parameter: it is what sample queries needed for :data:`RECALL`
(:meth:`CellIndex.tune`). It grows with what is asked for and with what filters take away, and where that
comes near reading everything that is allowed, everything that is allowed is read. A page is never short
because of the index.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from cachetools import LRUCache
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recserve import BoolArray, BundleError, FloatArray, Int32Array, Int64Array, Ragged, top_k
from recserve_mf.cells import Cells, Runs, Stretches

Measure = Literal["product", "cosine"]

RECALL = 0.98
"""Share of the truly best that a search finds, on average."""

TUNED_FOR = (25, 50, 100, 150, 200, 300, 400)
"""Numbers of results that tuning asks for. In between as much is read as for the next higher one."""

# What tuning aims at, so that queries it has not seen still reach RECALL.
_AIM = 0.986
_OPTIMISMS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
# Reading vectors here and there costs as much as reading this many in a row.
_SCATTERED = 2
# Reading stretches costs as much as reading this many times as much in one go.
_STRETCHES = 1.5
_SCORED_AT_A_TIME = 8_000_000
_KEPT_MASKS = 8

_ROWS = "rows.npy"
_NORMS = "norms.npy"
_CELLS = "cells.safetensors"
_EFFORTS = "search.json"


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to search.

    Attributes:
        optimism: How much better than its mean a cell is taken to be, see :meth:`Cells.angles`.
        vectors: Vectors to read for each number of results in :data:`TUNED_FOR`.
        recall: The lowest of them, measured with other queries than those that chose the two.
    """

    optimism: float
    vectors: tuple[int, ...]
    recall: float

    def reading(self, k: int) -> int:
        """Vectors to read for ``k`` results."""
        for size, vectors in zip(TUNED_FOR, self.vectors, strict=True):
            if k <= size:
                return vectors
        # More is needed the more is asked for, but less than in proportion.
        return self.vectors[-1] * k // TUNED_FOR[-1]


class CellIndex:
    """Searches vectors that somebody else keeps in the order of the index.

    Args:
        rows: int32, shape (n,); the owner's row of each stored vector.
        norms: float32, shape (n,); lengths.
        cells: What the vectors are sorted by.
        efforts: By measure, once tuned.
    """

    def __init__(
        self, rows: Int32Array, norms: FloatArray, cells: Cells, efforts: dict[Measure, Effort]
    ) -> None:
        self.rows = rows
        self.cells = cells
        self.efforts = efforts
        self._norms = norms
        self._runs = Runs.of(cells.starts, norms)
        self._masks: LRUCache[int, tuple[BoolArray, BoolArray, Int64Array]] = LRUCache(_KEPT_MASKS)
        self._lock = Lock()

    @classmethod
    def build(cls, vectors: FloatArray, members: BoolArray, seed: int) -> tuple[CellIndex, Int32Array]:
        """Sort vectors into cells.

        Args:
            vectors: float32, shape (N, d).
            members: bool, shape (N,); which can be found at all. Zero vectors cannot.
            seed: Seed; equal vectors and seed give an equal index.

        Returns:
            The index, not tuned yet, and int32 (N,): the order in which to keep the vectors, those of the
            index first.
        """
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        chosen = np.flatnonzero(members & (norms > 0))
        cells, order = Cells.learn(vectors[chosen], norms[chosen], seed)
        rows = chosen[order].astype(np.int32)
        rest = np.ones(len(vectors), dtype=np.bool_)
        rest[rows] = False
        return cls(rows, norms[rows], cells, {}), np.concatenate(
            [rows, np.flatnonzero(rest).astype(np.int32)]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def tune(self, stored: FloatArray, measure: Measure, queries: FloatArray, excluded: Ragged) -> Effort:
        """Find out how much must be read, and remember it in :attr:`efforts`.

        Every other query is used to choose, the others to measure what the choice is worth, and to read more
        where that would be less than :data:`RECALL`.

        Args:
            stored: float32, shape (N, d); see :meth:`search`.
            measure: What is searched for.
            queries: float32, shape (Q, d), none of them zero; what people will ask for.
            excluded: Places in ``stored`` that each query must not find.
        """
        best = self._exact_places(stored, measure, queries, excluded, min(TUNED_FOR[-1], len(self)))
        reading = {}
        for optimism in _OPTIMISMS:
            needed = self._needed(measure, queries[::2], best[::2], optimism)
            reading[optimism] = tuple(_enough(needed[:, :size], _AIM) for size in TUNED_FOR)
        optimism = min(reading, key=lambda one: (sum(reading[one]), one))
        needed = self._needed(measure, queries[1::2], best[1::2], optimism)
        vectors = tuple(
            max(enough, _enough(needed[:, :size], RECALL))
            for size, enough in zip(TUNED_FOR, reading[optimism], strict=True)
        )
        recalls = [_share(needed[:, :size], enough) for size, enough in zip(TUNED_FOR, vectors, strict=True)]
        effort = Effort(optimism, vectors, round(min(recalls), 4))
        self.efforts[measure] = effort
        return effort

    def search(
        self,
        stored: FloatArray,
        measure: Measure,
        queries: FloatArray,
        k: int,
        allowed: tuple[BoolArray | None, ...],
        excluded: tuple[Int64Array, ...],
    ) -> tuple[Int32Array, FloatArray]:
        """The k best for each query; which is close to, and without an effort exactly, the truth.

        Args:
            stored: float32, shape (N, d), N >= n; vectors in the order that :meth:`build` asked for.
            measure: Inner products, or cosines times the query's length.
            queries: float32, shape (B, d).
            k: At least 1.
            allowed: For each query None or bool, by the owner's row.
            excluded: For each query places in ``stored`` that it must not find.

        Returns:
            The owner's rows int32 and scores float32, shape (B, k), best first; -1 and -inf pad.
        """
        found = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        asked = np.flatnonzero(lengths[:, 0] > 0)
        effort = self.efforts.get(measure)
        angles = self.cells.angles(queries[asked] / lengths[asked], effort.optimism if effort else 0.0)
        for index, towards in zip(asked.tolist(), angles, strict=True):
            mask, counts = self._stored_mask(allowed[index])
            stretches = self._stretches(measure, effort, towards, k, len(excluded[index]), counts)
            places, best = self._read(stored, measure, queries[index], k, mask, excluded[index], stretches)
            if len(places) < k and stretches is not None:
                places, best = self._read(stored, measure, queries[index], k, mask, excluded[index], None)
            found[index, : len(places)], scores[index, : len(places)] = self.rows[places], best
        return found, scores

    def _stretches(
        self,
        measure: Measure,
        effort: Effort | None,
        towards: FloatArray,
        k: int,
        excluded: int,
        counts: Int64Array,
    ) -> Stretches | None:
        """What to read; None for everything that is allowed.

        Args:
            measure: What is searched for.
            effort: How hard.
            towards: float32, shape (C,); see :meth:`Cells.angles`.
            k: Results.
            excluded: Vectors that will be left out.
            counts: int64, shape (R,); allowed vectors of each run.
        """
        if effort is None:
            return None
        # Vectors that may be found are as good as others: to find as many, as many of them must be read.
        reading = max(effort.reading(k), 2 * (k + excluded))
        total = int(counts.sum()) if counts is not self._runs.sizes else len(self)
        everything = total if total == len(self) else _SCATTERED * total
        if _STRETCHES * reading * len(self) >= everything * total:
            return None
        order = _best_first(self._promise(measure, towards), reading * len(self._runs) // total + 1)
        until = np.cumsum(counts[order])
        if until[-1] < reading:
            order = np.argsort(-self._promise(measure, towards), kind="stable")
            until = np.cumsum(counts[order])
        chosen = order[: int(np.searchsorted(until, reading)) + 1]
        if counts is not self._runs.sizes:
            chosen = chosen[counts[chosen] > 0]
        return self._runs.stretches(chosen)

    def _promise(self, measure: Measure, towards: FloatArray) -> FloatArray:
        """The best score that can be hoped for in each run, float32, shape (R,)."""
        promise: FloatArray = towards[self._runs.cells]
        return promise * self._runs.lengths if measure == "product" else promise

    def _read(
        self,
        stored: FloatArray,
        measure: Measure,
        query: FloatArray,
        k: int,
        mask: BoolArray | None,
        excluded: Int64Array,
        stretches: Stretches | None,
    ) -> tuple[Int64Array, FloatArray]:
        """Places and scores of the best k among what is read, best first, without pads."""
        if stretches is None and mask is not None:
            places = np.flatnonzero(mask)
            scores = stored[places] @ query
            if measure == "cosine":
                scores /= self._norms[places]
            scores[np.isin(places, excluded)] = -np.inf
            best, values = top_k(scores[None, :], k)
            real = best[0] >= 0
            return places[best[0, real]], values[0, real]
        if stretches is None:
            stretches = Stretches.of(np.zeros(1, dtype=np.int64), np.full(1, len(self)))
        scores = stretches.products(stored, query)
        if measure == "cosine" or mask is not None:
            places = stretches.places()
            if measure == "cosine":
                scores /= self._norms[places]
            if mask is not None:
                scores[~mask[places]] = -np.inf
        scores[stretches.numbers(excluded)] = -np.inf
        best, values = top_k(scores[None, :], k)
        real = best[0] >= 0
        return stretches.places(best[0, real].astype(np.int64)), values[0, real]

    def _stored_mask(self, allowed: BoolArray | None) -> tuple[BoolArray | None, Int64Array]:
        """A mask in the order of the index, and how many vectors of each run it allows.

        Masks come again, in a batch and in later ones, so the latest are kept.
        """
        if allowed is None:
            return None, self._runs.sizes
        with self._lock:
            known = self._masks.get(id(allowed))
            if known is not None and known[0] is allowed:
                return known[1], known[2]
        mask = allowed[self.rows]
        counts = np.add.reduceat(mask, self._runs.starts, dtype=np.int64) if len(mask) else self._runs.sizes
        with self._lock:
            self._masks[id(allowed)] = (allowed, mask, counts)
        return mask, counts

    def _exact_places(
        self, stored: FloatArray, measure: Measure, queries: FloatArray, excluded: Ragged, k: int
    ) -> Int64Array:
        """Places of the truly best, int64, shape (Q, k); -1 where there are fewer."""
        size = max(1, _SCORED_AT_A_TIME // len(self))
        parts = []
        for start in range(0, len(queries), size):
            scores = queries[start : start + size] @ stored[: len(self)].T
            if measure == "cosine":
                scores /= self._norms
            for row in range(len(scores)):
                barred = excluded[start + row]
                scores[row, barred[(barred >= 0) & (barred < len(self))]] = -np.inf
            parts.append(top_k(scores, k)[0])
        return np.concatenate(parts).astype(np.int64)

    def _needed(self, measure: Measure, queries: FloatArray, best: Int64Array, optimism: float) -> Int64Array:
        """Vectors to read until each of the best is found, int64, shape of ``best``; -1 for none."""
        unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        needed = np.full(best.shape, -1, dtype=np.int64)
        until = np.empty(len(self._runs), dtype=np.int64)
        for number, towards in enumerate(self.cells.angles(unit, optimism)):
            order = np.argsort(-self._promise(measure, towards), kind="stable")
            until[order] = np.cumsum(self._runs.sizes[order])
            real = best[number] >= 0
            needed[number, real] = until[self._runs.of_vectors(best[number, real])]
        return needed

    def save(self, directory: Path) -> None:
        """Write the index into an existing folder; equal indices give equal bytes."""
        np.save(directory / _ROWS, self.rows, allow_pickle=False)
        np.save(directory / _NORMS, self._norms, allow_pickle=False)
        cells = self.cells
        save_file(
            {"starts": cells.starts, "directions": cells.directions, "closeness": cells.closeness},
            directory / _CELLS,
        )
        efforts = {measure: asdict(effort) for measure, effort in self.efforts.items()}
        (directory / _EFFORTS).write_text(json.dumps(efforts, sort_keys=True, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path, stored: FloatArray) -> CellIndex:
        """Read what :meth:`save` wrote; what grows with the vectors is memory-mapped.

        Raises:
            BundleError: A file is missing, damaged or does not fit the vectors.
        """
        try:
            rows = _mapped(directory / _ROWS)
            norms = _mapped(directory / _NORMS)
            state = load_file(directory / _CELLS)
            cells = Cells(state["starts"], state["directions"], state["closeness"])
            raw = json.loads((directory / _EFFORTS).read_text("utf-8"))
            efforts: dict[Measure, Effort] = {
                measure: _effort(raw[measure]) for measure in ("product", "cosine") if measure in raw
            }
        except (OSError, ValueError, KeyError, TypeError, EOFError, SafetensorError) as error:
            raise BundleError(f"index in {directory}: {' '.join(str(error).split())}") from None
        count = len(cells.directions)
        fits = (
            len(rows) == len(norms) <= len(stored)
            and cells.directions.shape == (count, stored.shape[1])
            and cells.closeness.shape == (count,)
            and cells.starts.shape == (count + 1,)
            and cells.starts[0] == 0
            and cells.starts[-1] == len(rows)
            and bool(np.all(np.diff(cells.starts) >= 0))
        )
        if not fits:
            raise BundleError(f"index in {directory} was made for other vectors")
        return cls(rows, norms, cells, efforts)


def _best_first(promise: FloatArray, count: int) -> Int64Array:
    """The ``count`` most promising runs, best first."""
    cut = max(len(promise) - count, 0)
    best = np.argpartition(promise, cut)[cut:] if cut else np.arange(len(promise))
    return best[np.argsort(-promise[best], kind="stable")]


def _effort(raw: dict[str, Any]) -> Effort:
    vectors = tuple(int(one) for one in raw["vectors"])
    if len(vectors) != len(TUNED_FOR):
        raise ValueError("what to read is not known for all numbers of results")
    return Effort(float(raw["optimism"]), vectors, float(raw["recall"]))


def _enough(needed: Int64Array, share: float) -> int:
    """How much finds this share of all that is needed."""
    real = needed[needed >= 0]
    return int(np.quantile(real, share)) + 1 if len(real) else 0


def _share(needed: Int64Array, vectors: int) -> float:
    """The share that is found with so many."""
    real = needed[needed >= 0]
    return float(np.mean(real <= vectors)) if len(real) else 1.0


def _mapped(path: Path) -> Any:
    """An array of a file, memory-mapped and a plain array: slices of ``np.memmap`` cost more."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
