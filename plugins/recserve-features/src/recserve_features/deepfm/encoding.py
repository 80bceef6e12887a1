"""Values of features as entries of one table: buckets of numbers, vocabularies of categories.

Each field has an entry of its own for what is missing; a category has one for values that training did not
meet, or met too rarely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recserve import BoolArray, Float64Array, FloatArray, Int32Array

# A category's value needs an example more than this for an entry; rarer ones teach what is unknown.
_RARE = 4


@dataclass(frozen=True)
class Bounds:
    """A numeric field: entry 0 is missing, then come the buckets.

    Attributes:
        edges: float64, increasing; a value belongs to the bucket after the last edge that it reaches.
    """

    edges: Float64Array

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.edges) + 2

    def entries(self, values: FloatArray) -> Int32Array:
        """Entry of each value, int32."""
        found = 1 + np.searchsorted(self.edges, values.astype(np.float64), side="right")
        return np.where(np.isnan(values), 0, found).astype(np.int32)

    @classmethod
    def learnt(cls, values: FloatArray, weights: Float64Array, most: int) -> Bounds:
        """Quantiles, in which no value counts for more than a bucket.

        Args:
            values: float32, shape (N,); not finite ones are left out.
            weights: float64, shape (N,).
            most: Buckets at most.
        """
        finite = np.isfinite(values)
        distinct, place = np.unique(values[finite].astype(np.float64), return_inverse=True)
        if len(distinct) <= most:
            return cls((distinct[1:] + distinct[:-1]) / 2.0)
        counts = np.bincount(place, weights[finite])
        counts = np.minimum(counts, counts.sum() / most)
        shares = np.cumsum(counts) / counts.sum()
        # A bucket ends where its share is reached; the last one has no end.
        last = np.searchsorted(shares, np.arange(1, most) / most - 1e-9)
        last = np.unique(np.minimum(last, len(distinct) - 2))
        return cls((distinct[last] + distinct[last + 1]) / 2.0)


@dataclass(frozen=True)
class Vocabulary:
    """A field of categories: entry 0 is missing, 1 is unknown, then come the values.

    Attributes:
        known: float64, increasing.
    """

    known: Float64Array

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.known) + 2

    def entries(self, values: FloatArray) -> Int32Array:
        """Entry of each value, int32."""
        found = np.ones(values.shape, dtype=np.int32)
        if len(self.known):
            place = np.minimum(np.searchsorted(self.known, values), len(self.known) - 1)
            found = np.where(self.known[place] == values, place + 2, 1)
        return np.where(np.isnan(values), 0, found).astype(np.int32)

    @classmethod
    def learnt(cls, values: FloatArray, most: int) -> Vocabulary:
        """The most frequent values, of equally frequent ones the lowest."""
        distinct, counts = np.unique(values[np.isfinite(values)].astype(np.float64), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:most]
        return cls(np.sort(distinct[order[counts[order] > _RARE]]))


@dataclass(frozen=True)
class Encoding:
    """The fields of F features side by side in one table of R entries.

    Attributes:
        fields: Of the features, in their order.
    """

    fields: Sequence[Bounds | Vocabulary]

    @property
    def size(self) -> int:
        """R."""
        return sum(field.size for field in self.fields)

    def starts(self) -> Int32Array:
        """First entry of each field, int32, shape (F,)."""
        sizes = [field.size for field in self.fields]
        return np.concatenate([[0], np.cumsum(sizes)])[: len(sizes)].astype(np.int32)

    def entries(self, features: FloatArray) -> Int32Array:
        """Entries of some candidates.

        Args:
            features: float32, shape (N, F), NaN where nothing is known.

        Returns:
            int32, shape (N, F), each from 0 to R - 1.
        """
        found = np.empty(features.shape, dtype=np.int32)
        for column, (field, start) in enumerate(zip(self.fields, self.starts(), strict=True)):
            found[:, column] = start + field.entries(features[:, column])
        return found

    @classmethod
    def learnt(
        cls, features: FloatArray, hits: BoolArray, categorical: Sequence[int], buckets: int, vocabulary: int
    ) -> Encoding:
        """Fields that suit some examples.

        Args:
            features: float32, shape (N, F).
            hits: bool, shape (N,); what was chosen. Half of the weight lies on that, so that buckets are
                narrow where they tell it from the rest.
            categorical: Columns that are categories.
            buckets: Of a numeric field, at most.
            vocabulary: Values of a category, at most.
        """
        chosen = int(hits.sum())
        weights = np.where(hits, 0.5 / max(chosen, 1), 0.5 / max(len(hits) - chosen, 1))
        return cls(
            [
                Vocabulary.learnt(features[:, column], vocabulary)
                if column in categorical
                else Bounds.learnt(features[:, column], weights, buckets)
                for column in range(features.shape[1])
            ]
        )

    def to_json(self) -> list[dict[str, Any]]:
        """JSON-like form."""
        return [
            {"edges": field.edges.tolist()} if isinstance(field, Bounds) else {"known": field.known.tolist()}
            for field in self.fields
        ]

    @classmethod
    def from_json(cls, facts: Sequence[Mapping[str, Any]]) -> Encoding:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: It is damaged.
            KeyError: Likewise.
        """
        return cls([_field(own) for own in facts])


def _field(facts: Mapping[str, Any]) -> Bounds | Vocabulary:
    values = np.array(facts["edges"] if "edges" in facts else facts["known"], dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise ValueError("the bounds of a feature are no increasing numbers")
    return Bounds(values) if "edges" in facts else Vocabulary(values)
