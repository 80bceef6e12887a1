"""The fitted filter: sparse weights between items, and the singular directions of the low-pass part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from recserve import BundleError, FloatArray, Int32Array, ItemWeights, read_array
from recserve_graph.graph import Graph
from recserve_graph.settings import Settings

VECTORS_FILE = "vectors.npy"
GAINS_FILE = "gains.npy"
SCALES_FILE = "scales.npy"


@dataclass(frozen=True, slots=True)
class Model:
    """Filter ``taste @ (linear + source V gains V' target)``, over n items with r directions.

    Attributes:
        linear: The linear filter.
        vectors: ``V``, float32, shape (n, r).
        gains: float32, shape (r,).
        source: float32, shape (n,); what an item of a history counts, 0 for items that nobody likes.
        target: float32, shape (n,); what a scored item counts, 0 for items that nobody likes.
    """

    linear: ItemWeights
    vectors: FloatArray
    gains: FloatArray
    source: FloatArray
    target: FloatArray

    @classmethod
    def empty(cls, n_items: int) -> Model:
        """A filter that lets nothing pass."""
        nothing = np.zeros(n_items, dtype=np.float32)
        linear = ItemWeights(np.empty((n_items, 0), np.int32), np.empty((n_items, 0), np.float32))
        return cls(linear, np.zeros((n_items, 1), np.float32), np.zeros(1, np.float32), nothing, nothing)

    @classmethod
    def of(cls, graph: Graph, parts: Parts, settings: Settings) -> Model:
        """Filter with some settings, of parts that hold at least as many neighbours and directions."""
        width, rank = settings.neighbours, settings.rank
        popular = np.where(graph.degrees > 0, np.maximum(graph.degrees, 1e-12), np.inf)
        boost = np.where(graph.degrees > 0, graph.degrees, 0.0) ** settings.linear_exponent
        weights = parts.weights[:, :width] * boost.astype(np.float32)[:, None]
        gains = settings.low_pass_weight * parts.values[:rank] ** settings.spectral_power
        liked = graph.degrees > 0
        return cls(
            ItemWeights(np.ascontiguousarray(parts.sources[:, :width]), np.ascontiguousarray(weights)),
            np.ascontiguousarray(parts.vectors[:, :rank]),
            gains.astype(np.float32),
            (popular**-settings.source_exponent * liked).astype(np.float32),
            (np.where(liked, popular, 0.0) ** settings.target_exponent * liked).astype(np.float32),
        )

    def scores(self, taste: csr_array) -> FloatArray:
        """Scores of B tastes (CSR, B x n), float32, same shape; -inf where there is nothing to say."""
        found = self.linear.totals(taste)
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
        return smooth + self.linear.block(sources, targets)

    def save(self, directory: Path) -> None:
        """Write the filter; nothing of any user."""
        self.linear.save(directory)
        # A leading axis of one: a matrix of items must not look like one with a row a user.
        np.save(directory / VECTORS_FILE, self.vectors[None], allow_pickle=False)
        np.save(directory / GAINS_FILE, self.gains, allow_pickle=False)
        np.save(directory / SCALES_FILE, np.stack([self.source, self.target]), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, n_items: int) -> Model:
        """Read what :meth:`save` wrote; vectors are memory-mapped.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        linear = ItemWeights.load(directory, n_items)
        gains = read_array(directory / GAINS_FILE, np.float32, (None,))
        vectors = read_array(directory / VECTORS_FILE, np.float32, (1, n_items, len(gains)))[0]
        scales = read_array(directory / SCALES_FILE, np.float32, (2, n_items))
        for file, array in ((GAINS_FILE, gains), (VECTORS_FILE, vectors), (SCALES_FILE, scales)):
            if not np.isfinite(array).all():
                raise BundleError(f"{directory / file} holds values that are not finite")
        return cls(linear, vectors, np.array(gains), np.array(scales[0]), np.array(scales[1]))


@dataclass(frozen=True, slots=True)
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
    values: FloatArray
    vectors: FloatArray
