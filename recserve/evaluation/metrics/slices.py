"""Slices: the same lists measured on some users, some queries or some items only.

A slice of queries (by what the user did before) keeps whole queries. A slice of items (by what training
knew of them) keeps the answers that belong to it, and asks whether the lists hold those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from recserve.data.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from recserve.data.batches import Ragged
from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.metrics import accuracy as metrics
from recserve.evaluation.splits import Split

SLICED = ("ndcg", "hr", "recall")
"""Metrics of each slice."""

COLD = 5
"""A user or an item with fewer events is cold."""

HEAD = 0.5
"""The most popular items that hold this share of the training events are the head, the others the tail."""

_LENGTHS = (0, 1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Slice:
    """One part of the queries or of the answers.

    Attributes:
        group: What is told apart: ``users``, ``history``, ``items`` or ``popularity``.
        name: Such as ``cold users``.
        queries: bool, shape (Q,); what it keeps, for a slice of queries.
        items: bool, shape (n_items + those outside the catalogue,); what it keeps, for a slice of items.
    """

    group: str
    name: str
    queries: BoolArray | None = field(default=None, repr=False)
    items: BoolArray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SliceFigures:
    """Figures of one model on one slice.

    Attributes:
        group: See :class:`Slice`.
        name: See :class:`Slice`.
        users: Users who have something in it.
        queries: Queries that have something in it.
        metrics: Interval over those users, by name such as ``ndcg@10``.
        per_user: float64, shape (all users of the split,), by metric; NaN for users without a part in it.
    """

    group: str
    name: str
    users: int
    queries: int
    metrics: dict[str, Interval]
    per_user: dict[str, Float64Array] = field(repr=False)


def slices_of(split: Split) -> list[Slice]:
    """The slices of a split that hold anything.

    Users are told apart by the events before the query (all of them, not only those a model sees), items by
    their positive training events.
    """
    events = split.ends - split.starts
    # Answers outside the catalogue are new items, too.
    outside = max(int(split.relevant.values.max(initial=0)) + 1 - split.n_items, 0)
    counts = np.pad(split.training.item_counts, (0, outside))
    found = [
        Slice("users", f"cold users (< {COLD} events)", queries=events < COLD),
        Slice("users", f"warm users ({COLD}+ events)", queries=events >= COLD),
    ]
    for low, high in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        inside = (events >= low) if high is None else (events >= low) & (events < high)
        found.append(Slice("history", _range(low, high), queries=inside))
    head = _head(counts)
    found += [
        Slice("items", "new items (no training event)", items=counts == 0),
        Slice("items", f"cold items (< {COLD} training events)", items=counts < COLD),
        Slice("items", f"warm items ({COLD}+ training events)", items=counts >= COLD),
        Slice("popularity", f"head ({int(head.sum()):,} items, half of the events)", items=head),
        Slice("popularity", f"tail ({split.n_items - int(head.sum()):,} items)", items=~head),
    ]
    answered = split.relevant.values
    return [
        part
        for part in found
        if (part.queries is not None and part.queries.any())
        or (part.items is not None and part.items[answered].any())
    ]


def measure_slices(
    split: Split, ranked: Int32Array, ks: Sequence[int], *, batch: int, seed: int
) -> tuple[SliceFigures, ...]:
    """Measure finished lists on every slice of their split.

    Args:
        split: The split.
        ranked: int32, shape (Q, K), all lists in order of the queries.
        ks: Cut-offs.
        batch: Queries looked at together.
        seed: Seed of the bootstrap.
    """
    figures = []
    for part in slices_of(split):
        columns: dict[str, Float64Array] = {}
        present = np.zeros(len(split), dtype=np.bool_)
        for chosen, answers in _answers(split, part, batch):
            present[chosen] = np.diff(answers.offsets) > 0
            for name, values in metrics.accuracy(ranked[chosen], answers, ks).items():
                if name.split("@")[0] in SLICED:
                    columns.setdefault(name, np.full(len(split), np.nan))[chosen] = values
        per_user = {
            name: group_mean(np.where(present, values, np.nan), split.groups, split.n_users)
            for name, values in columns.items()
        }
        # Only the users of the slice are resampled: the interval is of their mean.
        inside = ~np.isnan(next(iter(per_user.values())))
        intervals = mean_intervals(
            np.column_stack([column[inside] for column in per_user.values()]), seed=seed
        )
        figures.append(
            SliceFigures(
                part.group,
                part.name,
                int(inside.sum()),
                int(present.sum()),
                dict(zip(per_user, intervals, strict=True)),
                per_user,
            )
        )
    return tuple(figures)


def group_mean(values: Float64Array, groups: Int64Array, n_groups: int) -> Float64Array:
    """Mean of each group over its values that exist; NaN for a group without any."""
    valid = ~np.isnan(values)
    counts = np.bincount(groups[valid], minlength=n_groups)
    sums = np.bincount(groups[valid], weights=values[valid], minlength=n_groups)
    means = np.full(n_groups, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def restricted(answers: Ragged, keep: BoolArray) -> Ragged:
    """Only the marked answers; ``keep`` is bool, one for each of ``answers.values``."""
    owners = np.repeat(np.arange(len(answers), dtype=np.int64), np.diff(answers.offsets))
    offsets = np.zeros(len(answers) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners[keep], minlength=len(answers)), out=offsets[1:])
    return Ragged(offsets, answers.values[keep])


def _answers(split: Split, wanted: Slice, batch: int) -> Iterator[tuple[slice, Ragged]]:
    """The answers that belong to a slice, batch by batch."""
    for start in range(0, len(split), batch):
        chosen = slice(start, min(start + batch, len(split)))
        answers = split.answers(chosen)
        if wanted.items is not None:
            keep = wanted.items[answers.values]
        else:
            assert wanted.queries is not None
            keep = np.repeat(wanted.queries[chosen], np.diff(answers.offsets))
        yield chosen, restricted(answers, keep)


def _head(counts: Int64Array) -> BoolArray:
    """The fewest most popular items that together hold half of the events."""
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    head = np.zeros(len(counts), dtype=np.bool_)
    head[order[before < HEAD * counts.sum()]] = True
    return head


def _range(low: int, high: int | None) -> str:
    if high is None:
        return f"{low}+ events"
    if high == low + 1:
        return "no events" if low == 0 else f"{low} events"
    return f"{low}-{high - 1} events"
