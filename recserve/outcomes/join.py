"""Join of exposures with the events that followed: impressions, and what became of each.

An event that names a recommendation counts for the item in that answer and for no other. Any other event
counts for the last answer that showed its user the item within the window before it (last touch), so that
nothing is counted twice however often an item was shown. Answers of shadow arms were shown to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import Config
from recserve.data.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from recserve.outcomes.shown import ShownItems, shown_items
from recserve.outcomes.source import OutcomeSource, ahead
from recserve.store import Store
from recserve.store.lake import LakeFolder
from recserve.store.outcomes import EVENT_COLUMNS, EXPOSURE_COLUMNS

HOUR_MS = 3_600_000

CLOCK_SKEW_MS = HOUR_MS
"""An event that names its recommendation may seem to be older by so much: clocks of clients differ."""

_OF_ANSWER = (
    "recommendation_id",
    "user_hash",
    "scenario",
    "bundle",
    "experiment",
    "arm",
    "shadow",
    "timestamp",
)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SIEVE_BITS = 20
_Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """What counts as an outcome.

    Attributes:
        window_ms: How long after an answer an event counts.
        clicks: Event types that make an impression clicked.
        conversions: Event types that make it converted, and whose values are added up.
    """

    window_ms: int
    clicks: frozenset[str]
    conversions: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> Self:
        """The rules of a configuration."""
        chosen = config.outcomes
        window = round(chosen.window_hours * HOUR_MS)
        return cls(window, chosen.click_types(config.event_types), frozenset(chosen.conversions))

    @property
    def types(self) -> frozenset[str]:
        """Event types that matter at all."""
        return self.clicks | self.conversions


@dataclass(frozen=True, slots=True)
class Impressions:
    """Items that E answers showed, N in all, and what became of them.

    Attributes:
        exposures: The answers, see :meth:`recserve.store.outcomes.OutcomeStore.exposures_between`.
        shown: Their items.
        clicked: bool, shape (N,).
        converted: bool, shape (N,).
        value: float64, shape (N,): sum of the values of the conversions.
    """

    exposures: pa.Table
    shown: ShownItems
    clicked: BoolArray
    converted: BoolArray
    value: Float64Array

    def __len__(self) -> int:
        """Number of impressions."""
        return len(self.clicked)

    def table(self) -> pa.Table:
        """The impressions, a row each, with what is known of the answer that showed them."""
        rows = pa.array(self.shown.rows)
        columns = {name: self.exposures[name] for name in _OF_ANSWER}
        return pa.table(
            {
                **{name: _compact(column).take(rows) for name, column in columns.items()},
                "item_id": self.shown.items,
                "position": self.shown.positions,
                "source": self.shown.sources,
                "item_arm": self.shown.arms,
                "propensity": pa.array(self.shown.propensities, from_pandas=True),
                "clicked": self.clicked,
                "converted": self.converted,
                "value": self.value,
            }
        )


def _compact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def impressions(
    store: Store,
    config: Config,
    first: int,
    last: int,
    *,
    lake: LakeFolder | None = None,
    experiment: str | None = None,
    shadow: bool = False,
) -> pa.Table:
    """All impressions of a span of time and what became of them, newest answers first.

    Args:
        store: The store.
        config: Its configuration.
        first: Milliseconds since the epoch.
        last: The end, not included.
        lake: The store's lake, to which exposures and events may have expired.
        experiment: Only those of an experiment.
        shadow: Also what shadow arms would have shown; nothing ever becomes of it.

    Returns:
        ``recommendation_id``, ``user_hash`` (null for anonymous sessions), ``scenario``, ``bundle``,
        ``experiment``, ``arm``, ``shadow``, ``timestamp``, ``item_id``, ``position`` (0 is first),
        ``source``, ``item_arm``, ``propensity``, ``clicked``, ``converted``, ``value``; texts are
        dictionaries.
    """
    chunks = impression_chunks(store, config, first, last, lake=lake, experiment=experiment, shadow=shadow)
    none = EXPOSURE_COLUMNS.empty_table(), EVENT_COLUMNS.empty_table()
    nothing, _ = join(*none, OutcomeRules.of(config), np.empty(0, np.int64))
    return pa.concat_tables([*chunks, nothing.table()]).unify_dictionaries()


def impression_chunks(
    store: Store,
    config: Config,
    first: int,
    last: int,
    *,
    lake: LakeFolder | None = None,
    experiment: str | None = None,
    shadow: bool = False,
) -> Iterator[pa.Table]:
    """The same a chunk at a time, for what adds up more than memory holds; an answer is in one chunk."""
    rules = OutcomeRules.of(config)
    source = OutcomeSource(store, rules.types, lake)
    # What is shown after the span may have been what an event followed.
    for begin, found in joined(source, rules, store.merged_hashes(), first, last + rules.window_ms):
        if begin >= last:
            continue
        table = found.table()
        wanted = pc.and_(pc.greater_equal(table["timestamp"], first), pc.less(table["timestamp"], last))
        if not shadow:
            wanted = pc.and_(wanted, pc.invert(table["shadow"]))
        if experiment is not None:
            wanted = pc.and_(wanted, pc.fill_null(pc.equal(table["experiment"], experiment), False))
        yield table.filter(wanted)


def joined(
    source: OutcomeSource, rules: OutcomeRules, merged: Int64Array, first: int, last: int
) -> Iterator[tuple[int, Impressions]]:
    """Impressions of a span of time, from the newest to the oldest, a chunk at a time.

    Going backwards, an event that two answers could have led to has met the later one first.

    Args:
        source: Exposures and events.
        rules: What counts.
        merged: Hashes of ids that were merged into others.
        first: Milliseconds since the epoch.
        last: The end, not included; answers after it take no events.

    Yields:
        The moment that a chunk begins at, and its impressions.
    """
    waiting = source.events(last, last + rules.window_ms + 1)
    parts = (
        (begin, exposures, source.events(begin - CLOCK_SKEW_MS, end, first - CLOCK_SKEW_MS))
        # Answers of the next part are read beside the events of this one.
        for begin, end, exposures in ahead(source.chunks(first, last))
    )
    for begin, exposures, read in ahead(parts):
        events = pa.concat_tables([read, waiting])
        found, used = join(exposures, events, rules, merged)
        yield begin, found
        moments = events["timestamp"].to_numpy()
        # Those of before come again with their own chunk.
        waiting = events.filter(pa.array(~used & (moments >= begin) & (moments <= begin + rules.window_ms)))


def join(
    exposures: pa.Table, events: pa.Table, rules: OutcomeRules, merged: Int64Array
) -> tuple[Impressions, BoolArray]:
    """Join answers of a span of time with events that may have followed them.

    Args:
        exposures: The answers.
        events: Events that no later answer has led to.
        rules: What counts.
        merged: Hashes of ids that were merged into others.

    Returns:
        The impressions, and bool, shape (events,): which events one of them led to.
    """
    shown = shown_items(exposures["items"])
    codes = shown.items.indices.to_numpy(zero_copy_only=False)
    wanted = _places(events["item_id"], shown.items.dictionary)
    answers = _places(events["recommendation_id"], exposures["recommendation_id"])
    named = pc.is_valid(events["recommendation_id"]).to_numpy(zero_copy_only=False)
    led = np.full(len(events), -1, np.int64)
    if len(codes) and len(events):
        asked = np.flatnonzero((answers >= 0) & (wanted >= 0))
        asked = asked[_may_follow(exposures, events, answers, asked, rules, merged)]
        led[asked] = _place_on_page(shown, codes, answers[asked], wanted[asked])
        free = np.flatnonzero(~named & (wanted >= 0))
        led[free] = _last_touch(exposures, shown, codes, events, free, wanted[free], rules.window_ms)
    return _with_outcomes(exposures, shown, events, led, rules), led >= 0


def _places(column: pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> Int32Array:
    """Where each entry of a column stands among distinct values, -1 for those that are not there."""
    distinct = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found = pc.fill_null(pc.index_in(column, value_set=distinct, skip_nulls=True), -1)
    return np.asarray(found.to_numpy(), np.int32)


def _may_follow(
    exposures: pa.Table,
    events: pa.Table,
    answers: Int32Array,
    asked: Int64Array,
    rules: OutcomeRules,
    merged: Int64Array,
) -> BoolArray:
    """Which events can have followed the answer that they name: in time, by its user, and it was shown."""
    rows = answers[asked]
    waited = events["timestamp"].to_numpy()[asked] - exposures["timestamp"].to_numpy()[rows]
    in_time = (waited >= -CLOCK_SKEW_MS) & (waited <= rules.window_ms)
    shadow = pc.fill_null(exposures["shadow"], False).to_numpy(zero_copy_only=False)[rows]
    users = exposures["user_hash"]
    anonymous = pc.is_null(users).to_numpy(zero_copy_only=False)[rows]
    to_whom = pc.fill_null(users, 0).to_numpy()[rows]
    by_whom = events["user_hash"].to_numpy()[asked]
    # Of an id that was merged some rows may have stayed, or have come later.
    same = (to_whom == by_whom) | anonymous | np.isin(by_whom, merged) | np.isin(to_whom, merged)
    return np.asarray(in_time & same & ~shadow, np.bool_)


def _place_on_page(
    shown: ShownItems, codes: Int32Array, answers: Int32Array, wanted: Int32Array
) -> Int64Array:
    """The impression of an item in an answer, -1 where the answer did not show it."""
    begin, count = shown.bounds[answers], np.diff(shown.bounds)[answers]
    found = np.full(len(answers), -1, np.int64)
    for place in range(int(count.max(initial=0)) - 1, -1, -1):
        there = np.flatnonzero(place < count)
        hit = there[codes[begin[there] + place] == wanted[there]]
        found[hit] = begin[hit] + place
    return found


def _last_touch(
    exposures: pa.Table,
    shown: ShownItems,
    codes: Int32Array,
    events: pa.Table,
    free: Int64Array,
    wanted: Int32Array,
    window_ms: int,
) -> Int64Array:
    """The last impression of the item to the user within the window before each event, -1 without any."""
    users = exposures["user_hash"]
    silent = pc.or_(pc.is_null(users), pc.fill_null(exposures["shadow"], False))
    lengths = np.diff(shown.bounds)
    keys = _pairs(np.repeat(pc.fill_null(users, 0).to_numpy(), lengths), codes)
    asked = _pairs(events["user_hash"].to_numpy()[free], wanted)
    # Few impressions are of a user and an item that anything was done with: the others are sieved out.
    sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
    shift = np.uint64(64 - _SIEVE_BITS)
    sieve[asked >> shift] = True
    near = np.flatnonzero(sieve[keys >> shift])
    rows = np.searchsorted(shown.bounds, near, "right") - 1
    heard = ~silent.to_numpy(zero_copy_only=False)[rows]
    near, rows = near[heard], rows[heard]
    moments = exposures["timestamp"].to_numpy()[rows]
    order = np.lexsort((moments, keys[near]))
    near, moments, ordered = near[order], moments[order], keys[near][order]
    found = np.full(len(free), -1, np.int64)
    if not len(near):
        return found
    happened = events["timestamp"].to_numpy()[free]
    # Both in one number: the rank of the pair, then the time since the first of all.
    pairs, ranks = np.unique(ordered, return_inverse=True)
    start = int(min(moments.min(), happened.min()))
    span = np.int64(max(moments.max(), happened.max()) - start + 1)
    known = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    last = np.searchsorted(ranks * span + (moments - start), known * span + (happened - start), "right") - 1
    at = np.maximum(last, 0)
    good = (last >= 0) & (ordered[at] == asked) & (happened - moments[at] <= window_ms)
    found[good] = near[at[good]]
    return found


def _pairs(users: Int64Array, codes: Int32Array) -> _Keys:
    """One number for each user and item; hashes of users are spread evenly already."""
    return users.astype(np.uint64) + codes.astype(np.uint64) * _MIX


def _with_outcomes(
    exposures: pa.Table, shown: ShownItems, events: pa.Table, led: Int64Array, rules: OutcomeRules
) -> Impressions:
    count = int(shown.bounds[-1])
    clicked, converted = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    clicked[led[(led >= 0) & _of_types(events, rules.clicks)]] = True
    bought = (led >= 0) & _of_types(events, rules.conversions)
    converted[led[bought]] = True
    amounts = pc.fill_null(events["value"], 0.0).to_numpy()[bought]
    value = np.bincount(led[bought], amounts, minlength=count)
    return Impressions(exposures, shown, clicked, converted, value.astype(np.float64))


def _of_types(events: pa.Table, types: frozenset[str]) -> BoolArray:
    found = pc.is_in(events["event"], value_set=pa.array(sorted(types), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
