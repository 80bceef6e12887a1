"""What features are counted on and computed from: attributes, training events, and a batch of candidates."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from recserve import (
    BoolArray,
    Candidates,
    Catalogue,
    Dataset,
    Float64Array,
    FloatArray,
    Histories,
    Int64Array,
    Queries,
)
from recserve_features.inputs.clock import DAY_MS, SIZES, part_of
from recserve_features.inputs.values import ItemLabels, Labelled, added, numbers
from recserve_features.parameters import Moment

Sign = Literal["liked", "disliked"]


@dataclass
class Attributes:
    """Attributes of the bundle's items, each read once.

    Attributes:
        catalogue: The items.
    """

    catalogue: Catalogue
    _labels: dict[str | None, ItemLabels] = field(default_factory=dict, repr=False)
    _numbers: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    def labels(self, attribute: str | None) -> ItemLabels:
        """Labels of an attribute; of None each item is its own label."""
        if attribute not in self._labels:
            self._labels[attribute] = (
                ItemLabels.identity(len(self.catalogue))
                if attribute is None
                else ItemLabels.of(self.catalogue.column(attribute))
            )
        return self._labels[attribute]

    def numbers(self, attribute: str) -> FloatArray:
        """A numeric attribute, float32, shape (n_items,), NaN where it is missing."""
        if attribute not in self._numbers:
            self._numbers[attribute] = numbers(self.catalogue.column(attribute))
        return self._numbers[attribute]


@dataclass(frozen=True)
class CountedEvents:
    """The training events that features are counted on.

    Attributes:
        data: The events; nothing later is known.
        attributes: Of the items.
        zone: Time zone of hours and weekdays.
    """

    data: Dataset
    attributes: Attributes
    zone: str

    @property
    def until(self) -> int:
        """Time of the newest event, milliseconds."""
        return int(self.data.timestamps[-1]) if len(self.data) else 0

    def of_sign(self, sign: Sign) -> BoolArray:
        """Which events have confidence of a sign, bool, shape (N,)."""
        weights = self.data.weights
        return weights > 0 if sign == "liked" else weights < 0

    def counts(self, attribute: str | None, chosen: BoolArray, weights: Float64Array) -> Float64Array:
        """Sums of the weights of some events by label of their item, float64, shape (labels,)."""
        by_item = added(self.data.items[chosen], weights[chosen], self.data.n_items)
        if attribute is None:
            return by_item
        labels = self.attributes.labels(attribute)
        owners = np.repeat(np.arange(self.data.n_items), np.diff(labels.offsets))
        return added(labels.codes, by_item[owners], labels.size)

    def decay(self, half_life_days: float | None) -> Float64Array:
        """What each event counts at the end of the data, float64, shape (N,)."""
        if half_life_days is None:
            return np.ones(len(self.data))
        return np.exp2(-(self.until - self.data.timestamps) / (half_life_days * DAY_MS))

    def moments(self, unit: Moment) -> Int64Array:
        """Part of the time of each event, int64, shape (N,)."""
        return part_of(self.data.timestamps, unit, self.zone)


@dataclass(frozen=True)
class Past:
    """Events of one sign in the histories of a batch, on items of the bundle.

    Attributes:
        owners: int64, shape (N,); the query of each.
        items: int64, shape (N,).
        times: int64, shape (N,); milliseconds.
        age_days: float64, shape (N,); before the query, at least 0.
    """

    owners: Int64Array
    items: Int64Array
    times: Int64Array
    age_days: Float64Array

    def where(self, keep: BoolArray) -> Past:
        """Only the marked events."""
        return Past(self.owners[keep], self.items[keep], self.times[keep], self.age_days[keep])


@dataclass
class Asked:
    """Candidates of a batch of queries, with what several features need of them.

    Attributes:
        queries: B queries.
        candidates: Of shape (B, K).
        attributes: Of the bundle's items.
        zone: Time zone of hours and weekdays.
        wanted: Candidates that matter, bool, shape (B, K); None for all. Of others little is computed.
    """

    queries: Queries
    candidates: Candidates
    attributes: Attributes
    zone: str
    wanted: BoolArray | None = None
    _spread: dict[str | None, Labelled] = field(default_factory=dict, repr=False)
    _past: dict[Sign, Past] = field(default_factory=dict, repr=False)
    _labelled: dict[tuple[str, Sign], Labelled] = field(default_factory=dict, repr=False)
    _moments: dict[Moment, Int64Array] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """B and K."""
        batch, width = self.candidates.items.shape
        return batch, width

    @cached_property
    def places(self) -> Int64Array:
        """Flat positions of wanted candidates that the bundle knows, int64, shape (M,)."""
        items = self.candidates.items
        known = (items >= 0) & (items < len(self.attributes.catalogue))
        return np.flatnonzero(known if self.wanted is None else known & self.wanted)

    @cached_property
    def items(self) -> Int64Array:
        """Their rows, int64, shape (M,)."""
        return self.candidates.items.ravel()[self.places].astype(np.int64)

    @cached_property
    def askers(self) -> Int64Array:
        """Their queries, int64, shape (M,)."""
        return self.places // max(self.shape[1], 1)

    def filled(self, values: Float64Array | FloatArray) -> FloatArray:
        """Values of the known candidates (shape (M,)) as a column, float32, shape (B, K), NaN elsewhere."""
        column = np.full(self.shape[0] * self.shape[1], np.nan, dtype=np.float32)
        column[self.places] = values
        return column.reshape(self.shape)

    def broadcast(self, values: Float64Array | Int64Array) -> FloatArray:
        """One value a query (shape (B,)) as a column, float32, shape (B, K)."""
        return np.broadcast_to(values.astype(np.float32)[:, None], self.shape)

    def spread(self, attribute: str | None) -> Labelled:
        """Labels of the known candidates."""
        if attribute not in self._spread:
            self._spread[attribute] = self.attributes.labels(attribute).spread(self.items)
        return self._spread[attribute]

    def past(self, sign: Sign) -> Past:
        """Events of a sign in the histories."""
        if sign not in self._past:
            histories: Histories = self.queries.histories.known(len(self.attributes.catalogue))
            histories = histories.where(histories.weights > 0 if sign == "liked" else histories.weights < 0)
            owners = histories.owners()
            ages = (self.queries.times[owners] - histories.timestamps) / DAY_MS
            self._past[sign] = Past(
                owners, histories.items.astype(np.int64), histories.timestamps, np.maximum(ages, 0.0)
            )
        return self._past[sign]

    def past_labels(self, attribute: str, sign: Sign) -> Labelled:
        """Labels of the items of :meth:`past`."""
        if (attribute, sign) not in self._labelled:
            items = self.past(sign).items
            self._labelled[attribute, sign] = self.attributes.labels(attribute).spread(items)
        return self._labelled[attribute, sign]

    def moments(self, unit: Moment) -> Int64Array:
        """Part of each query's time, int64, shape (B,)."""
        if unit not in self._moments:
            self._moments[unit] = part_of(self.queries.times, unit, self.zone)
        return self._moments[unit]


def moment_counts(
    events: CountedEvents, unit: Moment, attribute: str | None, half: float | None
) -> Float64Array:
    """Liked events by part of their time and label of their item, float64, shape (parts, labels)."""
    when, decay, liked = events.moments(unit), events.decay(half), events.of_sign("liked")
    return np.stack([events.counts(attribute, liked & (when == part), decay) for part in range(SIZES[unit])])
