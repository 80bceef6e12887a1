"""Report of outcomes: how often what was shown was clicked and bought, by what showed it, with intervals.

Intervals are of 95% and go by people, not by impressions: see :mod:`recserve.outcomes.daily.counter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import Config
from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.entities import now_ms
from recserve.outcomes.daily import DayCounts, Rollup
from recserve.outcomes.daily.counter import (
    BUCKETS,
    COMPARISONS,
    ITEM,
    MEASURES,
    SEGMENT,
    items_of,
    places_of,
)
from recserve.outcomes.daily.rollup import Progress
from recserve.outcomes.daily.sums import Labels, Sums
from recserve.outcomes.position import PLACES, examination
from recserve.outcomes.reports.figures import Figures, GroupFigures
from recserve.outcomes.reports.question import ARM, DAY, Question, date_of
from recserve.store import Store
from recserve.store.lake import LakeFolder


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what is served is, as of the report.

    Attributes:
        at: When that was, milliseconds since the epoch.
        bundle: The current bundle; None before the first.
        bundle_created: When it was recorded.
        newest_event: When the newest event happened.
        newest_answer: When the newest answer that is in the store was made.
    """

    at: int
    bundle: str | None
    bundle_created: int | None
    newest_event: int | None
    newest_answer: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Outcomes of a span of days.

    Attributes:
        question: What was asked.
        total: Of all groups together.
        rows: By group: those shown most first; days in their order.
        groups: How many groups there are.
        examination: How likely each place of a page is to be looked at, relative to the first.
        catalogue: Items of the catalogue, which coverage is of.
        days: Days that anything was shown on.
        other_settings: Of these, how many were counted by earlier settings and cannot be counted anew.
        freshness: How old what is served is.
    """

    question: Question
    total: Figures
    rows: Sequence[Figures]
    groups: int
    examination: Sequence[float]
    catalogue: int
    days: int
    other_settings: int
    freshness: Freshness


def report(
    store: Store,
    config: Config,
    question: Question,
    lake: LakeFolder | None = None,
    now: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Answer a question about outcomes.

    Args:
        store: The store.
        config: Its configuration.
        question: See :func:`recserve.outcomes.reports.question.question_of`.
        lake: The store's lake.
        now: The present, milliseconds since the epoch; None for the clock's.
        progress: Called while days are counted, see :meth:`recserve.outcomes.daily.Rollup.daily`.

    Raises:
        DataError: The lake cannot be read.
        StoreError: The database failed.
    """
    at = now_ms() if now is None else now
    view = question.view
    summed = _Summed(question)
    names = (view, places_of(view), COMPARISONS, *([] if view == ITEM else [items_of(view)]))
    for counts in Rollup(store, config, lake, at).daily(question.first, question.last, names, progress):
        summed.add(counts)
    return summed.report(store.catalogue_size(), _freshness(store, at))


def _freshness(store: Store, at: int) -> Freshness:
    current, span = store.current_bundle(), store.exposure_span()
    created = {record.bundle_id: record.created_ms for record in store.bundles()}
    return Freshness(
        at,
        current,
        None if current is None else created.get(current),
        store.newest_event(),
        None if span is None else span[1],
    )


class _Summed:
    """Counts of all days of a question, by group.

    Args:
        question: The question.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._groups: Labels[str | None] = Labels()
        self._items: Labels[str | None] = Labels()
        self._sums, self._places, self._shown = Sums(), Sums(), Sums()
        self._weights = np.zeros((PLACES, PLACES))
        self._days = self._others = 0

    def add(self, counts: DayCounts) -> None:
        """Add a day."""
        view = self._question.view
        compared = counts.tables.get(COMPARISONS)
        if compared is not None:
            np.add.at(
                self._weights,
                (compared["first"].to_numpy(), compared["second"].to_numpy()),
                compared["weight"].to_numpy(),
            )
        if view not in counts.tables:  # nothing was shown, or the segment was not counted then
            return
        self._days += 1
        self._others += not counts.same
        rows, groups = self._grouped(counts, view)
        values = np.stack([rows[measure].to_numpy() for measure in MEASURES], axis=1, dtype=np.float64)
        self._sums.add(groups * BUCKETS + rows["bucket"].to_numpy(), values)
        rows, groups = self._grouped(counts, places_of(view))
        shown = rows["impressions"].to_numpy()[:, None].astype(np.float64)
        self._places.add(groups * PLACES + rows["place"].to_numpy(), shown)
        if view != ITEM:
            rows, groups = self._grouped(counts, items_of(view))
            items = _numbered(self._items, rows["item_id"])
            self._shown.add(groups << 32 | items, np.ones((len(items), 1)))

    def _grouped(self, counts: DayCounts, name: str) -> tuple[pa.Table, Int64Array]:
        """Rows of a table that are asked for, and the number of the group of each."""
        rows, question = counts.tables[name], self._question
        for column, wanted in (
            ("scenario", question.scenario),
            ("experiment", question.experiment),
            ("item_id", question.item),
        ):
            if wanted is not None:
                rows = rows.filter(pc.fill_null(pc.equal(rows[column].cast(pa.string()), wanted), False))
        if question.by in (None, DAY):
            label = None if question.by is None else date_of(counts.day)
            return rows, np.repeat(self._groups.numbers([label]), len(rows))
        column = rows[_column(question.by)]
        if question.by == ARM:
            experiment = rows["experiment"].cast(pa.string())
            column = pc.coalesce(
                pc.binary_join_element_wise(experiment, column.cast(pa.string()), "/"), experiment
            )
        return rows, _numbered(self._groups, column)

    def report(self, catalogue: int, freshness: Freshness) -> Report:
        """The report of what was added."""
        examined = examination(self._weights)
        keys, sums = self._sums.merged(len(MEASURES))
        labels = self._groups.labels()
        seen = self._seen(examined, len(labels))
        items = self._item_counts(len(labels))
        of_groups = GroupFigures(keys // BUCKETS, sums, len(labels), seen)
        of_all = GroupFigures(*_over_groups(keys % BUCKETS, sums), 1, np.array([seen.sum()]))
        by_day, covered = self._question.by == DAY, None if self._question.view == ITEM else catalogue
        every = of_groups.most_shown.tolist() if self._question.by is not None else []
        chosen = (
            sorted(every, key=lambda group: str(labels[group])) if by_day else every[: self._question.rows]
        )
        return Report(
            self._question,
            of_all.figures(
                0, None, self._different(of_groups), None if self._question.item is not None else catalogue
            ),
            [of_groups.figures(group, labels[group], int(items[group]), covered) for group in chosen],
            len(every),
            [round(float(share), 4) for share in examined],
            catalogue,
            self._days,
            self._others,
            freshness,
        )

    def _seen(self, examined: Float64Array, groups: int) -> Float64Array:
        """Impressions of each group, weighted by how likely their places are to be looked at."""
        keys, sums = self._places.merged(1)
        return np.bincount(keys // PLACES, sums[:, 0] * examined[keys % PLACES], groups).astype(np.float64)

    def _item_counts(self, groups: int) -> Int64Array:
        """Different items that each group showed."""
        if self._question.view == ITEM:
            return np.ones(groups, np.int64)
        keys, _ = self._shown.merged(1)
        return np.bincount(keys >> 32, minlength=groups)

    def _different(self, groups: GroupFigures) -> int:
        """Different items that were shown at all."""
        if self._question.item is not None:
            return min(1, len(groups.most_shown))
        if self._question.by == ITEM:
            return len(groups.most_shown)
        keys, _ = self._shown.merged(1)
        return len(np.unique(keys & 0xFFFFFFFF))


def _over_groups(buckets: Int64Array, sums: Float64Array) -> tuple[Int64Array, Float64Array]:
    """Sums of all groups together, a row a bucket, as those of one group."""
    people, ranks = np.unique(buckets, return_inverse=True)
    columns = [np.bincount(ranks, sums[:, column], len(people)) for column in range(len(MEASURES))]
    return np.zeros(len(people), np.int64), np.stack(columns, axis=1)


def _column(by: str) -> str:
    return {ITEM: "item_id"}.get(by, "segment" if by.startswith(SEGMENT) else by)


def _numbered(labels: Labels[str | None], column: pa.ChunkedArray) -> Int64Array:
    """The number of each row's label."""
    found = column.combine_chunks()
    found = found if pa.types.is_dictionary(found.type) else found.dictionary_encode()
    codes = found.indices.fill_null(len(found.dictionary)).to_numpy()
    names = found.dictionary.to_pylist()
    return np.asarray(labels.numbers([*names, None] if found.null_count else names)[codes], np.int64)
