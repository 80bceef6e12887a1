"""Counts of a day: what reports are made of, without anything that names a person.

People are in one of :data:`BUCKETS` buckets by the hash of their id, the same on every day. Counts of buckets
add up over days, and the spread between buckets tells how much a figure would vary with other people, whose
impressions are not independent of one another.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recserve.data.arrays import Float64Array, Int32Array, Int64Array
from recserve.outcomes.daily.sums import Labels, Sums, Texts, distinct
from recserve.outcomes.join import Impressions
from recserve.outcomes.position import PLACES, comparisons

BUCKETS = 64
MEASURES = ("impressions", "clicks", "conversions", "value", "degraded")
COMPARISONS = "comparisons"
SERVED = "served"
ITEM = "item"
SEGMENT = "segment:"
VIEWS: Mapping[str, tuple[str, ...]] = {
    SERVED: ("scenario", "bundle", "experiment", "arm", "source"),
    ITEM: ("item_id",),
}
"""Columns that a view is counted by; that of a segment is called ``segment``."""

Label = tuple[str | None, ...]


def columns_of(view: str) -> tuple[str, ...]:
    """Columns that a view is counted by."""
    return ("segment",) if view.startswith(SEGMENT) else VIEWS[view]


def places_of(view: str) -> str:
    """Name of the table of a view's impressions by place."""
    return f"{view}/places"


def items_of(view: str) -> str:
    """Name of the table of the items that a view's groups showed."""
    return f"{view}/items"


@dataclass(frozen=True, slots=True)
class Segment:
    """Values of one user attribute.

    Attributes:
        hashes: int64, shape (U,), ascending: hashes of the users that have it.
        values: Dictionary, shape (U,).
    """

    hashes: Int64Array
    values: pa.DictionaryArray

    @classmethod
    def of(cls, table: pa.Table) -> Segment:
        """The segment of :meth:`recserve.store.outcomes.OutcomeStore.user_attribute`."""
        ordered = table.sort_by("user_hash")
        return cls(ordered["user_hash"].to_numpy(), ordered["value"].combine_chunks().dictionary_encode())

    def codes(self, users: pa.ChunkedArray) -> Int64Array:
        """Codes of the values of users, given by their hashes; -1 for those without one."""
        hashes = pc.fill_null(users, 0).to_numpy()
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        found = (self.hashes[at] == hashes) & pc.is_valid(users).to_numpy(zero_copy_only=False)
        return np.where(found, self.values.indices.to_numpy()[at], -1).astype(np.int64)


@dataclass
class _View:
    """Counts of one view."""

    labels: Labels[Label] = field(default_factory=Labels)
    sums: Sums = field(default_factory=Sums)
    places: Sums = field(default_factory=Sums)
    items: Sums = field(default_factory=Sums)


@dataclass(frozen=True)
class _Chunk:
    """Impressions that were shown to somebody, as codes.

    Attributes:
        item: Of the chunk's items.
        item_names: The items.
        numbers: Number of each of the items in the day's labels.
        bucket: Of the user.
        place: On the page.
        measures: Which impressions have each measure but the first, and how much of it.
    """

    item: Int64Array
    item_names: pa.Array
    numbers: Int64Array
    bucket: Int64Array
    place: Int64Array
    measures: Sequence[tuple[Int64Array, Float64Array | None]]

    def sums(self, ranks: Int64Array, count: int) -> Float64Array:
        """Sums of all measures, shape (count, measures)."""
        columns = [np.bincount(ranks, minlength=count).astype(np.float64)]
        for rows, amounts in self.measures:
            columns.append(np.bincount(ranks[rows], amounts, count).astype(np.float64))
        return np.stack(columns, axis=1)


class DayCounter:
    """Counts of one day, made of impressions chunk by chunk.

    Args:
        segments: User attributes to count by.
        views: Views to count beside those of the segments.
    """

    def __init__(self, segments: Mapping[str, Segment], views: Collection[str] = tuple(VIEWS)) -> None:
        self._segments = segments
        self._views = {view: _View() for view in (*views, *(SEGMENT + name for name in segments))}
        self._items = Texts()
        self._scenarios: Labels[Label] = Labels()
        self._strata = Sums()

    def add(self, impressions: Impressions) -> None:
        """Count impressions; what shadow arms would have shown is left out."""
        shadow = pc.fill_null(impressions.exposures["shadow"], False).to_numpy(zero_copy_only=False)
        rows = impressions.shown.rows.astype(np.int64)
        kept = np.flatnonzero(~shadow[rows]) if shadow.any() else np.arange(len(rows))
        if not len(kept):
            return
        rows = rows[kept]
        chunk = self._chunk(impressions, kept, rows)
        exposures = impressions.exposures
        if SERVED in self._views:
            groups, labels = _served(impressions, kept, rows)
            self._count(SERVED, chunk, groups, self._views[SERVED].labels.numbers(labels))
        if ITEM in self._views:
            self._count(ITEM, chunk, chunk.item, chunk.numbers)
        for name, segment in self._segments.items():
            codes = segment.codes(exposures["user_hash"])[rows] + 1
            numbers = self._views[SEGMENT + name].labels.numbers(
                [(None,), *_texts(segment.values.dictionary)]
            )
            self._count(SEGMENT + name, chunk, codes, numbers)
        self._compare(exposures, rows, chunk)

    def _chunk(self, impressions: Impressions, kept: Int64Array, rows: Int64Array) -> _Chunk:
        exposures, shown = impressions.exposures, impressions.shown
        dictionary = shown.items.dictionary
        bought = np.flatnonzero(impressions.converted[kept])
        degraded = pc.is_valid(exposures["degraded"]).to_numpy(zero_copy_only=False)
        return _Chunk(
            item=shown.items.indices.to_numpy()[kept].astype(np.int64),
            item_names=dictionary,
            numbers=self._items.numbers(dictionary),
            bucket=_buckets(exposures)[rows],
            place=np.minimum(shown.positions[kept], PLACES - 1).astype(np.int64),
            measures=[
                (np.flatnonzero(impressions.clicked[kept]), None),
                (bought, None),
                (bought, impressions.value[kept][bought]),
                (np.flatnonzero(degraded[rows]) if degraded.any() else np.empty(0, np.int64), None),
            ],
        )

    def _count(self, view: str, chunk: _Chunk, groups: Int64Array, numbers: Int64Array) -> None:
        """Count impressions by groups, which are places in ``numbers``, their numbers of the whole day."""
        counted = self._views[view]

        def ranked(minor: Int64Array, width: int) -> tuple[Int64Array, Int64Array, Int64Array]:
            """Numbers and minors of distinct pairs of group and minor, and the rank of each impression's."""
            keys, ranks = distinct(groups * width + minor, len(numbers) * width)
            return numbers[keys // width], keys % width, ranks

        major, minor, ranks = ranked(chunk.bucket, BUCKETS)
        counted.sums.add(major * BUCKETS + minor, chunk.sums(ranks, len(major)))
        major, minor, ranks = ranked(chunk.place, PLACES)
        counted.places.add(major * PLACES + minor, _counts(ranks, len(major)))
        if view != ITEM:
            major, minor, ranks = ranked(chunk.item, len(chunk.item_names))
            counted.items.add(major << 32 | chunk.numbers[minor], _counts(ranks, len(major)))

    def _compare(self, exposures: pa.Table, rows: Int64Array, chunk: _Chunk) -> None:
        """Count by scenario, item and place, which is what places are compared by."""
        scenarios = exposures["scenario"].combine_chunks().dictionary_encode()
        numbers = self._scenarios.numbers(_texts(scenarios.dictionary))
        codes = scenarios.indices.to_numpy()[rows].astype(np.int64)
        width = len(chunk.item_names)
        keys, ranks = distinct(
            (codes * width + chunk.item) * PLACES + chunk.place, len(numbers) * width * PLACES
        )
        strata, places = keys // PLACES, keys % PLACES
        named = numbers[strata // width] << 40 | chunk.numbers[strata % width] << 8 | places
        self._strata.add(named, chunk.sums(ranks, len(keys))[:, :2])

    def tables(self) -> dict[str, pa.Table]:
        """All tables of the day, by name; comparisons alone if nothing was shown."""
        found: dict[str, pa.Table] = {COMPARISONS: self._comparisons()}
        for view, counted in self._views.items():
            keys, sums = counted.sums.merged(len(MEASURES))
            if not len(keys):
                continue
            found[view] = pa.table(
                {
                    **self._labels(view, keys // BUCKETS),
                    "bucket": (keys % BUCKETS).astype(np.int16),
                    **{measure: _small(sums[:, column]) for column, measure in enumerate(MEASURES)},
                }
            )
            keys, sums = counted.places.merged(1)
            found[places_of(view)] = pa.table(
                {
                    **self._labels(view, keys // PLACES),
                    "place": (keys % PLACES).astype(np.int16),
                    "impressions": _small(sums[:, 0]),
                }
            )
            if view != ITEM:
                keys, _ = counted.items.merged(1)
                items = self._labels(ITEM, keys & 0xFFFFFFFF)
                found[items_of(view)] = pa.table({**self._labels(view, keys >> 32), **items})
        return found

    def _labels(self, view: str, numbers: Int64Array) -> dict[str, pa.Array]:
        """Labels of a view by their numbers, as dictionary columns."""
        if view == ITEM:
            codes = pa.array(numbers.astype(np.int32))
            return {"item_id": pa.DictionaryArray.from_arrays(codes, self._items.labels)}
        labels = self._views[view].labels.labels()
        codes = pa.array(numbers)
        return {
            name: pa.array(values, pa.string()).dictionary_encode().take(codes)
            for name, values in zip(columns_of(view), zip(*labels, strict=True), strict=True)
        }

    def _comparisons(self) -> pa.Table:
        keys, sums = self._strata.merged(2)
        weights = comparisons(keys >> 8, keys & 0xFF, sums[:, 0], sums[:, 1])
        first, second = np.nonzero(weights)
        return pa.table({"first": first, "second": second, "weight": weights[first, second]})


def written_counts(tables: Mapping[str, pa.Table]) -> dict[str, bytes]:
    """The tables of :meth:`DayCounter.tables` as Parquet."""
    return {name: _parquet(table) for name, table in tables.items()}


def read_counts(content: bytes) -> pa.Table:
    """A table of :func:`written_counts`."""
    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def _small(sums: Float64Array) -> Float64Array | Int32Array:
    """Whole numbers as such, which take less time and space."""
    with np.errstate(invalid="ignore"):  # numbers too large for it are not equal afterwards
        whole = sums.astype(np.int32)
    return whole if (whole == sums).all() else sums


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Nobody looks for some of the rows, and a higher level saves hardly a twentieth for twice the work.
    pq.write_table(table, sink, compression="zstd", compression_level=1, write_statistics=False)
    return bytes(sink.getvalue())


def _counts(ranks: Int64Array, count: int) -> Float64Array:
    """How often each rank is there, shape (count, 1)."""
    return np.bincount(ranks, minlength=count)[:, None].astype(np.float64)


def _texts(column: pa.Array) -> list[Label]:
    return [(text,) for text in column.to_pylist()]


def _buckets(exposures: pa.Table) -> Int64Array:
    """The bucket of each answer's user; an anonymous session is a person of its own."""
    users = exposures["user_hash"]
    buckets = pc.fill_null(users, 0).to_numpy() & (BUCKETS - 1)
    unknown = np.flatnonzero(pc.is_null(users).to_numpy(zero_copy_only=False))
    if len(unknown):
        buckets = buckets.copy()
        ids = exposures["recommendation_id"].take(pa.array(unknown)).to_pylist()
        buckets[unknown] = [zlib.crc32(answer.encode()) % BUCKETS for answer in ids]
    return np.asarray(buckets, np.int64)


def _served(impressions: Impressions, kept: Int64Array, rows: Int64Array) -> tuple[Int64Array, list[Label]]:
    """Group of each impression by the columns of :data:`SERVED`, and the groups."""
    exposures, shown = impressions.exposures, impressions.shown
    columns = [exposures[name].combine_chunks().dictionary_encode() for name in VIEWS[SERVED][:-1]]
    codes = np.zeros(len(exposures), np.int64)
    for column in columns:
        codes = codes * (len(column.dictionary) + 1) + _codes(column) + 1
    answers, answer_of = np.unique(codes, return_inverse=True)
    first = np.zeros(len(answers), np.int64)
    first[answer_of] = np.arange(len(codes))
    texts = [column.take(pa.array(first)).to_pylist() for column in columns]
    arms = shown.arms.take(pa.array(kept)).dictionary_encode()
    sources, teams = len(shown.sources.dictionary) + 1, len(arms.dictionary) + 1
    keys = (answer_of[rows] * sources + _codes(shown.sources)[kept] + 1) * teams + _codes(arms) + 1
    groups, ranks = distinct(keys, len(answers) * sources * teams)
    names = [None, *shown.sources.dictionary.to_pylist()], [None, *arms.dictionary.to_pylist()]
    labels: list[Label] = []
    for key in groups.tolist():
        rest, team = divmod(key, teams)
        answer, source = divmod(rest, sources)
        scenario, bundle, experiment, arm = (column[answer] for column in texts)
        # Each item of an interleaved page is of an arm of its own.
        labels.append((scenario, bundle, experiment, names[1][team] or arm, names[0][source]))
    return ranks, labels


def _codes(column: pa.DictionaryArray) -> Int64Array:
    """Codes of a dictionary column, -1 for nulls."""
    return np.asarray(pc.fill_null(column.indices, -1).to_numpy(), np.int64)
