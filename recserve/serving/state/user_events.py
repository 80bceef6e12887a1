"""User events: histories and sessions with catalogue rows instead of item ids, before they are a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int16Array, Int32Array, Int64Array
from recserve.data.batches import Histories
from recserve.data.catalogue import Catalogue
from recserve.data.entities import Event, EventType


@dataclass(frozen=True, slots=True)
class UserEvents:
    """Events of one user, oldest first.

    Attributes:
        rows: int32, shape (L,).
        events: int16, shape (L,); event type codes.
        weights: float32, shape (L,); signed confidences.
        timestamps: int64, shape (L,).
    """

    rows: Int32Array
    events: Int16Array
    weights: FloatArray
    timestamps: Int64Array

    @classmethod
    def of(cls, events: Sequence[Event], catalogue: Catalogue, types: Mapping[str, EventType]) -> Self:
        """The events of known types on known items.

        Args:
            events: Oldest first.
            catalogue: Its rows count.
            types: Configured event types by name, in code order.
        """
        codes = {name: code for code, name in enumerate(types)}
        found = catalogue.ids.rows(event.item_id for event in events).tolist()
        known = [
            (row, codes[event.event], event.value, event.timestamp)
            for row, event in zip(found, events, strict=True)
            if row >= 0 and event.event in codes
        ]
        rows, kinds, values, timestamps = zip(*known, strict=True) if known else ((), (), (), ())
        numbers = np.array(values, dtype=np.float64)  # None becomes NaN
        happened = np.array(kinds, dtype=np.int16)
        weights = np.zeros(len(known), dtype=np.float32)
        listed = list(types.values())
        for code in set(kinds):
            chosen = happened == code
            weights[chosen] = listed[code].confidence(numbers[chosen])
        return cls(np.array(rows, dtype=np.int32), happened, weights, np.array(timestamps, dtype=np.int64))

    @classmethod
    def none(cls) -> Self:
        """No events."""
        return cls(
            np.empty(0, dtype=np.int32),
            np.empty(0, dtype=np.int16),
            np.empty(0, dtype=np.float32),
            np.empty(0, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def then(self, later: UserEvents) -> UserEvents:
        """These events and then others."""
        if not len(later) or not len(self):
            return later if len(later) else self
        return UserEvents(
            np.concatenate([self.rows, later.rows]),
            np.concatenate([self.events, later.events]),
            np.concatenate([self.weights, later.weights]),
            np.concatenate([self.timestamps, later.timestamps]),
        )

    def where(self, kept: BoolArray) -> UserEvents:
        """Only some of the events."""
        if kept.all():
            return self
        return UserEvents(self.rows[kept], self.events[kept], self.weights[kept], self.timestamps[kept])


def pack(lists: Sequence[UserEvents]) -> Histories:
    """Histories of a batch of users."""
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(events) for events in lists], out=offsets[1:])
    return Histories(
        offsets=offsets,
        items=np.concatenate([user.rows for user in lists]),
        events=np.concatenate([user.events for user in lists]),
        weights=np.concatenate([user.weights for user in lists]),
        timestamps=np.concatenate([user.timestamps for user in lists]),
    )
