"""Impressions of a batch of users: when each of them was shown which items lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from recserve.data.arrays import BoolArray, Float64Array, Int32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Impressions:
    """The recent impressions of B users, ragged: an entry for each time an item was shown.

    Of each item the newest 20, of the items shown last (``server.impressions`` of them). They are counted
    within a second of the answer that showed them.

    Attributes:
        offsets: int64, shape (B + 1,).
        items: int32, shape (N,); catalogue rows, in no order.
        timestamps: int64, shape (N,); milliseconds since the epoch.
    """

    offsets: Int64Array
    items: Int32Array
    timestamps: Int64Array

    @classmethod
    def of(cls, lists: Sequence[tuple[Int32Array, Int64Array]]) -> Self:
        """Pack the rows and moments of each user."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(rows) for rows, _ in lists], out=offsets[1:])
        items = np.concatenate([np.empty(0, np.int32), *(rows for rows, _ in lists)])
        timestamps = np.concatenate([np.empty(0, np.int64), *(moments for _, moments in lists)])
        return cls(offsets, items.astype(np.int32), timestamps.astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def owners(self) -> Int64Array:
        """The user (0..B-1) of each impression, int64, shape (N,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def where(self, keep: BoolArray) -> Impressions:
        """Only the impressions marked in ``keep`` (bool, shape (N,)), users unchanged."""
        counts = np.bincount(self.owners()[keep], minlength=len(self))
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        return Impressions(offsets, self.items[keep], self.timestamps[keep])

    def part(self, start: int, stop: int) -> Impressions:
        """The impressions of users ``start:stop``."""
        offsets = self.offsets[start : stop + 1]
        span = slice(offsets[0], offsets[-1])
        return Impressions(offsets - offsets[0], self.items[span], self.timestamps[span])

    def of_items(self, items: Int32Array, weights: Float64Array | None = None) -> Float64Array:
        """How often each item was shown to its query's user, or the sum of the impressions' weights.

        Args:
            items: int32, shape (B, K); catalogue rows, such as those of candidates.
            weights: float64, shape (N,); what each impression counts, None for 1.

        Returns:
            float64, shape (B, K).
        """
        sums = np.zeros(items.shape, dtype=np.float64)
        for user in np.flatnonzero(np.diff(self.offsets)):
            span = slice(self.offsets[user], self.offsets[user + 1])
            shown, entries = np.unique(self.items[span], return_inverse=True)
            totals = np.bincount(entries, None if weights is None else weights[span], minlength=len(shown))
            places = np.minimum(np.searchsorted(shown, items[user]), len(shown) - 1)
            sums[user] = np.where(shown[places] == items[user], totals[places], 0.0)
        return sums
