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
from recserve.data.entities import EventType
from recserve.data.order.event_order import EventOrder
from recserve.data.order.sequence import EventColumns
from recserve.data.vocabulary import Vocabulary
from recserve.errors import DataError


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
        codes = {name: code for code, name in enumerate(event_types)}
        names, user_codes = _encoded(events["user_id"])
        item_ids, item_codes = _encoded(events["item_id"])
        types, type_codes = _encoded(events["event"])
        item_rows = catalogue.ids.rows(item_ids)[item_codes]
        type_rows = np.array([codes.get(name, -1) for name in types], np.int16)[type_codes]
        keep = (item_rows >= 0) & (type_rows >= 0)
        if not keep.any():
            raise DataError(
                "no event to learn from: none refers to a known item with a configured event type"
            )
        # Rows of users in the order of their ids: independent of the order of storage.
        by_name = np.argsort(np.array(names, dtype=object), kind="stable")
        rank = np.empty(len(names), dtype=np.int32)
        rank[by_name] = np.arange(len(names), dtype=np.int32)
        user_rows = rank[user_codes]

        values = events["value"].to_numpy(zero_copy_only=False).astype(np.float64)
        weights = np.zeros(len(values), dtype=np.float32)
        for name, code in codes.items():
            chosen = type_rows == code
            if chosen.any():
                weights[chosen] = event_types[name].confidence(values[chosen])
        timestamps = events["timestamp"].to_numpy(zero_copy_only=False).astype(np.int64)

        tie = _scramble(user_rows, item_rows)
        order = np.lexsort((weights, type_rows, item_rows, user_rows, tie, timestamps), axis=0)
        order = order[keep[order]]
        used, dense = np.unique(user_rows[order], return_inverse=True)
        return cls(
            catalogue=catalogue,
            user_ids=Vocabulary(names[by_name[row]] for row in used),
            users=dense.astype(np.int32),
            items=item_rows[order].astype(np.int32),
            events=type_rows[order].astype(np.int16),
            weights=weights[order],
            timestamps=timestamps[order],
            event_types=tuple(event_types),
        )

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
        return digest.hexdigest()


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], Int32Array]:
    """Distinct texts of a column, and its entries as int32 codes into them, shape (N,).

    Chunk by chunk: an Arrow array of strings holds 2 GiB, which the ids of 60 million events exceed.
    """
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    if not encoded.num_chunks:
        return [], np.empty(0, np.int32)
    codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks])
    return encoded.chunk(0).dictionary.to_pylist(), codes


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
            (float64, nullable) and ``timestamp`` (int64, milliseconds since the epoch, UTC).
        version: Version of the store's catalogue that they show, None for data from elsewhere.
    """

    items: pa.Table
    events: pa.Table
    version: int | None = None
