"""The normalised graph of users and items, and what its filters are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from recserve import (
    ComparedItems,
    Dataset,
    FitContext,
    Float64Array,
    FloatArray,
    Int32Array,
    most_similar,
)
from recserve_graph.decomposition import leading_directions
from recserve_graph.settings import Settings


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges between users and items, normalised at both ends.

    Attributes:
        edges: CSR, float32, users by items: ``D_U ** -u  R  D_I ** -i``, where D are the sums of the edges'
            weights R at users and at items.
        degrees: float64, shape (n_items,); sum of the weights at each item, 0 for items that nobody likes.
    """

    edges: csr_array
    degrees: Float64Array

    @classmethod
    def of(cls, data: Dataset, settings: Settings) -> Graph:
        """Graph of the positive events.

        Args:
            data: Who likes what.
            settings: Its ``user_exponent`` is u, its ``item_exponent`` i, and its ``confidence_power`` the
                exponent on a user's summed confidence in an item.
        """
        matrix = data.matrix()
        matrix.data **= np.float32(settings.confidence_power)
        matrix = csr_array(matrix[np.flatnonzero(np.diff(matrix.indptr))])
        sums = np.asarray(matrix.sum(axis=1), dtype=np.float64).reshape(-1)
        degrees = np.bincount(matrix.indices, matrix.data, minlength=data.n_items).astype(np.float64)
        values = matrix.data * np.repeat(sums**-settings.user_exponent, np.diff(matrix.indptr))
        values *= degrees[matrix.indices] ** -settings.item_exponent
        return cls(
            csr_array((values.astype(np.float32), matrix.indices, matrix.indptr), matrix.shape), degrees
        )

    @property
    def smaller_side(self) -> int:
        """Users or items with an edge, whichever are fewer."""
        return min(int(self.edges.shape[0]), int((self.degrees > 0).sum()))

    def linear(self, neighbours: int, context: FitContext) -> tuple[Int32Array, FloatArray]:
        """Largest entries of the linear filter ``edges.T @ edges`` towards each item."""
        width = min(neighbours, max(len(self.degrees) - 1, 0))
        by_item = csr_array(self.edges.T.tocsr())
        return most_similar(by_item, ComparedItems(self.edges, None, 0.0, width), context)

    def directions(self, rank: int, context: FitContext) -> tuple[Float64Array, FloatArray]:
        """Leading singular directions, see :func:`leading_directions`."""
        return leading_directions(
            self.edges, min(rank, self.smaller_side), context.seed, context.executor, context.progress
        )
