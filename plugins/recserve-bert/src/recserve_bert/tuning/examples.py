"""Training examples: positive events, each with what its user had liked before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from recserve import BoolArray, Dataset, FloatArray, Histories, Int32Array, Int64Array

HARD_AMONG = 100
"""Hard negatives are drawn from so many of the best proposals: the very best are often good ones."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Newest events of B users, newest first, padded to a common length L.

    Attributes:
        rows: int32, shape (B, L); catalogue rows, -1 pads.
        shares: float32, shape (B, L); weight of each event, a row's sum is 1; 0 at pads.
    """

    rows: Int32Array
    shares: FloatArray

    @classmethod
    def of(cls, items: Int32Array, starts: Int64Array, ends: Int64Array, half_life: float) -> Recent:
        """The events ``items[start:end]`` of each user, oldest first there."""
        place = np.arange(max(int((ends - starts).max(initial=1)), 1))
        index = ends[:, None] - 1 - place
        present = index >= starts[:, None]
        rows = np.where(present, items[np.maximum(index, 0)], np.int32(-1)).astype(np.int32)
        shares = np.where(present, np.exp2(-place / half_life), 0.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        return cls(rows, shares.astype(np.float32))

    @classmethod
    def last(cls, histories: Histories, length: int, half_life: float) -> Recent:
        """The newest events of whole histories; a user without any has a row of pads."""
        ends = histories.offsets[1:]
        items = histories.items if len(histories.items) else np.full(1, -1, dtype=np.int32)
        return cls.of(items, np.maximum(histories.offsets[:-1], ends - length), ends, half_life)

    def vectors(self, table: FloatArray) -> FloatArray:
        """Weighted means of the rows' vectors, of unit length; zero rows where there is no event.

        Args:
            table: float32, shape (n_items, d).
        """
        means = np.einsum("bl,bld->bd", self.shares, table[np.maximum(self.rows, 0)])
        unit: FloatArray = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return unit


class Examples:
    """Positive events that have a history, and what their users like altogether.

    Args:
        positive: Positive events.
        length: Newest events that stand for a user.
        half_life: Events after which one counts half.
    """

    def __init__(self, positive: Dataset, length: int, half_life: float) -> None:
        histories = positive.histories
        owners = histories.owners()
        begin = histories.offsets[owners]
        # Events of one user at one moment do not precede each other.
        fresh = np.ones(len(owners), dtype=bool)
        fresh[1:] = (owners[1:] != owners[:-1]) | (histories.timestamps[1:] != histories.timestamps[:-1])
        ends = np.maximum.accumulate(np.where(fresh, np.arange(len(owners)), 0))
        usable = np.flatnonzero(ends > begin)
        self._items = histories.items
        self._starts = np.maximum(begin[usable], ends[usable] - length)
        self._ends = ends[usable]
        self._half_life = half_life
        self.targets: Int32Array = histories.items[usable]
        self._users = owners[usable]
        self._n_items = positive.n_items
        self._liked = np.unique(owners * positive.n_items + histories.items)
        counts = np.bincount(self._items, minlength=positive.n_items)
        self.shares: FloatArray = (counts / max(counts.sum(), 1)).astype(np.float32)
        matrix = positive.matrix()
        matrix.data[:] = 1
        norms = np.sqrt(np.maximum(counts, 1)).astype(np.float32)
        self._matrix = csr_array(matrix.multiply(1 / norms[None, :]))

    def __len__(self) -> int:
        return len(self.targets)

    def recent(self, chosen: Int64Array) -> Recent:
        """What the users of some examples had liked last before each."""
        return Recent.of(self._items, self._starts[chosen], self._ends[chosen], self._half_life)

    def likes(self, chosen: Int64Array, items: Int32Array) -> BoolArray:
        """Whether the user of each example likes each item, bool, shape (B, M)."""
        pairs = self._users[chosen][:, None] * self._n_items + items[None, :]
        place = np.minimum(np.searchsorted(self._liked, pairs), len(self._liked) - 1)
        found: BoolArray = self._liked[place] == pairs
        return found

    def places(self, chosen: Int64Array) -> Int64Array:
        """How many items that the user has not met are nearer to the recent ones than what he liked next.

        Near as in :meth:`proposals`; his own liking counts towards it.

        Args:
            chosen: Examples.
        """
        scores, wanted = self._scores(chosen)
        found: Int64Array = (scores > wanted[:, None]).sum(axis=1)
        return found

    def _scores(self, chosen: Int64Array) -> tuple[FloatArray, FloatArray]:
        """How near all items are to the recent ones, -1 for those that the user likes, and the next one."""
        recent = self.recent(chosen)
        owners, places = np.nonzero(recent.rows >= 0)
        taste = csr_array(
            (recent.shares[owners, places], (owners, recent.rows[owners, places])),
            shape=(len(chosen), self._n_items),
        )
        scores = ((taste @ self._matrix.T) @ self._matrix).toarray()
        wanted = scores[np.arange(len(chosen)), self.targets[chosen]]
        scores[self.likes(chosen, np.arange(self._n_items, dtype=np.int32))] = -1
        return scores, wanted

    def proposals(
        self, chosen: Int64Array, count: int, random: np.random.Generator, among: int = HARD_AMONG
    ) -> Int32Array:
        """Items near the recent ones that the user has not met, int32, shape (B, count).

        Near is what item-item collaborative filtering (cosine over users) would propose.

        Args:
            chosen: Examples.
            count: Items for each.
            random: Draws them.
            among: How many of the best proposals they are drawn from.
        """
        scores, _ = self._scores(chosen)
        among = min(among, self._n_items)
        best = np.argpartition(-scores, among - 1, axis=1)[:, :among]
        drawn = random.integers(0, among, (len(chosen), count))
        found: Int32Array = np.take_along_axis(best, drawn, axis=1).astype(np.int32)
        return found
