"""Figures of each query that need no other query: what batches are measured by, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recserve.data.arrays import Float64Array, FloatArray, Int32Array
from recserve.data.batches import Queries, Ragged
from recserve.evaluation.metrics import accuracy as metrics
from recserve.evaluation.metrics import calibration as profiles
from recserve.evaluation.splits import Split

BEFORE = "popularity of the profile"
"""Column that :func:`lists_column` are compared with."""


def lists_column(k: int) -> str:
    """Column of the popularity of lists, cut at ``k``."""
    return f"popularity of the list@{k}"


@dataclass(frozen=True)
class QueryMeasures:
    """What figures of single queries are worked out with.

    Attributes:
        ks: Cut-offs.
        information: float64, shape (n_items,); bits that each item tells.
        popularity: float64, shape (n_items,).
        vectors: float32, shape (n_items, d); what the cosines of ``ild`` are taken of.
        diversity_vectors: What they are: ``text`` or ``interactions``.
        calibration: Compares a list's mix with its user's; None where it is not measured.
    """

    ks: tuple[int, ...]
    information: Float64Array
    popularity: Float64Array
    vectors: FloatArray
    diversity_vectors: str
    calibration: profiles.Calibration | None

    @classmethod
    def of(cls, split: Split, ks: Sequence[int], seed: int, attribute: str | None) -> QueryMeasures:
        """Those of a split's training part.

        Raises:
            ConfigError: No item has the attribute.
        """
        training = split.training
        vectors = training.catalogue.vectors
        return cls(
            ks=tuple(ks),
            information=metrics.self_information(training),
            popularity=profiles.popularity(training),
            vectors=metrics.interaction_vectors(training, seed=seed) if vectors is None else vectors,
            diversity_vectors="interactions" if vectors is None else "text",
            calibration=None if attribute is None else profiles.Calibration(training.catalogue, attribute),
        )

    def metrics(self, queries: Queries, ranked: Int32Array, relevant: Ragged) -> dict[str, Float64Array]:
        """Metrics of each query of a batch, by name."""
        values = {
            **metrics.accuracy(ranked, relevant, self.ks),
            **metrics.novelty(ranked, self.information, self.ks),
            **metrics.intra_list_diversity(ranked, self.vectors, self.ks),
        }
        if self.calibration is not None:
            values.update(self.calibration.divergence(ranked, queries.histories, self.ks))
        return values

    def profiles(self, queries: Queries, ranked: Int32Array) -> dict[str, Float64Array]:
        """How popular the profile of each query is, and its list, by column."""
        before, after = profiles.list_popularity(ranked, queries.histories, self.popularity, self.ks)
        return {BEFORE: before, **{lists_column(k): lists for k, lists in after.items()}}
