"""The small frozen types that every part of recserve speaks.

Outside the graph things are named by external string ids (:class:`Item`, :class:`Event`). Inside the
graph everything is batch-first: B queries a call, items as dense int32 rows of the bundle's
vocabulary, times as int64 milliseconds since the epoch (UTC).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Int16Array = NDArray[np.int16]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


def now_ms() -> int:
    """The present, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be recommended.

    Attributes:
        item_id: External id, any non-empty string.
        attributes: JSON-like attributes; text columns such as ``title`` live here too.
        hidden: Known to training, but never returned.
        expires_at: From this moment on never returned, milliseconds since the epoch; None for always good.
    """

    item_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False
    expires_at: int | None = None

    @property
    def title(self) -> str:
        """The attribute ``title`` (or ``name``), else the id: what a person is shown."""
        return str(self.attributes.get("title") or self.attributes.get("name") or self.item_id)


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a person beside events.

    Attributes:
        user_id: External id, any non-empty string.
        attributes: JSON-like attributes; stated interests as free text live here too.
    """

    user_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a user did with one item.

    Attributes:
        user_id: External user id.
        item_id: External item id; need not be in the catalogue.
        event: Name of a configured event type, such as ``view`` or ``rating``.
        timestamp: Milliseconds since the epoch, UTC.
        value: Rating, count or amount, where the event type has one.
        event_id: Idempotency key; storing the same id twice stores one event.
        recommendation_id: The recommendation that led to it, if any.
    """

    user_id: str
    item_id: str
    event: str
    timestamp: int
    value: float | None = None
    event_id: str = ""
    recommendation_id: str | None = None


class EventType(BaseModel):
    """What an event of one type says about a user's interest.

    The signed confidence of an event is ``weight * factor(value)``, see :meth:`confidence`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, description="Signed confidence; negative for dislike, skip, hide.")
    value_range: tuple[float, float] | None = Field(
        None, description="Lowest and highest value of a scale, such as [0.5, 5] for star ratings."
    )
    log_value: bool = Field(False, description="Values are counts: confidence grows with 1 + ln(value).")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> EventType:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range must be [low, high] with low < high")
        return self

    def confidence(self, values: NDArray[np.float64]) -> FloatArray:
        """Signed confidence of events with these values.

        On a scale the factor runs from 0.1 (lowest value) over 1 (middle) to 1.9 (highest); for
        counts it is ``1 + ln(max(value, 1))``; a missing value (NaN) has factor 1.

        Args:
            values: Shape (N,), NaN where an event has no value.

        Returns:
            float32, shape (N,).
        """
        factor = np.ones(len(values), dtype=np.float64)
        if self.value_range is not None:
            low, high = self.value_range
            factor = 0.1 + 1.8 * (np.clip(values, low, high) - low) / (high - low)
        elif self.log_value:
            factor = 1.0 + np.log(np.maximum(values, 1.0))
        factor = np.where(np.isnan(values), 1.0, factor)
        return (self.weight * factor).astype(np.float32)


DEFAULT_EVENT_TYPES: Mapping[str, EventType] = {
    "view": EventType(weight=1.0),
    "click": EventType(weight=1.0),
    "search": EventType(weight=0.5),
    "play": EventType(weight=1.0, log_value=True),
    "add_to_cart": EventType(weight=2.0),
    "purchase": EventType(weight=3.0),
    "rating": EventType(weight=1.0, value_range=(0.5, 5.0)),
    "like": EventType(weight=2.0),
    "dislike": EventType(weight=-1.0),
    "skip": EventType(weight=-0.5),
    "hide": EventType(weight=-1.0),
}


@dataclass(frozen=True, slots=True)
class Ragged:
    """B lists of catalogue rows in two flat arrays.

    Attributes:
        offsets: int64, shape (B + 1,); list b is ``values[offsets[b]:offsets[b + 1]]``.
        values: int32, shape (N,).
    """

    offsets: Int64Array
    values: Int32Array

    @classmethod
    def of(cls, lists: Sequence[Sequence[int] | Int32Array]) -> Ragged:
        """Pack Python lists or arrays of rows."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(rows) for rows in lists], out=offsets[1:])
        parts = [np.asarray(rows, dtype=np.int32) for rows in lists]
        values = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        return cls(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Int32Array:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, slots=True)
class Histories:
    """The recent events of B users, ragged, oldest first within each user.

    Attributes:
        offsets: int64, shape (B + 1,).
        items: int32, shape (N,); catalogue rows. Rows >= ``n_items`` mean live-encoded items that
            the bundle does not know: row ``n_items + j`` has the vector ``extra_vectors[j]``.
        events: int16, shape (N,); index into the configured event types.
        weights: float32, shape (N,); signed confidence, negative for dislikes.
        timestamps: int64, shape (N,); milliseconds since the epoch.
    """

    offsets: Int64Array
    items: Int32Array
    events: Int16Array
    weights: FloatArray
    timestamps: Int64Array

    @classmethod
    def empty(cls, batch: int) -> Histories:
        """Histories of ``batch`` users who have done nothing yet."""
        return cls(
            np.zeros(batch + 1, dtype=np.int64),
            np.empty(0, dtype=np.int32),
            np.empty(0, dtype=np.int16),
            np.empty(0, dtype=np.float32),
            np.empty(0, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64Array:
        """Events of each user, int64, shape (B,)."""
        return np.diff(self.offsets)

    def owners(self) -> Int64Array:
        """The user (0..B-1) of each event, int64, shape (N,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def where(self, keep: BoolArray) -> Histories:
        """Only the events marked in ``keep`` (bool, shape (N,)), users unchanged."""
        counts = np.bincount(self.owners()[keep], minlength=len(self))
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        return Histories(
            offsets, self.items[keep], self.events[keep], self.weights[keep], self.timestamps[keep]
        )

    def known(self, n_items: int) -> Histories:
        """Only the events on items of the bundle's catalogue (rows below ``n_items``)."""
        inside = (self.items >= 0) & (self.items < n_items)
        return self if inside.all() else self.where(inside)

    def positive(self) -> Histories:
        """Only the events with positive confidence."""
        liked = self.weights > 0
        return self if liked.all() else self.where(liked)

    def last(self, length: int) -> Histories:
        """At most the last ``length`` events of each user."""
        if len(self.items) == 0 or int(self.lengths.max()) <= length:
            return self
        position_from_end = np.repeat(self.offsets[1:], self.lengths) - np.arange(len(self.items))
        return self.where(position_from_end <= length)

    def select(self, users: Int64Array) -> Histories:
        """The histories of these users (int64 indices, shape (M,)), in that order."""
        lengths = self.lengths[users]
        offsets = np.zeros(len(users) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)
        return Histories(
            offsets,
            self.items[index],
            self.events[index],
            self.weights[index],
            self.timestamps[index],
        )


@dataclass(frozen=True, slots=True)
class Queries:
    """A batch of B queries as the stages see them.

    Attributes:
        user_ids: External ids, None for an anonymous session; length B.
        histories: Recent events of each user or session, oldest first.
        times: int64, shape (B,); the moment each query is asked at, milliseconds.
        anchors: int32, shape (B,); row of the item that similar items are asked for, -1 for none.
        excluded: Rows that must not be returned (seen items, the caller's list).
        texts: Free text of each query, None where there is none; length B.
        text_vectors: float32, shape (B, d), unit length, zero rows where there is no text; None when
            the whole batch has none.
        extra_vectors: float32, shape (M, d); see :attr:`Histories.items`.
        allowed: For each query a bool array of shape (n_items,) or None for "everything"; filled by
            the retrieval stage from its filters.
        filters: The ``filter`` object of each request, filter name -> argument.
        contexts: The ``context`` object of each request.
        live_version: Catalogue version of the store that rows beyond the bundle's are numbered by, -1
            where there are none; see :mod:`recserve.live`.
        wants_seeds: Whether anybody will be told why. Otherwise retrievers may leave seeds out, which take
            a seventh of the time; training never wants them, so rankers must not read them.
    """

    user_ids: tuple[str | None, ...]
    histories: Histories
    times: Int64Array
    anchors: Int32Array
    excluded: Ragged
    texts: tuple[str | None, ...] = ()
    text_vectors: FloatArray | None = None
    extra_vectors: FloatArray | None = None
    allowed: tuple[BoolArray | None, ...] = ()
    filters: tuple[Mapping[str, Any], ...] = ()
    contexts: tuple[Mapping[str, Any], ...] = ()
    live_version: int = -1
    wants_seeds: bool = True

    @classmethod
    def of(
        cls,
        histories: Histories,
        times: Int64Array,
        *,
        anchors: Int32Array | None = None,
        excluded: Ragged | None = None,
        text_vectors: FloatArray | None = None,
        wants_seeds: bool = True,
    ) -> Queries:
        """Build a plain batch from histories, as training and evaluation do."""
        batch = len(histories)
        return cls(
            user_ids=(None,) * batch,
            histories=histories,
            times=times,
            anchors=np.full(batch, -1, dtype=np.int32) if anchors is None else anchors,
            excluded=Ragged.of([[]] * batch) if excluded is None else excluded,
            texts=(None,) * batch,
            text_vectors=text_vectors,
            allowed=(None,) * batch,
            filters=({},) * batch,
            contexts=({},) * batch,
            wants_seeds=wants_seeds,
        )

    def __len__(self) -> int:
        return len(self.user_ids)

    def with_allowed(self, allowed: tuple[BoolArray | None, ...]) -> Queries:
        """The same batch with the filters' masks set."""
        return replace(self, allowed=allowed)

    def part(self, start: int, stop: int) -> Queries:
        """Queries ``start:stop`` as a batch of their own."""
        offsets = self.excluded.offsets[start : stop + 1]
        vectors = self.text_vectors
        return replace(
            self,
            user_ids=self.user_ids[start:stop],
            histories=self.histories.select(np.arange(start, stop, dtype=np.int64)),
            times=self.times[start:stop],
            anchors=self.anchors[start:stop],
            excluded=Ragged(offsets - offsets[0], self.excluded.values[offsets[0] : offsets[-1]]),
            texts=self.texts[start:stop],
            text_vectors=None if vectors is None else vectors[start:stop],
            allowed=self.allowed[start:stop],
            filters=self.filters[start:stop],
            contexts=self.contexts[start:stop],
        )


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one retriever found for B queries, best first.

    Attributes:
        items: int32, shape (B, K); catalogue rows, -1 pads short rows (always at the end).
        scores: float32, shape (B, K); higher is better, -inf at pads. Scales differ by retriever.
        seeds: int32, shape (B, K); the history row that led to each item, -1 where there is none or where
            the batch does not want to know.
    """

    items: Int32Array
    scores: FloatArray
    seeds: Int32Array

    @classmethod
    def of(cls, items: Int32Array, scores: FloatArray, seeds: Int32Array | None = None) -> Retrieved:
        """Wrap arrays; without ``seeds`` nothing is attributed."""
        if seeds is None:
            seeds = np.full(items.shape, -1, dtype=np.int32)
        return cls(items, scores, seeds)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Merged candidates of B queries with their provenance, best first by fused score.

    Attributes:
        items: int32, shape (B, K); -1 pads.
        scores: float32, shape (B, K); fused retrieval score (or the ranker's, once ranked).
        sources: Names of the R retrievers.
        source_scores: float32, shape (B, K, R); the retriever's own score, NaN where it did not
            return the item.
        seeds: int32, shape (B, K); history row that explains the item, -1 for none.
    """

    items: Int32Array
    scores: FloatArray
    sources: tuple[str, ...]
    source_scores: FloatArray
    seeds: Int32Array

    @classmethod
    def empty(cls, batch: int) -> Candidates:
        """No candidates for ``batch`` queries."""
        return cls(
            np.empty((batch, 0), dtype=np.int32),
            np.empty((batch, 0), dtype=np.float32),
            (),
            np.empty((batch, 0, 0), dtype=np.float32),
            np.empty((batch, 0), dtype=np.int32),
        )

    def take(self, positions: Int32Array) -> Candidates:
        """Reorder or cut: ``positions`` is int32, shape (B, n), -1 pads.

        Returns:
            Candidates of shape (B, n); pads become item -1 with score -inf.
        """
        picked = np.maximum(positions, 0).astype(np.int64)
        pad = positions < 0
        items = np.where(pad, np.int32(-1), np.take_along_axis(self.items, picked, axis=1))
        scores = np.take_along_axis(self.scores, picked, axis=1)
        return Candidates(
            items=items,
            scores=np.where(pad, np.float32(-np.inf), scores),
            sources=self.sources,
            source_scores=np.take_along_axis(self.source_scores, picked[:, :, None], axis=1),
            seeds=np.where(pad, np.int32(-1), np.take_along_axis(self.seeds, picked, axis=1)),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one item was recommended: what an explainer puts into words.

    Attributes:
        item: The recommended item.
        sources: Names of the retrievers that proposed it, strongest first.
        seed: The item of the user's history, or the one that similar items were asked for, that led to it.
        seed_event: What the user did with the seed (event type name), None if nothing.
        query_text: The free text of the request, if any.
        interests: What the user says to like, where the answer goes by that.
    """

    item: Item
    sources: tuple[str, ...]
    seed: Item | None = None
    seed_event: str | None = None
    query_text: str | None = None
    interests: str | None = None
