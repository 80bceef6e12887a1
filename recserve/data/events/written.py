"""What the users of a data set wrote, read by queries as of their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import FloatArray, Int16Array, Int64Array
from recserve.data.batches import RECENT_TEXTS, RecentTexts
from recserve.data.entities import EventType
from recserve.data.vocabulary import Vocabulary


class WrittenTexts(RecentTexts):
    """All texts of all users of a data set, not only the newest ones."""

    __slots__ = ()

    def as_of(self, users: Int64Array, times: Int64Array) -> RecentTexts | None:
        """The newest texts of users before a moment each, as a server has them; None where there are none.

        Args:
            users: int64, shape (B,); rows of users, -1 for a stranger.
            times: int64, shape (B,); milliseconds.
        """
        spans = [self._span(user, time) for user, time in zip(users.tolist(), times.tolist(), strict=True)]
        offsets = np.zeros(len(spans) + 1, dtype=np.int64)
        np.cumsum([stop - start for start, stop in spans], out=offsets[1:])
        if not offsets[-1]:
            return None
        index = np.concatenate([np.arange(start, stop) for start, stop in spans])
        return RecentTexts(
            offsets, self.vectors[index], self.events[index], self.weights[index], self.timestamps[index]
        )

    def _span(self, user: int, time: int) -> tuple[int, int]:
        if user < 0:
            return 0, 0
        start, end = self.offsets[user : user + 2].tolist()
        stop = start + int(np.searchsorted(self.timestamps[start:end], time, side="left"))
        return max(start, stop - RECENT_TEXTS), stop


@dataclass(frozen=True, slots=True)
class UnreadTexts:
    """The same before an encoder has read them.

    Attributes:
        texts: N texts.
        users: int64, shape (N,); rows of users, non-decreasing.
        n_users: Users in all.
        events: See :class:`WrittenTexts`.
        weights: As there.
        timestamps: As there.
    """

    texts: Sequence[str]
    users: Int64Array
    n_users: int
    events: Int16Array
    weights: FloatArray
    timestamps: Int64Array

    @classmethod
    def of(cls, table: pa.Table, user_ids: Vocabulary, event_types: Mapping[str, EventType]) -> Self:
        """Those of known users and configured event types.

        Args:
            table: Columns ``user_id``, ``event``, ``value``, ``timestamp`` and ``text``.
            user_ids: Users of a data set.
            event_types: Configured event types by name, in code order.
        """
        codes = {name: code for code, name in enumerate(event_types)}
        users = user_ids.rows(table["user_id"].to_pylist()).astype(np.int64)
        events = np.array([codes.get(name, -1) for name in table["event"].to_pylist()], dtype=np.int16)
        times = table["timestamp"].to_numpy().astype(np.int64)
        kept = np.flatnonzero((users >= 0) & (events >= 0))
        order = kept[np.lexsort((times[kept], users[kept]))]
        values = pc.cast(table["value"], pa.float64()).to_numpy(zero_copy_only=False)[order]
        weights, kinds = np.zeros(len(order), dtype=np.float32), list(event_types.values())
        for code in np.unique(events[order]):
            chosen = events[order] == code
            weights[chosen] = kinds[code].confidence(values[chosen])
        texts = table["text"].take(pa.array(order)).to_pylist()
        return cls(texts, users[order], len(user_ids), events[order], weights, times[order])

    def with_vectors(self, vectors: FloatArray) -> WrittenTexts:
        """The texts as an encoder read them.

        Args:
            vectors: float32, shape (N, d), unit length.
        """
        offsets = np.searchsorted(self.users, np.arange(self.n_users + 1))
        return WrittenTexts(offsets, vectors, self.events, self.weights, self.timestamps)
