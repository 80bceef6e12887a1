"""The fitted filter: sparse weights between items, and the singular directions of the low-pass part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from recserve import BundleError, Float64Array, FloatArray, Int32Array, ItemWeights, read_array
from recserve_graph.graph import Graph
from recserve_graph.settings import Settings

VECTORS_FILE = "vectors.npy"
GAINS_FILE = "gains.npy"
SCALES_FILE = "scales.npy"


@dataclass(frozen=True)
class Parts:
    """What filters with different settings are made of.

    Attributes:
        sources: int32, shape (n, w); items with the largest entries of the linear filter towards each item,
            -1 pads.
        weights: float32, same shape.
        values: Singular values, float64, shape (r,), falling.
        vectors: Singular directions, float32, shape (n, r).
    """

    sources: Int32Array
    weights: FloatArray
    values: Float64Array
    vectors: FloatArray
    _linear: dict[int, ItemWeights] = field(default_factory=dict, repr=False)

    def linear(self, neighbours: int) -> ItemWeights:
        """The linear filter with so many entries towards each item, made once."""
        if neighbours not in self._linear:
            self._linear[neighbours] = ItemWeights(
                np.ascontiguousarray(self.sources[:, :neighbours]),
                np.ascontiguousarray(self.weights[:, :neighbours]),
            )
        return self._linear[neighbours]


@dataclass(frozen=True, slots=True)
class Model:
    """Filter ``taste @ (linear boost + source V gains V' target)``, over n items with r directions.

    Attributes:
        linear: The linear filter.
        boost: float32, shape (n,); what a scored item counts in the linear filter.
        vectors: ``V``, float32, shape (n, r).
        gains: float32, shape (r,).
        source: float32, shape (n,); what an item of a history counts, 0 for items that nobody likes.
        target: float32, shape (n,); what a scored item counts, 0 for items that nobody likes.
    """

    linear: ItemWeights
    boost: FloatArray
    vectors: FloatArray
    gains: FloatArray
    source: FloatArray
    target: FloatArray

    @classmethod
    def empty(cls, n_items: int) -> Model:
        """A filter that lets nothing pass."""
        nothing = np.zeros(n_items, dtype=np.float32)
        linear = ItemWeights(np.empty((n_items, 0), np.int32), np.empty((n_items, 0), np.float32))
        vectors, gains = np.zeros((n_items, 1), np.float32), np.zeros(1, np.float32)
        return cls(linear, nothing, vectors, gains, nothing, nothing)

    @classmethod
    def of(cls, graph: Graph, parts: Parts, settings: Settings) -> Model:
        """Filter with some settings, of parts that hold at least as many neighbours and directions."""
        liked = graph.degrees > 0
        degrees = np.where(liked, graph.degrees, 1.0)
        # The largest singular value is 1 where a graph is normalised as in the paper, and else is made so.
        largest = max(float(parts.values[0]), 1e-12)
        gains = (parts.values[: settings.rank] / largest) ** settings.spectral_power
        boost = settings.linear_weight / largest**2 * degrees**settings.linear_exponent
        return cls(
            parts.linear(settings.neighbours),
            (boost * liked).astype(np.float32),
            np.ascontiguousarray(parts.vectors[:, : settings.rank]),
            gains.astype(np.float32),
            (degrees**-settings.source_exponent * liked).astype(np.float32),
            (degrees**settings.target_exponent * liked).astype(np.float32),
        )

    def scores(self, taste: csr_array) -> FloatArray:
        """Scores of B tastes (CSR, B x n), float32, same shape; -inf where there is nothing to say."""
        found = self.linear.totals(taste) * self.boost
        weighted = csr_array(
            (taste.data * self.source[taste.indices], taste.indices, taste.indptr), shape=taste.shape
        )
        found += ((weighted @ self.vectors) * self.gains) @ self.vectors.T * self.target
        found[:, self.target == 0] = -np.inf
        known = np.bincount(
            np.repeat(np.arange(len(found)), np.diff(taste.indptr)), self.source[taste.indices], len(found)
        )
        found[known == 0] = -np.inf
        return found

    def block(self, sources: Int32Array, targets: Int32Array) -> FloatArray:
        """Weights from some items to some items, float32, shape (sources, targets)."""
        folded = self.vectors[sources] * self.source[sources, None] * self.gains
        smooth: FloatArray = folded @ (self.vectors[targets] * self.target[targets, None]).T
        return smooth + self.linear.block(sources, targets) * self.boost[targets]

    def save(self, directory: Path) -> None:
        """Write the filter; nothing of any user."""
        self.linear.save(directory)
        # A leading axis of one: a matrix of items must not look like one with a row a user.
        np.save(directory / VECTORS_FILE, self.vectors[None], allow_pickle=False)
        np.save(directory / GAINS_FILE, self.gains, allow_pickle=False)
        np.save(directory / SCALES_FILE, np.stack([self.boost, self.source, self.target]), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, n_items: int) -> Model:
        """Read what :meth:`save` wrote; vectors are memory-mapped.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        linear = ItemWeights.load(directory, n_items)
        gains = read_array(directory / GAINS_FILE, np.float32, (None,))
        vectors = read_array(directory / VECTORS_FILE, np.float32, (1, n_items, len(gains)))[0]
        scales = read_array(directory / SCALES_FILE, np.float32, (3, n_items))
        for file, array in ((GAINS_FILE, gains), (VECTORS_FILE, vectors), (SCALES_FILE, scales)):
            if not np.isfinite(array).all():
                raise BundleError(f"{directory / file} holds values that are not finite")
        boost, source, target = np.array(scales)
        return cls(linear, boost, vectors, np.array(gains), source, target)
