"""Features of items: attributes, popularity, rates and age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recserve import Float64Array, FloatArray
from recserve_features.inputs.clock import DAY_MS
from recserve_features.inputs.events import Asked, CountedEvents
from recserve_features.inputs.feature import Plain
from recserve_features.parameters import (
    AgeFeature,
    CategoryFeature,
    NumberFeature,
    PopularityFeature,
    RateFeature,
)

# Share of the mean that is added to each count before the logarithm.
_SMOOTHING = 0.1


@dataclass(frozen=True)
class Number(Plain):
    """See :class:`NumberFeature`."""

    declared: NumberFeature

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The number of each candidate."""
        return [asked.filled(asked.attributes.numbers(self.declared.attribute)[asked.items])]


@dataclass(frozen=True)
class Category(Plain):
    """See :class:`CategoryFeature`; labels are numbered by the catalogue, of a list the first counts."""

    declared: CategoryFeature

    @property
    def categorical(self) -> bool:
        """The values are categories."""
        return True

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The label's number."""
        code = asked.attributes.labels(self.declared.attribute).single()[asked.items]
        return [asked.filled(np.where(code >= 0, code, np.nan))]


@dataclass(frozen=True)
class Popularity(Plain):
    """See :class:`PopularityFeature`."""

    declared: PopularityFeature

    def count(self, events: CountedEvents) -> Float64Array:
        """By label; relative to the mean, so that neither the size of the data nor its age matters."""
        declared = self.declared
        counts = events.counts(
            declared.attribute, events.of_sign("liked"), events.decay(declared.half_life_days)
        )
        met = counts[counts > 0]
        mean = float(met.mean()) if len(met) else 1.0
        return np.log((counts / mean + _SMOOTHING) / (1.0 + _SMOOTHING))

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Mean over the candidate's labels."""
        labels = asked.spread(self.declared.attribute)
        return [asked.filled(labels.mean(table[labels.codes]))]


@dataclass(frozen=True)
class Rate(Plain):
    """See :class:`RateFeature`."""

    declared: RateFeature

    def count(self, events: CountedEvents) -> Float64Array:
        """By label, minus the overall mean."""
        declared, data = self.declared, events.data
        everything = np.ones(len(data), dtype=np.bool_)
        weights = data.weights.astype(np.float64)
        mean = float(weights.mean()) if len(data) else 0.0
        sums = events.counts(declared.attribute, everything, weights - mean)
        counts = events.counts(declared.attribute, everything, np.ones(len(data)))
        return sums / (counts + declared.prior_events)

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Mean over the candidate's labels."""
        labels = asked.spread(self.declared.attribute)
        return [asked.filled(labels.mean(table[labels.codes]))]


@dataclass(frozen=True)
class Age(Plain):
    """See :class:`AgeFeature`."""

    declared: AgeFeature

    def count(self, events: CountedEvents) -> Float64Array:
        """Days from the epoch to each item's first event, NaN where there is none."""
        data = events.data
        first = np.full(data.n_items, np.inf)
        np.minimum.at(first, data.items, data.timestamps / DAY_MS)
        return np.where(np.isfinite(first), first, np.nan)

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Logarithm of the days."""
        days = asked.queries.times[asked.askers] / DAY_MS - table[asked.items]
        return [asked.filled(np.log1p(np.maximum(days, 0.0)))]
