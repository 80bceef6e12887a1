"""Turns ragged histories into padded windows, without a Python loop over events.

A window is a run of consecutive events of one user. Long histories are cut into overlapping windows
so that every position that is learnt from has context before it; each event is a target once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from recserve_torch import length_groups

from recserve import Histories, Int64Array, places_within

GAP_BUCKETS = 34
"""Time-gap classes: 0 = nothing before, 1 = same second, then one for each doubling of seconds."""


def time_buckets(milliseconds: Int64Array) -> Int64Array:
    """Class of each length of time, int64 in [1, GAP_BUCKETS): see :data:`GAP_BUCKETS`."""
    seconds = np.maximum(milliseconds, 0) / 1000.0
    return 1 + np.minimum(np.log2(1.0 + seconds), GAP_BUCKETS - 2).astype(np.int64)


def gap_buckets(histories: Histories) -> Int64Array:
    """Log-bucketed time since the user's previous event.

    Returns:
        int64 in [0, GAP_BUCKETS), shape (N,); 0 for the first event of each user.
    """
    times = histories.timestamps
    gaps = np.zeros(len(times), dtype=np.int64)
    if len(times) == 0:
        return gaps
    gaps[1:] = time_buckets(np.diff(times))
    starts = histories.offsets[:-1][histories.lengths > 0]
    gaps[starts] = 0
    return gaps


def shuffle_ties(histories: Histories, random: np.random.Generator, n_items: int) -> Histories:
    """Put events of one user at the very same time into random order, what was written then behind them.

    A data set has to break such ties somehow, for instance by item; a sequence model would learn that
    rule, look good in a test that follows it, and serve nobody. A review must not come before what it is of.

    Args:
        histories: Events of each user.
        random: Decides the order.
        n_items: Items of the catalogue; rows behind them are texts.
    """
    times, owners = histories.timestamps, histories.owners()
    if not ((times[1:] == times[:-1]) & (owners[1:] == owners[:-1])).any():
        return histories
    order = np.lexsort((random.random(len(times)), histories.items >= n_items, times, owners))
    return replace(
        histories,
        items=histories.items[order],
        events=histories.events[order],
        weights=histories.weights[order],
        timestamps=times[order],
    )


@dataclass(frozen=True, slots=True)
class Padded:
    """B sequences of equal length L, padded at the end.

    Attributes:
        items: int64, shape (B, L); catalogue rows, -1 at pads.
        events: int64, shape (B, L); event type codes, 0 at pads.
        weights: float32, shape (B, L); signed confidences, 0 at pads.
        gaps: int64, shape (B, L); see :func:`gap_buckets`.
        times: int64, shape (B, L); milliseconds, 0 at pads.
        lengths: int64, shape (B,).
    """

    items: Int64Array
    events: Int64Array
    weights: NDArray[np.float32]
    gaps: Int64Array
    times: Int64Array
    lengths: Int64Array

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True at real events, bool, shape (B, L)."""
        steps: NDArray[np.bool_] = np.arange(self.items.shape[1]) < self.lengths[:, None]
        return steps

    def select(self, chosen: Int64Array | slice) -> Padded:
        """Some of the sequences, cut to the longest where they are given by number."""
        longest = slice(None)
        if not isinstance(chosen, slice):
            longest = slice(max(int(self.lengths[chosen].max(initial=0)), 1))
        return Padded(
            self.items[chosen, longest],
            self.events[chosen, longest],
            self.weights[chosen, longest],
            self.gaps[chosen, longest],
            self.times[chosen, longest],
            self.lengths[chosen],
        )

    def newest_places(self, most: int) -> Int64Array:
        """Places of the newest events of each sequence, oldest first, and then of pads.

        Args:
            most: Events.

        Returns:
            int64, shape (B, min(L, most)).
        """
        first = np.maximum(self.lengths - most, 0)
        return first[:, None] + np.arange(min(self.items.shape[1], most))

    def newest(self, most: int) -> Padded:
        """The newest events of each sequence, ``most`` of them at most."""
        at = (np.arange(len(self.items))[:, None], self.newest_places(most))
        return Padded(
            self.items[at],
            self.events[at],
            self.weights[at],
            self.gaps[at],
            self.times[at],
            np.minimum(self.lengths, most),
        )


@dataclass(frozen=True, slots=True)
class Events:
    """Flat events of many users with their gaps; windows are index ranges into it.

    Attributes:
        items: int64, shape (N,).
        events: int64, shape (N,).
        weights: float32, shape (N,).
        gaps: int64, shape (N,).
        times: int64, shape (N,); milliseconds.
    """

    items: Int64Array
    events: Int64Array
    weights: NDArray[np.float32]
    gaps: Int64Array
    times: Int64Array

    @classmethod
    def of(cls, histories: Histories) -> Events:
        """Widen the arrays once, compute gaps once."""
        return cls(
            histories.items.astype(np.int64),
            histories.events.astype(np.int64),
            histories.weights.astype(np.float32, copy=False),
            gap_buckets(histories),
            histories.timestamps,
        )

    def pad(self, starts: Int64Array, lengths: Int64Array) -> Padded:
        """Cut ranges out and pad them to the longest.

        Args:
            starts: int64, shape (B,); first event of each range.
            lengths: int64, shape (B,); may be 0.
        """
        longest = max(int(lengths.max(initial=0)), 1)
        steps = np.arange(longest)
        inside = steps < lengths[:, None]
        if len(self.items) == 0:
            blank = np.zeros(inside.shape, dtype=np.int64)
            return Padded(blank - 1, blank, blank.astype(np.float32), blank, blank, lengths)
        index = np.where(inside, starts[:, None] + steps, 0)
        return Padded(
            np.where(inside, self.items[index], -1),
            np.where(inside, self.events[index], 0),
            np.where(inside, self.weights[index], np.float32(0)),
            np.where(inside, self.gaps[index], 0),
            np.where(inside, self.times[index], 0),
            lengths,
        )


def last_events(histories: Histories, window: int) -> Padded:
    """The last ``window`` events of each user, padded at the end."""
    lengths = np.minimum(histories.lengths, window)
    return Events.of(histories).pad(histories.offsets[1:] - lengths, lengths)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to learn from in one step.

    Attributes:
        inputs: The windows, shape (B, L).
        targets: int64, shape (B, L); the event after each position.
        learn: bool, shape (B, L); positions whose next event is a target of this window.
    """

    inputs: Padded
    targets: Int64Array
    learn: NDArray[np.bool_]

    def part(self, number: int, parts: int) -> Batch:
        """Every ``parts``-th window from the ``number``-th on."""
        if parts == 1:
            return self
        chosen = slice(number, None, parts)
        return Batch(self.inputs.select(chosen), self.targets[chosen], self.learn[chosen])


class TrainingWindows:
    """All windows of a set of histories.

    Args:
        histories: Events of each user, oldest first.
        window: Longest window, in events.
        n_items: Items of the catalogue; rows behind them are texts, which are read and never predicted.
    """

    def __init__(self, histories: Histories, window: int, n_items: int) -> None:
        self._histories = histories
        self._n_items = n_items
        self._events = Events.of(histories)
        steps = np.maximum(histories.lengths - 1, 0)  # every event but the last is an input
        stride = max(window - window // 2, 1)
        counts = np.where(steps > 0, 1 + -(-np.maximum(steps - window, 0) // stride), 0)
        owners = np.repeat(np.arange(len(histories)), counts)
        number = places_within(counts)
        inputs = steps[owners]
        begin = np.minimum(number * stride, np.maximum(inputs - window, 0))
        covered = np.where(number > 0, (number - 1) * stride + window, 0)
        self._starts = histories.offsets[:-1][owners] + begin
        self._lengths = np.minimum(inputs, window)
        self._learn_from = np.maximum(covered - begin, 0)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def n_targets(self) -> int:
        """Positions that are learnt from in one epoch."""
        total = 0
        for batch in self._batches(np.arange(len(self)), 1 << 16):
            total += int(batch.learn.sum())
        return total

    def n_batches(self, budget: int) -> int:
        """Batches of one epoch."""
        return len(length_groups(np.argsort(self._lengths, kind="stable"), self._lengths, budget))

    def epoch(self, random: np.random.Generator, budget: int) -> Iterator[Batch]:
        """All windows once, in random order, in batches of about ``budget`` padded events.

        Windows of similar length share a batch, so that little is spent on padding. Events at the
        same time are in a new order each epoch (:func:`shuffle_ties`).
        """
        self._events = Events.of(shuffle_ties(self._histories, random, self._n_items))
        noise = random.random(len(self))
        order = np.lexsort((noise, self._lengths))
        return self._batches(order, budget, random)

    def _batches(
        self, order: Int64Array, budget: int, random: np.random.Generator | None = None
    ) -> Iterator[Batch]:
        groups = length_groups(order, self._lengths, budget)
        if random is not None:
            groups = [groups[index] for index in random.permutation(len(groups))]
        for group in groups:
            yield self._batch(group)

    def _batch(self, windows: Int64Array) -> Batch:
        starts, lengths = self._starts[windows], self._lengths[windows]
        inputs = self._events.pad(starts, lengths)
        following = self._events.pad(starts + 1, lengths)
        steps = np.arange(inputs.items.shape[1])
        learn = (steps >= self._learn_from[windows][:, None]) & (following.weights > 0)
        return Batch(inputs, following.items, learn & (following.items < self._n_items))
