"""Batch types that the stages exchange: ragged lists, histories, queries, candidates.

Outside the graph things are named by external string ids (:class:`Item`, :class:`Event`). Inside the
graph everything is batch-first: B queries a call, items as dense int32 rows of the bundle's
vocabulary, times as int64 milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int16Array, Int32Array, Int64Array, flat_ranges
from recserve.data.columns.named_vectors import LaterVectors
from recserve.data.events.impressions import Impressions


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

    def part(self, start: int, stop: int) -> Ragged:
        """Lists ``start:stop``."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(offsets - offsets[0], self.values[offsets[0] : offsets[-1]])


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
        offsets, index = flat_ranges(self.offsets[users], self.lengths[users])
        return Histories(
            offsets,
            self.items[index],
            self.events[index],
            self.weights[index],
            self.timestamps[index],
        )


RECENT_TEXTS = 20
"""Newest texts of a user that queries carry."""


@dataclass(frozen=True, slots=True)
class RecentTexts:
    """What B users wrote lately (searches, reviews, comments), ragged, oldest first within each user.

    At most :data:`RECENT_TEXTS` of each user. A text may belong to an event with an item, which the histories
    hold as well; so texts are no further interactions.

    Attributes:
        offsets: int64, shape (B + 1,).
        vectors: float32, shape (N, d), unit length, comparable with those of items.
        events: int16, shape (N,); index into the configured event types.
        weights: float32, shape (N,); signed confidence of the event, negative for dislikes.
        timestamps: int64, shape (N,); milliseconds since the epoch.
    """

    offsets: Int64Array
    vectors: FloatArray
    events: Int16Array
    weights: FloatArray
    timestamps: Int64Array

    def part(self, start: int, stop: int) -> RecentTexts:
        """The texts of users ``start:stop``."""
        offsets = self.offsets[start : stop + 1]
        span = slice(offsets[0], offsets[-1])
        return RecentTexts(
            offsets - offsets[0],
            self.vectors[span],
            self.events[span],
            self.weights[span],
            self.timestamps[span],
        )

    def select(self, users: Int64Array) -> RecentTexts:
        """The texts of these users (int64 indices, shape (M,)), in that order."""
        offsets, index = flat_ranges(self.offsets[users], np.diff(self.offsets)[users])
        return RecentTexts(
            offsets, self.vectors[index], self.events[index], self.weights[index], self.timestamps[index]
        )

    def among(self, histories: Histories, first: int) -> Histories:
        """Histories with the texts as further events, each where its time puts it.

        Args:
            histories: Of the same users.
            first: Row of the first text; the others follow.
        """
        places: list[Int64Array] = []
        for user in np.flatnonzero(np.diff(self.offsets)):
            start, end = histories.offsets[user : user + 2]
            # A session counts as newer than all that is stored, whatever its times.
            reached = np.maximum.accumulate(histories.timestamps[start:end])
            times = self.timestamps[self.offsets[user] : self.offsets[user + 1]]
            places.append(start + np.searchsorted(reached, times, side="right"))
        at = np.concatenate(places) if places else np.empty(0, dtype=np.int64)
        rows = np.arange(first, first + len(at), dtype=np.int32)
        return Histories(
            histories.offsets + self.offsets,
            np.insert(histories.items, at, rows),
            np.insert(histories.events, at, self.events),
            np.insert(histories.weights, at, self.weights),
            np.insert(histories.timestamps, at, self.timestamps),
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
        later_vectors: What of named spaces (:attr:`recserve.Catalogue.spaces`) came after the bundle was
            trained, by space; those of new items among it.
        recent_texts: What the users wrote lately; None when nobody of the batch wrote anything.
        impressions: When the users were shown which items lately. None where no reranker of the scenario
            reads it (:attr:`recserve.Component.needs_impressions`), and in training and evaluation.
        allowed: For each query a bool array of shape (n_items,) or None for "everything"; filled by
            the retrieval stage from its filters.
        filters: The ``filter`` object of each request, filter name -> argument.
        contexts: The ``context`` object of each request.
        live_version: Catalogue version of the store that rows beyond the bundle's are numbered by, -1
            where there are none; see :mod:`recserve.serving.state.live_catalogue`.
        wants_evidence: Whether anybody will be told why. Otherwise retrievers may leave evidence
            out, which takes a seventh of the time; training never wants it, so rankers must not read it.
    """

    user_ids: tuple[str | None, ...]
    histories: Histories
    times: Int64Array
    anchors: Int32Array
    excluded: Ragged
    texts: tuple[str | None, ...] = ()
    text_vectors: FloatArray | None = None
    extra_vectors: FloatArray | None = None
    later_vectors: Mapping[str, LaterVectors] = field(default_factory=dict)
    recent_texts: RecentTexts | None = None
    impressions: Impressions | None = None
    allowed: tuple[BoolArray | None, ...] = ()
    filters: tuple[Mapping[str, Any], ...] = ()
    contexts: tuple[Mapping[str, Any], ...] = ()
    live_version: int = -1
    wants_evidence: bool = True

    @classmethod
    def of(
        cls,
        histories: Histories,
        times: Int64Array,
        *,
        anchors: Int32Array | None = None,
        excluded: Ragged | None = None,
        text_vectors: FloatArray | None = None,
        wants_evidence: bool = True,
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
            wants_evidence=wants_evidence,
        )

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def plain(self) -> BoolArray:
        """Whether each query goes by a history of items alone, bool, shape (B,): neither text nor anchor."""
        plain: BoolArray = self.anchors < 0
        if self.recent_texts is not None:
            plain &= (np.diff(self.recent_texts.offsets) == 0) | (self.histories.lengths > 0)
        return plain if self.text_vectors is None else plain & ~self.text_vectors.any(axis=1)

    @property
    def unread(self) -> BoolArray:
        """Which queries have a text that the encoder did not read, bool, shape (B,)."""
        with_text = np.array([bool(text) for text in self.texts] or [False] * len(self), dtype=np.bool_)
        return with_text if self.text_vectors is None else with_text & ~self.text_vectors.any(axis=1)

    @property
    def unanswered(self) -> Impressions | None:
        """The impressions of each item since the user's last positive event with it."""
        if self.impressions is None:
            return None
        liked, shown = self.histories.positive(), self.impressions
        width = 1 + max(int(liked.items.max(initial=-1)), int(shown.items.max(initial=-1)))
        # One number a user and item.
        clicks = liked.owners() * width + liked.items
        order = np.lexsort((liked.timestamps, clicks))
        keys, last = clicks[order], liked.timestamps[order]
        views = shown.owners() * width + shown.items
        places = np.searchsorted(keys, views, side="right") - 1
        if not len(keys):
            return shown
        answered = (places >= 0) & (keys[places] == views) & (last[places] >= shown.timestamps)
        return shown.where(~answered)

    @property
    def barred(self) -> Ragged:
        """Rows that must not be returned: :attr:`excluded`, and the anchor where there is one."""
        old, anchored = self.excluded, self.anchors >= 0
        if not anchored.any():
            return old
        values = np.insert(old.values, old.offsets[1:][anchored], self.anchors[anchored])
        return Ragged(old.offsets + np.concatenate([[0], np.cumsum(anchored)]), values)

    def with_allowed(self, allowed: tuple[BoolArray | None, ...]) -> Queries:
        """The same batch with the filters' masks set."""
        return replace(self, allowed=allowed)

    def with_texts(self, n_items: int) -> Queries:
        """The batch with what users wrote as further events of their histories.

        For components that read nothing of an item but its vector: each text has a row behind all items, and
        its vector in :attr:`extra_vectors`. What such a component finds is explained by
        :meth:`text_evidence`.

        Args:
            n_items: Items of the bundle's catalogue.
        """
        texts, extra = self.recent_texts, self.extra_vectors
        if texts is None or not len(texts.vectors):
            return self
        known = 0 if extra is None else len(extra)
        vectors = texts.vectors if extra is None else np.concatenate([extra, texts.vectors])
        histories = texts.among(self.histories, n_items + known)
        return replace(self, histories=histories, extra_vectors=vectors, recent_texts=None)

    def text_evidence(self, evidence: Int32Array, n_items: int) -> Int32Array:
        """Evidence of :meth:`with_texts` as :attr:`Retrieved.evidence` wants it, shape (B, K)."""
        if self.recent_texts is None:
            return evidence
        first = n_items + (0 if self.extra_vectors is None else len(self.extra_vectors))
        place = evidence - first - self.recent_texts.offsets[:-1, None]
        return np.where(evidence < first, evidence, -2 - place).astype(np.int32)

    def part(self, start: int, stop: int) -> Queries:
        """Queries ``start:stop`` as a batch of their own."""
        vectors, written, shown = self.text_vectors, self.recent_texts, self.impressions
        return replace(
            self,
            user_ids=self.user_ids[start:stop],
            histories=self.histories.select(np.arange(start, stop, dtype=np.int64)),
            times=self.times[start:stop],
            anchors=self.anchors[start:stop],
            excluded=self.excluded.part(start, stop),
            texts=self.texts[start:stop],
            text_vectors=None if vectors is None else vectors[start:stop],
            recent_texts=None if written is None else written.part(start, stop),
            impressions=None if shown is None else shown.part(start, stop),
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
        evidence: int32, shape (B, K); the history row that led to each item, or -2 - j for the text j of the
            query's :attr:`Queries.recent_texts`; -1 where there is none or where the batch does not want to
            know.
    """

    items: Int32Array
    scores: FloatArray
    evidence: Int32Array

    @classmethod
    def of(cls, items: Int32Array, scores: FloatArray, evidence: Int32Array | None = None) -> Retrieved:
        """Wrap arrays; without ``evidence`` nothing is attributed."""
        if evidence is None:
            evidence = np.full(items.shape, -1, dtype=np.int32)
        return cls(items, scores, evidence)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Merged candidates of B queries with their provenance, best first by fused score.

    Attributes:
        items: int32, shape (B, K); -1 pads.
        scores: float32, shape (B, K); fused retrieval score (or the ranker's, once ranked).
        sources: Names of the R retrievers.
        source_scores: float32, shape (B, K, R); the retriever's own score, NaN where it did not
            return the item.
        evidence: int32, shape (B, K); what explains the item as in :class:`Retrieved`, -1 for none.
    """

    items: Int32Array
    scores: FloatArray
    sources: tuple[str, ...]
    source_scores: FloatArray
    evidence: Int32Array

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
            evidence=np.where(pad, np.int32(-1), np.take_along_axis(self.evidence, picked, axis=1)),
        )

    def of_queries(self, chosen: Int64Array | slice) -> Candidates:
        """The candidates of some of the queries, by their rows."""
        return Candidates(
            self.items[chosen],
            self.scores[chosen],
            self.sources,
            self.source_scores[chosen],
            self.evidence[chosen],
        )

    def first(self, n: int) -> Candidates:
        """The first n columns."""
        if n >= self.items.shape[1]:
            return self
        return Candidates(
            self.items[:, :n],
            self.scores[:, :n],
            self.sources,
            self.source_scores[:, :n],
            self.evidence[:, :n],
        )


@dataclass(frozen=True, slots=True)
class Reranked:
    """Order of a batch of which a reranker could not treat every query as it should.

    A reranker that asks a service outside returns this instead of bare positions where some queries keep the
    order they came in: the answers are served, say so in ``degraded``, and are not cached.

    Attributes:
        positions: int32, shape (B, m); see :meth:`recserve.Reranker.rerank`.
        lost: Why, in one word that metrics count, such as ``late``, ``failed``, ``down`` or ``overloaded``.
    """

    positions: Int32Array
    lost: str
