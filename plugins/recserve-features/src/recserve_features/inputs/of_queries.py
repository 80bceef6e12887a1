"""Features of the query: history, time, context, what goes with the time, and what retrieval says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recserve import BoolArray, Float64Array, FloatArray
from recserve_features.inputs.clock import DAY_MS
from recserve_features.inputs.events import Asked, CountedEvents, moment_counts
from recserve_features.inputs.feature import Plain
from recserve_features.inputs.values import added, labels_of, number_of, ranks
from recserve_features.parameters import (
    ContextFeature,
    HistoryFeature,
    LiftFeature,
    MomentFeature,
    RetrievalFeature,
)

_FEWEST_USERS = 5
"""Values of a context that fewer users said are not learnt: what a bundle keeps names nobody."""


@dataclass(frozen=True)
class History(Plain):
    """See :class:`HistoryFeature`."""

    declared: HistoryFeature

    def names(self, name: str) -> Sequence[str]:
        """Length and days."""
        return (f"{name}.events", f"{name}.days")

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The same for all candidates of a query."""
        histories = asked.queries.histories
        lengths = histories.lengths
        newest = np.full(len(lengths), np.nan)
        some = lengths > 0
        newest[some] = histories.timestamps[histories.offsets[1:][some] - 1]
        days = np.log1p(np.maximum((asked.queries.times - newest) / DAY_MS, 0.0))
        return [asked.broadcast(np.log1p(lengths)), asked.broadcast(days)]


@dataclass(frozen=True)
class MomentPart(Plain):
    """See :class:`MomentFeature`."""

    declared: MomentFeature

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """The same for all candidates of a query."""
        return [asked.broadcast(asked.moments(self.declared.unit))]


@dataclass(frozen=True)
class Lift(Plain):
    """See :class:`LiftFeature`.

    Of a label's c events c_w are at such a moment, of all events the share s_w: the logarithm of
    ``(c_w + a s_w) / (c + a) / s_w``.
    """

    declared: LiftFeature

    def count(self, events: CountedEvents) -> Float64Array:
        """The lifts, float64, shape (parts, labels)."""
        declared = self.declared
        counts = moment_counts(events, declared.when, declared.attribute, declared.half_life_days)
        decay, when = events.decay(declared.half_life_days), events.moments(declared.when)
        liked = events.of_sign("liked")
        shares = added(when[liked], decay[liked], len(counts)) + 1.0
        shares /= shares.sum()
        drawn = counts + declared.prior_events * shares[:, None]
        lifts: Float64Array = drawn / (counts.sum(axis=0) + declared.prior_events) / shares[:, None]
        return np.log(lifts)

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Mean over the candidate's labels."""
        labels = asked.spread(self.declared.attribute)
        when = asked.moments(self.declared.when)[asked.askers[labels.places]]
        return [asked.filled(labels.mean(table[when, labels.codes]))]


@dataclass(frozen=True)
class Context(Plain):
    """See :class:`ContextFeature`.

    Attributes:
        known: Numbers of the values that training met.
    """

    declared: ContextFeature
    known: Mapping[str, int] = field(default_factory=dict)

    @property
    def categorical(self) -> bool:
        """As declared."""
        return self.declared.values == "category"

    def learnt(self, contexts: Sequence[Mapping[str, Any]], users: Sequence[int] | None = None) -> Context:
        """The same, knowing the values of some requests' contexts.

        Args:
            contexts: Of the requests.
            users: Whose they are: then a value counts that several said, and no one person's own.
        """
        said: dict[str, set[int]] = {}
        for query, context in enumerate(contexts):
            for label in labels_of(context.get(self.declared.key))[:1]:
                said.setdefault(label, set()).add(query if users is None else users[query])
        fewest = 1 if users is None else _FEWEST_USERS
        met = sorted(label for label, whose in said.items() if len(whose) >= fewest)
        return Context(self.declared, {label: code for code, label in enumerate(met)})

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """NaN where a request says nothing that training met; crossed, the first label of a list counts."""
        said = [context.get(self.declared.key) for context in asked.queries.contexts]
        said += [None] * (asked.shape[0] - len(said))
        if not self.categorical:
            return [asked.broadcast(np.array([number_of(value) for value in said], dtype=np.float64))]
        labels = [next(iter(labels_of(value)), None) for value in said]
        codes = [float("nan") if label is None else self.known.get(label, float("nan")) for label in labels]
        by_query = np.array(codes, dtype=np.float64)
        if self.declared.attribute is None:
            return [asked.broadcast(by_query)]
        labels_of_items = asked.attributes.labels(self.declared.attribute)
        label = labels_of_items.single()[asked.items]
        crossed = by_query[asked.askers] * labels_of_items.size + label
        return [asked.filled(np.where(label >= 0, crossed, np.nan))]


@dataclass(frozen=True)
class Retrieval(Plain):
    """See :class:`RetrievalFeature`.

    Attributes:
        sources: Retrievers that it was learnt with.
    """

    declared: RetrievalFeature
    sources: tuple[str, ...] = ()

    def learnt(self, sources: Sequence[str]) -> Retrieval:
        """The same for candidates of some retrievers."""
        wanted = self.declared.retrievers
        chosen = sorted(name for name in sources if wanted is None or name in wanted)
        return Retrieval(self.declared, tuple(chosen))

    def names(self, name: str) -> Sequence[str]:
        """Fused rank, and a score and a rank for each retriever."""
        own = [f"{name}.{source}.{kind}" for source in self.sources for kind in ("score", "rank")]
        return (f"{name}.rank", *own)

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """NaN where a retriever did not find a candidate, or did not answer."""
        candidates = asked.candidates
        real = candidates.items >= 0
        fused = np.broadcast_to(np.arange(asked.shape[1], dtype=np.float32), asked.shape)
        columns = [np.where(real, fused, np.float32(np.nan))]
        for source in self.sources:
            if source not in candidates.sources:
                columns += [np.full(asked.shape, np.nan, dtype=np.float32)] * 2
                continue
            scores = candidates.source_scores[:, :, candidates.sources.index(source)]
            columns += _standing(scores, real & np.isfinite(scores))
        return columns


def _standing(scores: FloatArray, present: BoolArray) -> list[FloatArray]:
    """Standardised score and rank of each candidate among those present, NaN elsewhere."""
    safe = np.where(present, scores, 0.0).astype(np.float64)
    count = np.maximum(present.sum(axis=1, keepdims=True), 1)
    centred = np.where(present, safe - safe.sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return [
        np.where(present, centred / np.where(spread > 1e-9, spread, 1.0), np.nan).astype(np.float32),
        np.where(present, ranks(scores, present), np.float32(np.nan)),
    ]
