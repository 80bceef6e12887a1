"""The features of a ranker together: counted once, computed by the same code in training and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from recserve import BoolArray, Candidates, Catalogue, Dataset, EventOrder, Float64Array, FloatArray, Queries
from recserve_features.inputs.events import Asked, Attributes, CountedEvents
from recserve_features.inputs.feature import Computed
from recserve_features.inputs.of_items import Age, Category, Number, Popularity, Rate
from recserve_features.inputs.of_queries import Context, History, Lift, MomentPart, Retrieval
from recserve_features.inputs.of_users import Affinity, Distance, Repeats, Similarity
from recserve_features.inputs.values import joined
from recserve_features.parameters import Feature

_KINDS: dict[str, Any] = {
    "number": Number,
    "category": Category,
    "popularity": Popularity,
    "rate": Rate,
    "age": Age,
    "affinity": Affinity,
    "distance": Distance,
    "similarity": Similarity,
    "repeats": Repeats,
    "history": History,
    "retrieval": Retrieval,
    "moment": MomentPart,
    "lift": Lift,
    "context": Context,
}
_DECLARED: TypeAdapter[dict[str, Feature]] = TypeAdapter(dict[str, Feature])


@dataclass(frozen=True)
class FeatureSet:
    """Features that were counted on events, and maybe learnt from candidates.

    Attributes:
        declared: By name.
        attributes: Of the bundle's items.
        zone: Time zone of hours and weekdays.
        features: What computes them.
        tables: What each counted, by name.
        counted_until: Time of the newest event that was counted, milliseconds; -1 before :meth:`counted`.
        timed: Whether times order all events, so that no query may be older than what was counted.
    """

    declared: Mapping[str, Feature]
    attributes: Attributes
    zone: str
    features: Mapping[str, Computed]
    tables: Mapping[str, Float64Array]
    counted_until: int = -1
    timed: bool = False

    @classmethod
    def of(cls, declared: Mapping[str, Feature], catalogue: Catalogue, zone: str) -> FeatureSet:
        """Features that know nothing yet."""
        features = {name: _KINDS[feature.type](feature) for name, feature in declared.items()}
        return cls(declared, Attributes(catalogue), zone, features, {})

    def counted(self, data: Dataset) -> FeatureSet:
        """The same, counted on some events: what was known at the end of them."""
        events = CountedEvents(data, self.attributes, self.zone)
        tables = {name: feature.count(events) for name, feature in self.features.items()}
        timed = data.event_order is EventOrder.TIME
        return replace(self, tables=tables, counted_until=events.until, timed=timed)

    def restored(
        self, flat: Float64Array, shapes: Mapping[str, Sequence[int]], counted_until: int, timed: bool
    ) -> FeatureSet:
        """The same with tables that were counted before.

        Args:
            flat: float64; all tables one after the other.
            shapes: Of the tables by name, in that order.
            counted_until: See :attr:`counted_until`.
            timed: See :attr:`timed`.

        Raises:
            ValueError: They do not fit the features or the catalogue.
        """
        tables: dict[str, Float64Array] = {}
        start = 0
        if list(shapes) != list(self.features):
            raise ValueError("the tables belong to other features")
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            tables[name] = flat[start : start + size].reshape(shape)
            labels = self.attributes.labels(getattr(self.declared[name], "attribute", None)) if size else None
            if labels is not None and shape[-1] != labels.size:
                raise ValueError(
                    f"{name} was counted for {shape[-1]} values, the catalogue has {labels.size}"
                )
            start += size
        if start != len(flat):
            raise ValueError(f"the tables hold {len(flat)} numbers, not {start}")
        return replace(self, tables=tables, counted_until=counted_until, timed=timed)

    def learnt(
        self,
        sources: Sequence[str],
        contexts: Sequence[Mapping[str, Any]],
        users: Sequence[int] | None = None,
    ) -> FeatureSet:
        """The same for candidates of some retrievers, and values of some requests' contexts.

        Args:
            sources: Names of the retrievers.
            contexts: Of the requests.
            users: See :meth:`recserve_features.inputs.of_queries.Context.learnt`.
        """
        features: dict[str, Computed] = {}
        for name, feature in self.features.items():
            if isinstance(feature, Retrieval):
                features[name] = feature.learnt(sources)
            elif isinstance(feature, Context):
                features[name] = feature.learnt(contexts, users)
            else:
                features[name] = feature
        return replace(self, features=features)

    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column for name, feature in self.features.items() for column in feature.names(name))

    def categorical(self) -> list[int]:
        """Which columns are categories."""
        kinds = [feature.categorical for name, feature in self.features.items() for _ in feature.names(name)]
        return [int(column) for column in np.flatnonzero(kinds)]

    def compute(
        self, queries: Queries, candidates: Candidates, wanted: BoolArray | None = None
    ) -> FloatArray:
        """All columns of candidates.

        Args:
            queries: B queries.
            candidates: Of shape (B, K).
            wanted: Candidates that matter, bool, shape (B, K), None for all; others have anything.

        Returns:
            float32, shape (B, K, F), NaN where nothing is known.
        """
        if not candidates.items.size:
            return np.empty((*candidates.items.shape, len(self.names())), dtype=np.float32)
        asked = Asked(queries, candidates, self.attributes, self.zone, wanted)
        with np.errstate(invalid="ignore", divide="ignore"):
            return joined(
                column
                for name, feature in self.features.items()
                for column in feature.compute(asked, self.tables[name])
            )

    def decisions(self) -> dict[str, Any]:
        """What was decided or learnt but is not counted, as a JSON-like object."""
        return {
            "zone": self.zone,
            "declared": {name: feature.model_dump(mode="json") for name, feature in self.declared.items()},
            "sources": {
                name: list(feature.sources)
                for name, feature in self.features.items()
                if isinstance(feature, Retrieval)
            },
            "contexts": {
                name: list(feature.known)
                for name, feature in self.features.items()
                if isinstance(feature, Context)
            },
        }

    @classmethod
    def decided(cls, decisions: Mapping[str, Any], catalogue: Catalogue) -> FeatureSet:
        """Inverse of :meth:`decisions`; nothing is counted yet.

        Raises:
            ValueError: The decisions are damaged.
            KeyError: Likewise.
        """
        declared = _DECLARED.validate_python(decisions["declared"])
        empty = cls.of(declared, catalogue, str(decisions["zone"]))
        features = dict(empty.features)
        for name, feature in empty.features.items():
            if isinstance(feature, Retrieval):
                features[name] = Retrieval(feature.declared, tuple(decisions["sources"][name]))
            elif isinstance(feature, Context):
                known = {str(label): code for code, label in enumerate(decisions["contexts"][name])}
                features[name] = Context(feature.declared, known)
        return replace(empty, features=features)
