"""Cells of vectors with one direction: how they are learnt, and their runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import FloatArray, Int64Array

# What estimates are made for: in longer ones more is read in vain, shorter ones cost more.
RUN = 16
_ITERATIONS = 6
_LEARNT_FROM = 200
_CHUNK = 8192
_TINY = np.float32(1e-6)


@dataclass(frozen=True, slots=True)
class Cells:
    """Stored vectors ``starts[c]:starts[c + 1]`` point in about the direction c.

    Attributes:
        starts: int64, shape (C + 1,).
        directions: float32, shape (C, d), unit length.
        closeness: float32, shape (C,); mean cosine of a cell's vectors to its direction.
    """

    starts: Int64Array
    directions: FloatArray
    closeness: FloatArray

    @classmethod
    def learn(cls, vectors: FloatArray, norms: FloatArray, seed: int) -> tuple[Cells, Int64Array]:
        """Spherical k-means.

        Args:
            vectors: float32, shape (n, d), none of them zero.
            norms: float32, shape (n,); their lengths.
            seed: Seed; equal vectors and seed give equal cells.

        Returns:
            The cells, and int64, shape (n,): the order that puts cells together, longest vectors first.
        """
        count = cells_for(len(vectors))
        # One thread: sums are then taken in one order, whatever the machine's number of cores.
        with threadpool_limits(limits=1, user_api="blas"):
            directions = _directions(vectors, norms, count, seed)
            cell = np.empty(len(vectors), dtype=np.int32)
            cosine = np.empty(len(vectors), dtype=np.float32)
            for start in range(0, len(vectors), _CHUNK):
                part = slice(start, start + _CHUNK)
                cosines = vectors[part] @ directions.T
                cell[part] = cosines.argmax(axis=1)
                cosine[part] = cosines.max(axis=1) / norms[part]
        order = np.lexsort((np.arange(len(vectors)), -norms, cell))
        sizes = np.bincount(cell, minlength=count)
        sums = np.bincount(cell, weights=cosine, minlength=count)
        closeness = np.clip(sums / np.maximum(sizes, 1), 0.0, 1.0).astype(np.float32)
        return cls(np.concatenate([[0], np.cumsum(sizes)]), directions, closeness), order

    def angles(self, queries: FloatArray, optimism: float) -> FloatArray:
        """The cosine that a good vector of each cell can have to each query, float32, shape (B, C), above 0.

        Args:
            queries: float32, shape (B, d), unit length.
            optimism: Standard deviations of a random direction within a cell; see
                :mod:`recserve_mf.cell_index`.
        """
        cosines = queries @ self.directions.T
        across = np.sqrt(np.maximum(1 - cosines * cosines, 0) * (1 - self.closeness * self.closeness))
        angles: FloatArray = np.maximum(cosines * self.closeness + np.float32(optimism) * across, _TINY)
        return angles


def cells_for(vectors: int) -> int:
    """How many cells to learn: the power of two nearest to a third of the root of the number of vectors.

    More of them would be smaller stretches to read, each with a cost of its own, for few vectors less.
    """
    return min(max(int(2 ** round(np.log2(np.sqrt(max(vectors, 1)) / 3))), 1), max(vectors, 1))


def _directions(vectors: FloatArray, norms: FloatArray, count: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    size = min(len(vectors), _LEARNT_FROM * count)
    sample = np.sort(generator.choice(len(vectors), size, replace=False))
    unit = vectors[sample] / norms[sample, None]
    directions = unit[np.sort(generator.choice(size, count, replace=False))]
    for _ in range(_ITERATIONS):
        cell = np.concatenate(
            [(unit[at : at + _CHUNK] @ directions.T).argmax(axis=1) for at in range(0, size, _CHUNK)]
        )
        order = np.argsort(cell, kind="stable")
        used, starts = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(unit[order], starts, axis=0, dtype=np.float64)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        directions[used] = sums / np.maximum(lengths, 1e-12)
    return directions


@dataclass(frozen=True, slots=True)
class Runs:
    """Stored vectors in runs of at most :data:`RUN`, each within one cell.

    Attributes:
        cells: int64, shape (R,); the cell of each run.
        starts: int64, shape (R,); its first vector.
        sizes: int64, shape (R,); its vectors.
        lengths: float32, shape (R,); length of its first vector, which is its longest.
    """

    cells: Int64Array
    starts: Int64Array
    sizes: Int64Array
    lengths: FloatArray

    @classmethod
    def of(cls, starts: Int64Array, norms: FloatArray) -> Runs:
        """Cut cells, given as int64 (C + 1,) borders, into runs."""
        counts = -(-np.diff(starts) // RUN)
        cells = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
        firsts = starts[cells] + within * RUN
        sizes = np.minimum(RUN, starts[cells + 1] - firsts)
        return cls(cells, firsts, sizes, np.asarray(norms[firsts], dtype=np.float32))

    def __len__(self) -> int:
        return len(self.cells)

    def of_vectors(self, places: Int64Array) -> Int64Array:
        """The run that each stored vector is in."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def stretches(self, chosen: Int64Array) -> Stretches:
        """Chosen runs, joined where they are neighbours."""
        chosen = np.sort(chosen)
        starts, ends = self.starts[chosen], self.starts[chosen] + self.sizes[chosen]
        apart = np.flatnonzero(starts[1:] != ends[:-1])
        return Stretches.of(
            starts[np.concatenate([[0], apart + 1])], ends[np.concatenate([apart, [len(ends) - 1]])]
        )


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stored vectors that are read: some stretches of neighbours, one after the other.

    Attributes:
        starts: int64, shape (S,); first place of each, ascending.
        ends: int64, shape (S,); behind its last place.
        offsets: int64, shape (S + 1,); vectors that are read before each.
    """

    starts: Int64Array
    ends: Int64Array
    offsets: Int64Array

    @classmethod
    def of(cls, starts: Int64Array, ends: Int64Array) -> Stretches:
        """Stretches, each within ``starts[s]:ends[s]``."""
        return cls(starts, ends, np.concatenate([[0], np.cumsum(ends - starts)]))

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def products(self, stored: FloatArray, query: FloatArray) -> FloatArray:
        """Inner products of what is read, float32, shape (len(self),)."""
        scores = np.empty(len(self), dtype=np.float32)
        dot = np.dot
        borders = zip(
            self.starts.tolist(),
            self.ends.tolist(),
            self.offsets[:-1].tolist(),
            self.offsets[1:].tolist(),
            strict=True,
        )
        for start, end, to, until in borders:
            dot(stored[start:end], query, out=scores[to:until])
        return scores

    def places(self, numbers: Int64Array | None = None) -> Int64Array:
        """Where the vectors are stored that are read first, second, ...; None for all of them."""
        shifts = self.starts - self.offsets[:-1]
        if numbers is None:
            return np.arange(len(self)) + np.repeat(shifts, self.ends - self.starts)
        return numbers + shifts[np.searchsorted(self.offsets, numbers, side="right") - 1]

    def numbers(self, places: Int64Array) -> Int64Array:
        """Inverse of :meth:`places`, for those of the places that are read."""
        stretch = np.searchsorted(self.starts, places, side="right") - 1
        inside = (stretch >= 0) & (places < self.ends[stretch])
        stretch, places = stretch[inside], places[inside]
        return places - self.starts[stretch] + self.offsets[stretch]


__all__ = ["RUN", "Cells", "Runs", "Stretches", "cells_for"]
