"""Splits for evaluation, and the input and answer of each query.

Splits, all ranking the whole catalogue without the items that the user has had already (but for ``temporal``
with repeats):

- ``temporal`` (the headline): one moment splits all data; the model is frozen there. Each later event
  is predicted from everything its user did before it, also after the cut, since the server folds in.
- ``leave-one-out``: the last event of each user. Comparable with papers, but leaky: the model is
  trained on what other users did later (Ji et al. 2023, "A critical study on data leakage in
  recommender system offline evaluation").
- ``given``: somebody else's training and test events.
- ``by-user``: some events of each user, the newest or random ones. What training validates on where times say
  nothing; as leaky as leave-one-out.

Sampled metrics are not offered: they do not keep the order of models (Krichene & Rendle 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from recserve.data.arrays import BoolArray, Int32Array, Int64Array, flat_ranges, places_within
from recserve.data.batches import Histories, Queries, Ragged
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.entities import EventType
from recserve.data.events.context import Contexts
from recserve.data.events.written import WrittenTexts
from recserve.errors import DataError

TEMPORAL = "temporal"
LEAVE_ONE_OUT = "leave-one-out"
GIVEN = "given"
BY_USER = "by-user"

DEFAULT_HISTORY = 1000
_NOT_BY_TIME = "the training events are not known to be older than the test events"
_LEAKY = (
    "leaky: the model is trained on events of other users that are newer than the test events; "
    "use the temporal split to choose between models"
)


@dataclass(frozen=True)
class Split:
    """Training data and Q queries with their answers.

    The input of query q is ``timeline[starts[q]:ends[q]]``, a prefix of one user's events; inputs are
    cut out batch by batch, so that Q long histories never exist at the same time.

    Attributes:
        name: ``temporal``, ``leave-one-out``, ``given`` or ``by-user``.
        training: What models are fitted on.
        timeline: All events of each user that may serve as input, oldest first.
        rows: int64, shape (Q,); the user of each query as a row of ``timeline``, -1 for a user
            without any history.
        starts: int64, shape (Q,); positions in the flat arrays of ``timeline``.
        ends: int64, shape (Q,); equal to ``starts`` where there is no input.
        times: int64, shape (Q,); when each query is asked, milliseconds.
        relevant: The answers of each query, distinct. Rows >= ``n_items`` stand for items that are
            not in the catalogue: they can only be missed.
        groups: int64, shape (Q,); evaluated user 0..n_users-1 of each query, non-decreasing.
        n_users: Evaluated users.
        history: Newest events of an input that models get to see; exclusion uses all of them.
        temporal: Training and inputs must be older than answers.
        note: A reservation that belongs beside every figure of this split.
        written: What the users wrote, by rows of ``timeline``; a query reads what is older than it.
        repeats: Items that the user has had already are ranked and asked for as well.
        contexts: Of the Q queries, that of the event that answers it; None where there is none.
    """

    name: str
    training: Dataset
    timeline: Histories
    rows: Int64Array
    starts: Int64Array
    ends: Int64Array
    times: Int64Array
    relevant: Ragged
    groups: Int64Array
    n_users: int
    history: int = DEFAULT_HISTORY
    temporal: bool = False
    note: str | None = None
    written: WrittenTexts | None = None
    repeats: bool = False
    contexts: Contexts | None = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def n_items(self) -> int:
        """Items that are ranked."""
        return self.training.n_items

    def batches(
        self, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[slice, Queries, Ragged]]:
        """Queries and answers in order, ``size`` at a time.

        Args:
            size: Queries of a batch.
            start: The first query.
            stop: The first one that does not count; None for all.

        Yields:
            Which queries (a slice of 0..Q-1), the batch for the model, and its answers.
        """
        stop = len(self) if stop is None else stop
        for begin in range(start, stop, size):
            chosen = slice(begin, min(begin + size, stop))
            yield chosen, self._queries(chosen), self.answers(chosen)

    def take(self, chosen: Int64Array) -> Split:
        """Only these queries, in increasing order; users keep their numbers, and ``n_users`` stays."""
        lengths = np.diff(self.relevant.offsets)[chosen]
        offsets, index = flat_ranges(self.relevant.offsets[chosen], lengths)
        return replace(
            self,
            rows=self.rows[chosen],
            starts=self.starts[chosen],
            ends=self.ends[chosen],
            times=self.times[chosen],
            relevant=Ragged(offsets, self.relevant.values[index]),
            groups=self.groups[chosen],
            contexts=None if self.contexts is None else self.contexts.take(chosen),
        )

    def sample(self, users: int, seed: int) -> Split:
        """All queries of some users, drawn at random; the note says of how many.

        All items are ranked: a sample of users widens intervals, one of items would change what is measured.

        Args:
            users: How many, at most.
            seed: Of the draw.
        """
        if users >= self.n_users:
            return self
        drawn = np.sort(np.random.default_rng(seed).choice(self.n_users, users, replace=False))
        sample = self.take(np.flatnonzero(np.isin(self.groups, drawn)))
        said = f"{users:,} of {self.n_users:,} users, drawn at random with seed {seed}"
        return replace(
            sample,
            groups=np.searchsorted(drawn, sample.groups),
            n_users=users,
            note=said if self.note is None else f"{said}; {self.note}",
        )

    def answers(self, chosen: slice) -> Ragged:
        """The answers of consecutive queries."""
        return _slice(self.relevant, chosen)

    def _queries(self, chosen: slice) -> Queries:
        starts, ends = self.starts[chosen], self.ends[chosen]
        seen_offsets, seen = flat_ranges(starts, ends - starts)
        newest = np.maximum(starts, ends - self.history)
        offsets, index = flat_ranges(newest, ends - newest)
        timeline = self.timeline
        histories = Histories(
            offsets,
            timeline.items[index],
            timeline.events[index],
            timeline.weights[index],
            timeline.timestamps[index],
        )
        excluded = Ragged(seen_offsets, timeline.items[seen])
        if self.repeats:
            excluded = Ragged.of([()] * len(starts))
        queries = Queries.of(histories, self.times[chosen], excluded=excluded, wants_evidence=False)
        if self.contexts is not None:
            queries = replace(queries, contexts=self.contexts.take(chosen).mappings())
        if self.written is None:
            return queries
        return replace(queries, recent_texts=self.written.as_of(self.rows[chosen], self.times[chosen]))


def temporal(
    data: Dataset,
    test_window: float = 0.1,
    *,
    history: int = DEFAULT_HISTORY,
    queries_per_user: int | None = None,
    repeats: bool = False,
) -> Split:
    """Split all events at one moment.

    Each event after the cut is a query of its own if its confidence is positive and its user has not
    had the item before, unless ``repeats``; its input is what the user did strictly earlier. The first event
    of a user who is new after the cut is a query without input, as it is for a server.

    Args:
        data: All events.
        test_window: Share of the newest events that is tested on.
        history: See :attr:`Split.history`.
        queries_per_user: At most this many queries of one user, spread evenly over his test events;
            None takes all.
        repeats: Also ask for items that the user has had before, and let models return them.

    Raises:
        DataError: Nothing is left to train on or to test on.
    """
    cut = data.quantile_time(1.0 - test_window)
    training = data.before(cut)
    if not len(training):
        raise DataError(
            f"the temporal split leaves nothing to train on: the oldest {1 - test_window:.0%} of the "
            "events have the same timestamp; import real timestamps or use --split leave-one-out"
        )
    timeline = data.histories
    users = timeline.owners()
    tried = (timeline.weights > 0) & (timeline.timestamps >= cut)
    if not repeats:
        tried &= _first_occurrences(users, timeline.items, data.n_items)
    tested = np.flatnonzero(tried)
    if queries_per_user is not None:
        tested = tested[_spread(users[tested], queries_per_user)]
    if not len(tested):
        raise DataError(
            "the temporal split leaves nothing to test on: no positive event in the newest "
            f"{test_window:.0%} is on an item that its user had not had before"
        )
    # Events of one user with equal time are in no particular order: none may be input of another.
    new_moment = np.ones(len(users), dtype=np.bool_)
    new_moment[1:] = (users[1:] != users[:-1]) | np.diff(timeline.timestamps).astype(np.bool_)
    moment = np.maximum.accumulate(np.where(new_moment, np.arange(len(users)), 0))

    rows = users[tested]
    evaluated, groups = np.unique(rows, return_inverse=True)
    return Split(
        name=TEMPORAL,
        training=training,
        timeline=timeline,
        rows=rows,
        starts=timeline.offsets[rows],
        ends=moment[tested],
        times=timeline.timestamps[tested],
        relevant=Ragged(np.arange(len(tested) + 1, dtype=np.int64), timeline.items[tested]),
        groups=groups,
        n_users=len(evaluated),
        history=history,
        temporal=True,
        written=data.written,
        repeats=repeats,
        contexts=_contexts_of(data, tested),
    )


def leave_one_out(data: Dataset, *, history: int = DEFAULT_HISTORY) -> Split:
    """Test on the last event of each user, train on everything before it.

    The last event is the last positive one on an item that the user had not had before, since only
    such an item can be ranked. What the user did later is in neither part. Users without an earlier
    event are trained on but not tested.

    Raises:
        DataError: No user has two events.
    """
    everything = data.histories
    users = everything.owners()
    fresh = _first_occurrences(users, everything.items, data.n_items)
    has_past = np.arange(len(users)) > everything.offsets[users]
    eligible = np.flatnonzero(fresh & has_past & (everything.weights > 0))
    if not len(eligible):
        raise DataError(
            "leave-one-out leaves nothing to test on: no user has a positive event on a second item"
        )
    last = np.full(len(everything), -1, dtype=np.int64)
    np.maximum.at(last, users[eligible], eligible)
    rows = np.flatnonzero(last >= 0)
    targets = last[rows]

    # Positions in the timeline back to positions in the data set, which is sorted by time.
    limit = np.where(last >= 0, last, len(users))
    in_training = np.arange(len(users)) < limit[users]
    keep = np.empty(len(users), dtype=np.bool_)
    keep[np.argsort(data.users, kind="stable")] = in_training
    training = data.where(keep)
    relevant = Ragged(np.arange(len(rows) + 1, dtype=np.int64), everything.items[targets])
    split = _one_query_each(LEAVE_ONE_OUT, training, rows, everything.timestamps[targets], relevant, history)
    return replace(split, written=data.written, contexts=_contexts_of(data, targets))


def by_user(
    data: Dataset,
    share: float = 0.1,
    *,
    newest: bool,
    users: int | None = None,
    seed: int = 0,
    history: int = DEFAULT_HISTORY,
) -> Split:
    """Hold out some of each user's liked items, at least one; he is one query with all of them as answers.

    Args:
        data: All events.
        share: Of the items that a user has a positive event with.
        newest: Hold out those that he met last; otherwise random ones.
        users: At most this many users are tested, drawn at random; None takes all.
        seed: Of both draws.
        history: See :attr:`Split.history`.

    Raises:
        DataError: No user has positive events with two items.
    """
    everything = data.histories
    owners = everything.owners()
    rng = np.random.default_rng(seed)
    fresh = np.flatnonzero(
        (everything.weights > 0) & _first_occurrences(owners, everything.items, data.n_items)
    )
    counts = np.bincount(owners[fresh], minlength=data.n_users)
    rows = np.flatnonzero(counts >= 2)
    if not len(rows):
        raise DataError("nothing to test on: no user has a positive event on a second item")
    if users is not None and len(rows) > users:
        rows = np.sort(rng.choice(rows, users, replace=False))
    held = np.zeros(data.n_users, dtype=np.int64)
    held[rows] = np.maximum(1, (share * counts[rows]).astype(np.int64))
    if not newest:
        fresh = fresh[np.lexsort((rng.random(len(fresh)), owners[fresh]))]
    place = np.arange(len(fresh)) - (np.cumsum(counts) - counts)[owners[fresh]]
    answers = fresh[place >= (counts - held)[owners[fresh]]]

    # Every event with a held-out item goes, or the input would hold the answer.
    stride = data.n_items
    pairs = owners[answers] * stride + everything.items[answers]
    training = data.where(~np.isin(data.users.astype(np.int64) * stride + data.items, pairs))
    times = np.full(len(rows), int(data.timestamps[-1]) + 1)
    relevant = Ragged(np.concatenate([[0], np.cumsum(held[rows])]), everything.items[answers])
    return _one_query_each(BY_USER, training, rows, times, relevant, history)


def _one_query_each(
    name: str, training: Dataset, rows: Int64Array, times: Int64Array, relevant: Ragged, history: int
) -> Split:
    """A split in which some users are one query each, after all that they have in training."""
    timeline = training.histories
    return Split(
        name=name,
        training=training,
        timeline=timeline,
        rows=rows,
        starts=timeline.offsets[rows],
        ends=timeline.offsets[rows + 1],
        times=times,
        relevant=relevant,
        groups=np.arange(len(rows), dtype=np.int64),
        n_users=len(rows),
        history=history,
        note=_LEAKY,
    )


def given(
    training: Dataset,
    test_events: pa.Table,
    event_types: Mapping[str, EventType],
    *,
    history: int = DEFAULT_HISTORY,
) -> Split:
    """Use a split that was made elsewhere.

    Each user of the test events is one query: his whole training history is the input, all his
    positive test items are the answers. Items that he already had in training are not answers, since
    they are not ranked; items outside the catalogue are answers that no model can give. Users
    without training events get whatever the model has for a stranger.

    Args:
        training: What models are fitted on; its catalogue is what is ranked.
        test_events: Canonical event table.
        event_types: Configured event types.
        history: See :attr:`Split.history`.

    Raises:
        DataError: No test event can be an answer.
    """
    known = training.catalogue.ids
    named = (item for item in test_events["item_id"].unique().to_pylist() if item)
    strangers = sorted({item for item in named if item not in known})
    wide = Catalogue([*known, *strangers])
    test = Dataset.from_tables(wide, test_events, event_types).positive()
    timeline = training.histories

    stride = len(wide)
    row_of = training.user_ids.rows(test.user_ids).astype(np.int64)
    answers = np.unique(test.users.astype(np.int64) * stride + test.items)
    who, items = answers // stride, answers % stride
    trained = np.unique(training.users.astype(np.int64) * stride + training.items)
    unseen = ~np.isin(row_of[who] * stride + items, trained)
    who, items = who[unseen], items[unseen]
    if not len(who):
        raise DataError(
            "nothing to test on: the test events hold no positive event on an item that its user "
            "does not already have in the training events"
        )

    evaluated, counts = np.unique(who, return_counts=True)
    rows = row_of[evaluated]
    starts = np.where(rows >= 0, timeline.offsets[np.maximum(rows, 0)], 0)
    ends = np.where(rows >= 0, timeline.offsets[np.maximum(rows, 0) + 1], 0)
    first_test = np.full(test.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first_test, test.users, test.timestamps)
    # Asked after the input, and a stranger is asked about after the model was trained.
    newest = int(training.timestamps[-1])
    newest_input = np.where(ends > starts, timeline.timestamps[np.maximum(ends - 1, 0)], newest)
    offsets = np.zeros(len(evaluated) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return Split(
        name=GIVEN,
        training=training,
        timeline=timeline,
        rows=rows,
        starts=starts,
        ends=ends,
        times=np.maximum(first_test[evaluated], newest_input + 1),
        relevant=Ragged(offsets, items.astype(np.int32)),
        groups=np.arange(len(evaluated), dtype=np.int64),
        n_users=len(evaluated),
        history=history,
        note=_NOT_BY_TIME if newest >= int(test.timestamps[0]) else None,
        written=training.written,
    )


def _slice(ragged: Ragged, chosen: slice) -> Ragged:
    offsets = ragged.offsets[chosen.start : chosen.stop + 1]
    return Ragged(offsets - offsets[0], ragged.values[offsets[0] : offsets[-1]])


def _contexts_of(data: Dataset, tested: Int64Array) -> Contexts | None:
    """Contexts of events, by their places in the timeline of all users; None where nobody said anything."""
    if data.contexts is None:
        return None
    return data.contexts.take(np.argsort(data.users, kind="stable")[tested])


def _first_occurrences(users: Int64Array, items: Int32Array, n_items: int) -> BoolArray:
    """Marks the first event of each (user, item) pair, events in time order within a user."""
    _, first = np.unique(users * n_items + items, return_index=True)
    fresh = np.zeros(len(users), dtype=np.bool_)
    fresh[first] = True
    return fresh


def _spread(users: Int64Array, limit: int) -> BoolArray:
    """Marks at most ``limit`` events of each user, evenly spaced; ``users`` is non-decreasing."""
    _, total = np.unique(users, return_counts=True)
    place = places_within(total)
    total = np.repeat(total, total)
    return np.asarray((total <= limit) | ((place + 1) * limit // total > place * limit // total))
