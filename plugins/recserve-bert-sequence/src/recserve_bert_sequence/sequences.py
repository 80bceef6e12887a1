"""Sequences of events, cut out of ragged histories and padded, without a Python loop over events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from recserve_torch import length_groups

from recserve import BoolArray, FloatArray, Histories, Int64Array, places_within


@dataclass(frozen=True, slots=True)
class Sequences:
    """B runs of consecutive events of one user each, padded at the end to the longest.

    Attributes:
        items: int64, shape (B, L); catalogue rows, -1 at pads.
        events: int64, shape (B, L); event type codes, 0 at pads.
        weights: float32, shape (B, L); signed confidences, 0 at pads.
        lengths: int64, shape (B,).
    """

    items: Int64Array
    events: Int64Array
    weights: FloatArray
    lengths: Int64Array

    @classmethod
    def cut(cls, histories: Histories, starts: Int64Array, lengths: Int64Array) -> Sequences:
        """Ranges of the flat arrays of histories.

        Args:
            histories: The events.
            starts: int64, shape (B,); the first event of each range.
            lengths: int64, shape (B,); may be 0.
        """
        steps = np.arange(max(int(lengths.max(initial=0)), 1))
        inside = steps < lengths[:, None]
        if not len(histories.items):
            blank = np.zeros(inside.shape, dtype=np.int64)
            return cls(blank - 1, blank, blank.astype(np.float32), lengths)
        index = np.where(inside, starts[:, None] + steps, 0)
        return cls(
            np.where(inside, histories.items[index], -1).astype(np.int64),
            np.where(inside, histories.events[index], 0).astype(np.int64),
            np.where(inside, histories.weights[index], 0).astype(np.float32),
            lengths,
        )


def newest(histories: Histories, window: int) -> Sequences:
    """The newest ``window`` events of each user."""
    lengths = np.minimum(histories.lengths, window)
    return Sequences.cut(histories, histories.offsets[1:] - lengths, lengths)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences to learn from in one step.

    Attributes:
        inputs: What is read, shape (B, L).
        targets: int64, shape (B, L); the item after each position.
        learn: bool, shape (B, L); positions whose next event is a liked item.
    """

    inputs: Sequences
    targets: Int64Array
    learn: BoolArray

    def part(self, rank: int, world: int) -> Batch:
        """Every ``world``-th sequence from the ``rank``-th on."""
        if world == 1:
            return self
        chosen, whole = slice(rank, None, world), self.inputs
        inputs = Sequences(
            whole.items[chosen], whole.events[chosen], whole.weights[chosen], whole.lengths[chosen]
        )
        return Batch(inputs, self.targets[chosen], self.learn[chosen])


class TrainingWindows:
    """Histories cut into windows in which each event but a user's first is a target once.

    Args:
        histories: Events of each user, oldest first.
        window: Longest window, in events that are read.
        n_items: Items of the catalogue; events of rows behind them are read and never predicted.
    """

    def __init__(self, histories: Histories, window: int, n_items: int) -> None:
        self._histories = histories
        self._n_items = n_items
        steps = np.maximum(histories.lengths - 1, 0)
        counts = -(-steps // window)
        owners = np.repeat(np.arange(len(histories)), counts)
        number = places_within(counts)
        # From the end on, so that the newest window is a whole one.
        ends = histories.offsets[:-1][owners] + steps[owners] - number * window
        self._starts = np.maximum(histories.offsets[:-1][owners], ends - window)
        self._lengths = ends - self._starts

    def __len__(self) -> int:
        return len(self._starts)

    def epoch(self, random: np.random.Generator, budget: int) -> Iterator[Batch]:
        """All windows once, in random order, in batches of about ``budget`` padded events.

        Windows of similar length share a batch, so that little is spent on padding.
        """
        groups = length_groups(np.lexsort((random.random(len(self)), self._lengths)), self._lengths, budget)
        for place in random.permutation(len(groups)):
            batch = self._batch(groups[place])
            if batch.learn.any():
                yield batch

    def n_batches(self, budget: int) -> int:
        """Batches of one epoch."""
        return len(length_groups(np.argsort(self._lengths, kind="stable"), self._lengths, budget))

    def _batch(self, chosen: Int64Array) -> Batch:
        starts, lengths = self._starts[chosen], self._lengths[chosen]
        following = Sequences.cut(self._histories, starts + 1, lengths)
        inputs = Sequences.cut(self._histories, starts, lengths)
        return Batch(inputs, following.items, (following.weights > 0) & (following.items < self._n_items))
