"""Features that suit some data, where none are declared: what attributes and events allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recserve import Catalogue, Contexts, Dataset, EventOrder
from recserve_features.inputs.clock import DAY_MS, varied
from recserve_features.inputs.values import labels_of
from recserve_features.parameters import (
    AffinityFeature,
    AgeFeature,
    CategoryFeature,
    ContextFeature,
    DistanceFeature,
    Feature,
    HistoryFeature,
    LiftFeature,
    Moment,
    MomentFeature,
    NumberFeature,
    PopularityFeature,
    RateFeature,
    RepeatsFeature,
    RetrievalFeature,
    SimilarityFeature,
)

_SAMPLED = 2000
_MOST_LABELLED, _MOST_NUMBERS, _MOST_CROSSED = 6, 8, 3
# Longer strings are prose.
_LONGEST = 60
_COVERED = 0.05
_CATEGORIES = 32
# Labels that occur less than twice on average tell items apart, but are shared by none.
_SHARED = 0.5
_NEGATIVE, _REPEATED = 0.05, 0.01
# Shares of the events that make up the recent past.
_RECENT = {"newest": 0.02, "recent": 0.2}
_LONGEST_HALF_LIFE, _SHORTEST_HALF_LIFE = 365.0, 0.25


@dataclass(frozen=True)
class Kinds:
    """Attributes of items that features can be made of, those that most items have first.

    Attributes:
        numbers: With a number.
        labels: With labels that several items share.
        categories: Of those with labels: one of few an item.
    """

    numbers: Sequence[str]
    labels: Sequence[str]
    categories: frozenset[str]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Kinds:
        """Found out from a sample of the items, evenly spread."""
        rows = np.unique(np.linspace(0, len(catalogue) - 1, min(_SAMPLED, len(catalogue))).astype(int))
        values: dict[str, list[Any]] = {}
        for row in rows.tolist():
            for name, value in catalogue.item(row).attributes.items():
                if value is not None and value != []:
                    values.setdefault(name, []).append(value)
        covered = {
            name: found
            for name, found in sorted(values.items(), key=lambda pair: (-len(pair[1]), pair[0]))
            if len(found) >= max(_COVERED * len(rows), 2)
        }
        numbers = [name for name, found in covered.items() if all(map(_is_number, found))]
        shared = {
            name: summary
            for name, found in covered.items()
            if name not in numbers and (summary := _labelled(found)) is not None
        }
        categories = frozenset(name for name, few in shared.items() if few)
        return cls(numbers[:_MOST_NUMBERS], list(shared)[:_MOST_LABELLED], categories)


def default_features(data: Dataset, zone: str) -> dict[str, Feature]:
    """Features by name for some training data."""
    kinds, timed = Kinds.of(data.catalogue), data.event_order is EventOrder.TIME
    liked = data.weights > 0
    found: dict[str, Feature] = {
        "retrieval": RetrievalFeature(type="retrieval"),
        "popularity": PopularityFeature(type="popularity"),
        "history": HistoryFeature(type="history"),
    }
    half_lives = _half_lives(data) if timed else {}
    for name, days in half_lives.items():
        found[f"popularity_{name}"] = PopularityFeature(type="popularity", half_life_days=days)
    if timed:
        found["age"] = AgeFeature(type="age")
    if len(data) and float(data.weights.min()) != float(data.weights.max()):
        found["rate"] = RateFeature(type="rate")
    if _repeats(data):
        found["repeats"] = RepeatsFeature(type="repeats")
    if data.catalogue.vectors is not None:
        found["similarity"] = SimilarityFeature(type="similarity")
    for name in kinds.numbers:
        found[f"{name}_number"] = NumberFeature(type="number", attribute=name)
        found[f"{name}_distance"] = DistanceFeature(type="distance", attribute=name)
    disliked = len(data) > 0 and float((data.weights < 0).mean()) >= _NEGATIVE
    for name in kinds.labels:
        if name in kinds.categories:
            found[f"{name}_category"] = CategoryFeature(type="category", attribute=name)
        found[f"{name}_popularity"] = PopularityFeature(type="popularity", attribute=name)
        found[f"{name}_affinity"] = AffinityFeature(type="affinity", attribute=name)
        if half_lives:
            found[f"{name}_affinity_recent"] = AffinityFeature(
                type="affinity", attribute=name, half_life_days=half_lives["recent"]
            )
        if disliked:
            found[f"{name}_aversion"] = AffinityFeature(type="affinity", attribute=name, sign="disliked")
    if data.contexts is not None:
        found |= _of_contexts(data.contexts, kinds)
    if timed:
        found |= _of_moments(data.timestamps[liked], kinds, zone)
    return {_plain(name): feature for name, feature in found.items()}


def _of_moments(moments: Any, kinds: Kinds, zone: str) -> dict[str, Feature]:
    """What goes with days and hours, where the events are spread over them."""
    found: dict[str, Feature] = {}
    units: list[Moment] = ["weekend", "daypart"]
    for unit in units:
        if not varied(moments, unit, zone):
            continue
        found[unit] = MomentFeature(type="moment", unit=unit)
        found[f"{unit}_lift"] = LiftFeature(type="lift", when=unit)
        for name in kinds.labels[:_MOST_CROSSED]:
            found[f"{name}_{unit}_lift"] = LiftFeature(type="lift", when=unit, attribute=name)
            found[f"{name}_{unit}_affinity"] = AffinityFeature(type="affinity", attribute=name, when=unit)
    if varied(moments, "weekday", zone):
        found["weekday"] = MomentFeature(type="moment", unit="weekday")
    return found


def _of_contexts(contexts: Contexts, kinds: Kinds) -> dict[str, Feature]:
    """Keys of few values that many events have, by themselves and with attributes."""
    values: dict[str, set[str]] = {}
    covered: Counter[str] = Counter()
    codes, counts = np.unique(contexts.codes[contexts.codes >= 0], return_counts=True)
    for context, count in zip(Contexts(codes, contexts.texts).mappings(), counts.tolist(), strict=True):
        for key, value in context.items():
            covered[key] += count
            values.setdefault(key, set()).update(labels_of(value))
    usual = [
        key
        for key, count in covered.most_common()
        if count >= _COVERED * len(contexts) and 2 <= len(values[key]) <= _CATEGORIES
    ]
    found: dict[str, Feature] = {}
    for key in usual[:_MOST_CROSSED]:
        found[f"context_{key}"] = ContextFeature(type="context", key=key)
        for name in kinds.labels[:_MOST_CROSSED]:
            found[f"{name}_context_{key}"] = ContextFeature(type="context", key=key, attribute=name)
    return found


def _half_lives(data: Dataset) -> dict[str, float]:
    """Half-lives in days: in how long the newest shares of the events came about."""
    until = int(data.timestamps[-1])
    days = {name: (until - data.quantile_time(1.0 - share)) / DAY_MS for name, share in _RECENT.items()}
    return {
        name: round(min(max(span, _SHORTEST_HALF_LIFE), _LONGEST_HALF_LIFE), 2) for name, span in days.items()
    }


def _repeats(data: Dataset) -> bool:
    """Whether users come back to items."""
    pairs = data.users.astype(np.int64) * data.n_items + data.items
    return len(pairs) > 0 and 1.0 - len(np.unique(pairs)) / len(pairs) >= _REPEATED


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _labelled(found: Sequence[Any]) -> bool | None:
    """Whether an item has one label of few; None where labels are prose, or no two items share one."""
    labels = [label for value in found for label in labels_of(value)]
    if not labels or max(map(len, labels)) > _LONGEST:
        return None
    different = len(set(labels))
    if different < 2 or different > _SHARED * len(labels):
        return None
    return different <= _CATEGORIES and not any(isinstance(value, list) for value in found)


def _plain(name: str) -> str:
    """A name that a declaration may have."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_.-") else "_" for sign in name)[
        :100
    ]
