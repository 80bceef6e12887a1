"""Interactions as arrays: what components are fitted on.

A dataset is a snapshot: events sorted by time, users and items as dense rows. Cutting it by time
(:meth:`Dataset.before`, :meth:`Dataset.between`) is how every window of training and evaluation is
made, so that nothing later than the cut can leak.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.arrays import BoolArray, FloatArray, Int16Array, Int32Array, Int64Array
from recserve.data.batches import Histories
from recserve.data.catalogue import Catalogue
from recserve.data.columns.codes import blocks, encoded
from recserve.data.columns.strings import Texts
from recserve.data.entities import EventType
from recserve.data.events.context import Contexts
from recserve.data.events.event_order import EventOrder
from recserve.data.events.sequence import EventColumns
from recserve.data.events.written import WrittenTexts
from recserve.data.vocabulary import Vocabulary
from recserve.errors import DataError

_TIES = 4_000_000


class Dataset:
    """Events of many users over one catalogue, sorted by time.

    Args:
        catalogue: The items; event rows refer to it.
        user_ids: External user ids; row = position.
        users: int32, shape (N,).
        items: int32, shape (N,); catalogue rows.
        events: int16, shape (N,); codes into ``event_types``.
        weights: float32, shape (N,); signed confidence.
        timestamps: int64, shape (N,); milliseconds, non-decreasing.
        event_types: Names of the codes.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        user_ids: Vocabulary,
        users: Int32Array,
        items: Int32Array,
        events: Int16Array,
        weights: FloatArray,
        timestamps: Int64Array,
        event_types: tuple[str, ...],
    ) -> None:
        self.catalogue = catalogue
        self.user_ids = user_ids
        self.users = users
        self.items = items
        self.events = events
        self.weights = weights
        self.timestamps = timestamps
        self.event_types = event_types
        self.written: WrittenTexts | None = None
        """What the users wrote, whatever the window: queries read it as of their time. None for nothing."""
        self.contexts: Contexts | None = None
        """What was the case at each event (N = that of the events); None where nobody said anything."""

    @classmethod
    def from_tables(
        cls, catalogue: Catalogue, events: pa.Table, event_types: Mapping[str, EventType]
    ) -> Dataset:
        """Build a dataset from a canonical event table (see :class:`recserve.Tables`).

        Events on items outside the catalogue and events of a type that is not configured are left
        out. Events with equal time come in a scrambled but fixed order: it does not depend on the order of
        storage, and it holds nothing that a sequence model could learn.

        Raises:
            DataError: No event is left.
        """
        names, user_codes = encoded(events["user_id"])
        item_ids, item_codes = encoded(events["item_id"])
        types, type_codes = encoded(events["event"])
        codes = {name: code for code, name in enumerate(event_types)}
        item_rows = catalogue.ids.rows(item_ids.to_pylist())[item_codes]
        type_rows = np.array([codes.get(name, -1) for name in types.to_pylist()], np.int16)[type_codes]
        keep = (item_rows >= 0) & (type_rows >= 0)
        if not keep.any():
            raise DataError(
                "no event to learn from: none refers to a known item with a configured event type"
            )
        # Rows of users in the order of their ids: independent of the order of storage. The order of bytes in
        # UTF-8 is that of characters.
        by_name = pc.sort_indices(names).to_numpy()
        rank = np.empty(len(names), dtype=np.int32)
        rank[by_name] = np.arange(len(names), dtype=np.int32)
        user_rows = rank[user_codes]
        weights = _weights(events["value"], type_rows, event_types)
        timestamps = _numbers(events["timestamp"])

        contexts = Contexts.of(events["context"]) if "context" in events.schema.names else None

        order = _order(timestamps, user_rows, item_rows, type_rows, weights, contexts)
        if not keep.all():
            order = order[keep[order]]
        users = user_rows[order]
        used = np.zeros(len(names), dtype=np.bool_)
        used[users] = True
        dense = np.cumsum(used, dtype=np.int32) - 1
        data = cls(
            catalogue=catalogue,
            user_ids=Vocabulary(Texts(names.take(pa.array(by_name[used])))),
            users=dense[users],
            items=item_rows[order],
            events=type_rows[order],
            weights=weights[order],
            timestamps=timestamps[order],
            event_types=tuple(event_types),
        )
        data.contexts = None if contexts is None else contexts.take(order)
        return data

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_users(self) -> int:
        """Users in the vocabulary, also those without an event in this window."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Items in the catalogue."""
        return len(self.catalogue)

    def where(self, keep: BoolArray) -> Dataset:
        """Only the marked events (bool, shape (N,)); users and catalogue unchanged."""
        part = Dataset(
            self.catalogue,
            self.user_ids,
            self.users[keep],
            self.items[keep],
            self.events[keep],
            self.weights[keep],
            self.timestamps[keep],
            self.event_types,
        )
        part.event_order = self.event_order
        part.written = self.written
        part.contexts = None if self.contexts is None else self.contexts.take(keep)
        return part

    def before(self, moment: int) -> Dataset:
        """Events strictly before a moment (milliseconds)."""
        return self.where(self.timestamps < moment)

    def between(self, start: int, end: int) -> Dataset:
        """Events with start <= time < end (milliseconds)."""
        return self.where((self.timestamps >= start) & (self.timestamps < end))

    def positive(self) -> Dataset:
        """Only events with positive confidence."""
        return self.where(self.weights > 0)

    def quantile_time(self, fraction: float) -> int:
        """The moment before which this fraction of the events lies (milliseconds)."""
        index = min(int(fraction * len(self)), len(self) - 1)
        return int(self.timestamps[index])

    def with_catalogue(self, catalogue: Catalogue) -> Dataset:
        """The same events over the same items, for example once vectors are known."""
        same = Dataset(
            catalogue,
            self.user_ids,
            self.users,
            self.items,
            self.events,
            self.weights,
            self.timestamps,
            self.event_types,
        )
        same.event_order = self.event_order
        same.written = self.written
        same.contexts = self.contexts
        return same

    @cached_property
    def event_order(self) -> EventOrder:
        """What times order: all events, those of each user, or nothing.

        Found out once, from all events of a data set: its windows and other parts are of the same order.
        """
        columns = EventColumns(
            self.users, self.items, self.events, self.weights, self.timestamps, self.catalogue.ids
        )
        return EventOrder.of(columns)

    @cached_property
    def histories(self) -> Histories:
        """All events of each user (B = n_users), oldest first."""
        order = np.argsort(self.users, kind="stable")
        offsets = np.zeros(self.n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.users, minlength=self.n_users), out=offsets[1:])
        return Histories(
            offsets,
            self.items[order],
            self.events[order],
            self.weights[order],
            self.timestamps[order],
        )

    def histories_with_texts(self) -> tuple[Histories, FloatArray]:
        """Histories with what users wrote as further events, as :meth:`recserve.Queries.with_texts` has them.

        Returns:
            All events of each user, oldest first, in which row ``n_items + j`` is text j; and the vectors of
            the texts, float32, shape (J, d).
        """
        if self.written is None:
            return self.histories, np.empty((0, self.catalogue.dimension), dtype=np.float32)
        return self.written.among(self.histories, self.n_items), self.written.vectors

    @cached_property
    def item_counts(self) -> Int64Array:
        """Positive events of each item, int64, shape (n_items,)."""
        return np.bincount(self.items[self.weights > 0], minlength=self.n_items).astype(np.int64)

    def matrix(self) -> csr_array:
        """Positive confidences, summed over a user's events with an item.

        Returns:
            CSR, float32, shape (n_users, n_items), indices sorted.
        """
        liked = self.weights > 0
        matrix = csr_array(
            (self.weights[liked], (self.users[liked], self.items[liked])),
            shape=(self.n_users, self.n_items),
            dtype=np.float32,
        )
        matrix.sum_duplicates()
        return matrix

    def fingerprint(self) -> str:
        """sha256 over all events and the catalogue, hexadecimal; equal data gives an equal value."""
        digest = hashlib.sha256()
        for external in chain(self.user_ids, ["\x00"], self.catalogue.ids, ["\x00"]):
            digest.update(external.encode())
            digest.update(b"\x00")
        for text in self.catalogue.attributes_json:
            digest.update(text.encode())
            digest.update(b"\x00")
        for array in (self.users, self.items, self.events, self.weights, self.timestamps):
            digest.update(np.ascontiguousarray(array).tobytes())
        if self.written is not None:
            for array in (self.written.offsets, self.written.vectors, self.written.timestamps):
                digest.update(np.ascontiguousarray(array).tobytes())
        if self.contexts is not None:
            for said in self.contexts.said():
                digest.update(f"\x00{said or ''}".encode())
        return digest.hexdigest()


def _numbers(column: pa.ChunkedArray) -> Int64Array:
    """A column of whole numbers as an array, without a copy if it is in one piece."""
    return np.asarray(column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy(), np.int64)


def _weights(
    column: pa.ChunkedArray, type_rows: Int16Array, event_types: Mapping[str, EventType]
) -> FloatArray:
    """Signed confidence of events with these values, 0 for those of no configured type."""
    weights = np.zeros(len(type_rows), dtype=np.float32)
    for block in blocks(len(type_rows)):
        values = column.slice(block.start, block.stop - block.start).to_numpy().astype(np.float64)
        for code, kind in enumerate(event_types.values()):
            chosen = np.flatnonzero(type_rows[block] == code)
            if len(chosen):
                weights[block.start + chosen] = kind.confidence(values[chosen])
    return weights


def _order(
    timestamps: Int64Array,
    users: Int32Array,
    items: Int32Array,
    types: Int16Array,
    weights: FloatArray,
    contexts: Contexts | None,
) -> Int64Array:
    """Places of events by time; those of equal time in a scrambled but fixed order.

    Only what is not told apart by time is sorted by more than it, some millions at a time.
    """
    order = np.argsort(timestamps, kind="stable")
    moments = timestamps[order]
    tied = np.zeros(len(order), dtype=np.bool_)
    np.equal(moments[1:], moments[:-1], out=tied[1:])
    tied[:-1] |= tied[1:]
    places = np.flatnonzero(tied)
    moments = moments[places]
    start = 0
    while start < len(places):
        last = moments[min(start + _TIES, len(places)) - 1]
        stop = int(np.searchsorted(moments, last, side="right"))
        rows = order[places[start:stop]]
        tie = _scramble(users[rows], items[rows])
        keys = (weights[rows], types[rows], items[rows], users[rows], tie, moments[start:stop])
        least = () if contexts is None else (contexts.codes[rows],)
        order[places[start:stop]] = rows[np.lexsort((*least, *keys))]
        start = stop
    return order


def _scramble(users: Int32Array, items: Int32Array) -> NDArray[np.uint64]:
    """A fixed pseudo-random number for each (user, item) pair (the finaliser of splitmix64)."""
    mixed = (users.astype(np.uint64) << np.uint64(32)) ^ items.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Tables:
    """A data set as two Arrow tables.

    Attributes:
        items: Columns ``item_id`` (string) and ``attributes`` (string, a JSON object).
        events: Columns ``event_id``, ``user_id``, ``item_id``, ``event`` (strings), ``value``
            (float64, nullable), ``timestamp`` (int64, milliseconds since the epoch, UTC), and ``text``
            (string, nullable) where there are texts, and ``context`` (string, nullable; see
            :attr:`recserve.Event.context`) where there are contexts; an event of words alone has an empty
            ``item_id``. A snapshot of the store has no ``event_id`` and no ``text``, and its strings are
            dictionaries over memory-mapped files.
        version: Version of the store's catalogue that they show, None for data from elsewhere.
        last_event: Number of the store's last event when they were read; None for data from elsewhere.
        texts: Columns ``user_id``, ``event``, ``value``, ``timestamp`` and ``text`` of a snapshot's events
            with a text; None for data from elsewhere.
    """

    items: pa.Table
    events: pa.Table
    version: int | None = None
    last_event: int | None = None
    texts: pa.Table | None = None
