"""Features of a user and an item, from the query's history: affinity, distance, similarity, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from recserve import Float64Array, FloatArray, Int64Array
from recserve_features.inputs.clock import part_of
from recserve_features.inputs.events import Asked, CountedEvents, Past
from recserve_features.inputs.feature import Plain
from recserve_features.inputs.values import Labelled, Sums
from recserve_features.parameters import (
    AffinityFeature,
    DistanceFeature,
    RepeatsFeature,
    SimilarityFeature,
)


@dataclass(frozen=True)
class Affinity(Plain):
    """See :class:`AffinityFeature`.

    With P events of the user on a label, n in all, and the label's share g of everybody's events, the user's
    share is drawn to g as if by a events more: ``(P + a g) / (n + a)``. With ``when``, the share among events
    at such moments is drawn to that in the same way.
    """

    declared: AffinityFeature

    def count(self, events: CountedEvents) -> Float64Array:
        """Share of everybody's events on each label."""
        chosen = events.of_sign(self.declared.sign)
        counts = events.counts(self.declared.attribute, chosen, np.ones(len(events.data)))
        return (counts + 1.0) / (int(chosen.sum()) + 2.0)

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Mean over the candidate's labels."""
        declared = self.declared
        past = asked.past(declared.sign)
        labelled = asked.past_labels(declared.attribute, declared.sign)
        labels = asked.spread(declared.attribute)
        askers = asked.askers[labels.places]
        everybody = table[labels.codes]
        counted = np.ones(len(past.owners))
        if declared.half_life_days is not None:
            counted = np.exp2(-past.age_days / declared.half_life_days)
        share = self._share(asked, past, labelled, counted, len(table), labels, askers, everybody)
        if declared.when is not None:
            then = part_of(past.times, declared.when, asked.zone)
            counted = counted * (then == asked.moments(declared.when)[past.owners])
            share = self._share(asked, past, labelled, counted, len(table), labels, askers, share)
        return [asked.filled(labels.mean(np.log(share / everybody)))]

    def _share(
        self,
        asked: Asked,
        past: Past,
        labelled: Labelled,
        counted: Float64Array,
        size: int,
        labels: Labelled,
        askers: Int64Array,
        prior: Float64Array,
    ) -> Float64Array:
        """Share of each candidate label in its user's events, drawn to a prior, float64, shape (N,)."""
        batch, weight = asked.shape[0], self.declared.prior_events
        keys = past.owners[labelled.places] * size + labelled.codes
        sums = Sums.of(keys, counted[labelled.places], batch * size).at(askers * size + labels.codes)
        total = np.bincount(past.owners, counted, minlength=batch)[askers]
        return (sums + weight * prior) / (total + weight)


@dataclass(frozen=True)
class Distance(Plain):
    """See :class:`DistanceFeature`."""

    declared: DistanceFeature

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The difference."""
        numbers = asked.attributes.numbers(self.declared.attribute)
        past, batch = asked.past("liked"), asked.shape[0]
        values = numbers[past.items].astype(np.float64)
        there = np.isfinite(values)
        owners = past.owners[there]
        counts = np.bincount(owners, minlength=batch)
        means = np.bincount(owners, values[there], minlength=batch) / np.maximum(counts, 1)
        means[counts == 0] = np.nan
        return [asked.filled(numbers[asked.items] - means[asked.askers])]


@dataclass(frozen=True)
class Similarity(Plain):
    """See :class:`SimilarityFeature`; new items count by the vectors that come with the queries."""

    declared: SimilarityFeature

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The cosine; NaN throughout where items have no vectors."""
        catalogue, queries = asked.attributes.catalogue, asked.queries
        if catalogue.vectors is None:
            return [np.full(asked.shape, np.nan, dtype=np.float32)]
        liked = queries.histories.positive().last(self.declared.events)
        vectors = catalogue.gather(liked.items, queries.extra_vectors)
        ones = np.ones(len(liked.items), dtype=np.float32)
        columns = np.arange(len(liked.items), dtype=np.int64)
        members = csr_array((ones, columns, liked.offsets), shape=(len(liked), len(liked.items)))
        profiles = np.asarray(members @ vectors, dtype=np.float32)
        norms = np.linalg.norm(profiles, axis=1, keepdims=True)
        profiles /= np.maximum(norms, 1e-9)
        items = asked.candidates.items
        cosine = catalogue.products(items, profiles, queries.extra_vectors)
        return [np.where((items >= 0) & (norms > 0), cosine, np.float32(np.nan)).astype(np.float32)]


@dataclass(frozen=True)
class Repeats(Plain):
    """See :class:`RepeatsFeature`."""

    declared: RepeatsFeature

    def names(self, name: str) -> Sequence[str]:
        """How often, and how long ago."""
        return (f"{name}.events", f"{name}.days")

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Number of events, and the logarithm of the days since the last."""
        past, stride = asked.past("liked"), len(asked.attributes.catalogue)
        # Events of a query are oldest first: of those turned round the first is the last.
        keys, last = np.unique((past.owners * stride + past.items)[::-1], return_index=True)
        counts = Sums.of(past.owners * stride + past.items, np.ones(len(past.items)), asked.shape[0] * stride)
        wanted = asked.askers * stride + asked.items
        events = counts.at(wanted)
        days = np.full(len(wanted), np.nan)
        if len(keys):
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            days = np.where(keys[place] == wanted, past.age_days[::-1][last[place]], np.nan)
        return [asked.filled(events), asked.filled(np.log1p(days))]
