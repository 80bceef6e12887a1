"""A small made-up domain that every kind of component can be run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from recserve.data.arrays import BoolArray
from recserve.data.batches import Candidates, Histories, Queries, Ragged, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.entities import DEFAULT_EVENT_TYPES, Event, EventType, Item
from recserve.data.events.written import WrittenTexts
from recserve.data.vocabulary import Vocabulary
from recserve.serving.stages.fusion import merge

TOPICS = ("space", "cooking", "gardens", "trains")
DIMENSION = 16


def example_catalogue(n_items: int = 60, seed: int = 0) -> Catalogue:
    """Items about four topics; vectors of one topic point the same way.

    Attributes: ``title`` (text), ``topic`` (text), ``tags`` (list), ``year`` (number), ``price`` (number).
    """
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(DIMENSION, len(TOPICS))))[0].T
    topics = np.arange(n_items) % len(TOPICS)
    vectors = centres[topics] + 0.2 * rng.normal(size=(n_items, DIMENSION)) / np.sqrt(DIMENSION)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [
        Item(
            f"item-{row}",
            {
                "title": f"{TOPICS[topic].title()} number {row}",
                "topic": TOPICS[topic],
                "tags": [TOPICS[topic], "odd" if row % 2 else "even"],
                "year": 1960 + row,
                "price": 5.0 + row % 7,
            },
        )
        for row, topic in enumerate(topics)
    ]
    return Catalogue.of(items, vectors.astype(np.float32))


def example_dataset(n_users: int = 80, length: int = 15, seed: int = 0, *, written: bool = False) -> Dataset:
    """Users who mostly stay with one topic, some events negative; times strictly increase.

    Args:
        n_users: Users.
        length: Events of each.
        seed: Of everything random.
        written: Whether each user writes, before each event, what its item is about.
    """
    catalogue = example_catalogue(seed=seed)
    rng = np.random.default_rng(seed + 1)
    n_items, n_events = len(catalogue), n_users * length
    users = np.tile(np.arange(n_users, dtype=np.int32), length)
    topic = users % len(TOPICS)
    own = rng.integers(0, n_items // len(TOPICS), n_events) * len(TOPICS) + topic
    # A fifth of the events is on anything, so that no column of a matrix is empty.
    items = np.where(rng.random(n_events) < 0.2, rng.integers(0, n_items, n_events), own)
    names = tuple(DEFAULT_EVENT_TYPES)
    events = rng.choice([names.index("view"), names.index("purchase"), names.index("dislike")], n_events)
    weights = np.array([DEFAULT_EVENT_TYPES[names[code]].weight for code in events], dtype=np.float32)
    day = 86_400_000
    data = Dataset(
        catalogue,
        Vocabulary(f"user-{row}" for row in range(n_users)),
        users,
        items.astype(np.int32),
        events.astype(np.int16),
        weights,
        1_600_000_000_000 + np.arange(n_events, dtype=np.int64) * day // 10,
        names,
    )
    if written:
        data.written = _hints(data)
    return data


def _hints(data: Dataset) -> WrittenTexts:
    """Texts just before each event, with the vector of its item."""
    vectors, order = data.catalogue.vectors, np.lexsort((data.timestamps, data.users))
    assert vectors is not None  # of the example
    return WrittenTexts(
        np.searchsorted(data.users[order], np.arange(data.n_users + 1)),
        vectors[data.items[order]],
        data.events[order],
        np.ones(len(order), dtype=np.float32),
        data.timestamps[order] - 1,
    )


def dataset_from(
    items: Iterable[Item],
    events: Iterable[Event],
    event_types: Mapping[str, EventType] | None = None,
    seed: int = 0,
) -> Dataset:
    """Items and events of your own as a data set for the conformance checks.

    Args:
        items: At least twelve. Each gets a made-up vector, for components that read vectors.
        events: Of at least twelve users.
        event_types: Configured event types; default: the built-in ones.
        seed: Of the vectors.

    Raises:
        DataError: No event is on one of the items and of a known type.
    """
    listed = list(items)
    vectors = np.random.default_rng(seed).normal(size=(len(listed), DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalogue = Catalogue.of(listed, vectors.astype(np.float32))
    happened = list(events)
    table = pa.table(
        {
            "user_id": [event.user_id for event in happened],
            "item_id": [event.item_id for event in happened],
            "event": [event.event for event in happened],
            "value": pa.array([event.value for event in happened], pa.float64()),
            "timestamp": pa.array([event.timestamp for event in happened], pa.int64()),
        }
    )
    return Dataset.from_tables(catalogue, table, event_types or DEFAULT_EVENT_TYPES)


def example_queries(data: Dataset, batch: int = 12, seed: int = 0) -> Queries:
    """Queries of every kind: long and short histories, none, anchors, text, exclusions, masks, new items."""
    if data.n_users < batch or data.n_items < batch:
        raise ValueError(f"at least {batch} users and {batch} items are needed for every kind of query")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(data.n_users, batch, replace=False).astype(np.int64)
    histories = data.histories.select(chosen)
    owners, place = histories.owners(), np.arange(len(histories.items))
    # Query 0 has no history, query 1 a single event.
    histories = histories.where((owners > 1) | ((owners == 1) & (place == histories.offsets[1])))
    items = histories.items.copy()
    if len(items):
        # The newest event of the last query is on an item that the bundle does not know.
        items[-1] = data.n_items
    histories = Histories(histories.offsets, items, histories.events, histories.weights, histories.timestamps)
    vectors = data.catalogue.vectors
    anchors = np.full(batch, -1, dtype=np.int32)
    anchors[2] = 5
    texts: list[str | None] = [None] * batch
    texts[3] = "space"
    text_vectors = None
    if vectors is not None:
        text_vectors = np.zeros((batch, vectors.shape[1]), dtype=np.float32)
        text_vectors[3] = vectors[0]
    allowed: list[BoolArray | None] = [None] * batch
    allowed[4] = np.arange(data.n_items) % 3 == 0
    allowed[5] = np.zeros(data.n_items, dtype=np.bool_)
    seen = [np.unique(items[a:b]) for a, b in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)]
    return Queries(
        user_ids=tuple(data.user_ids.ids[row] for row in chosen),
        histories=histories,
        times=np.full(batch, int(data.timestamps[-1]) + 1, dtype=np.int64),
        anchors=anchors,
        excluded=Ragged.of(seen),
        texts=tuple(texts),
        text_vectors=text_vectors,
        extra_vectors=None if vectors is None else vectors[:1].copy(),
        allowed=tuple(allowed),
        filters=({},) * batch,
        contexts=({},) * batch,
    )


def example_candidates(data: Dataset, queries: Queries, seed: int = 0) -> Candidates:
    """Merged candidates of two made-up retrievers, some queries with fewer than others."""
    rng = np.random.default_rng(seed)
    found: dict[str, Retrieved] = {}
    for name in ("mf", "content"):
        most = min(20, data.n_items)
        items = np.full((len(queries), most), -1, dtype=np.int32)
        for index in range(len(queries)):
            count = most if index % 4 else 7
            items[index, :count] = rng.choice(data.n_items, count, replace=False)
        scores = -np.sort(rng.random(items.shape), axis=1).astype(np.float32)
        found[name] = Retrieved.of(items, np.where(items >= 0, scores, -np.inf).astype(np.float32))
    return merge(found, {}, 25)


def one_query(queries: Queries, index: int) -> Queries:
    """One query of a batch as a batch of its own."""
    pick = slice(index, index + 1)
    text = queries.text_vectors
    return Queries(
        user_ids=queries.user_ids[pick],
        histories=queries.histories.select(np.array([index], dtype=np.int64)),
        times=queries.times[pick],
        anchors=queries.anchors[pick],
        excluded=Ragged.of([queries.excluded[index]]),
        texts=queries.texts[pick],
        text_vectors=None if text is None else text[pick],
        extra_vectors=queries.extra_vectors,
        allowed=queries.allowed[pick],
        filters=queries.filters[pick],
        contexts=queries.contexts[pick],
    )


def dataset_of(rows: Sequence[tuple[int, int, float]], n_items: int) -> Dataset:
    """A data set of a few events, for known answers.

    Args:
        rows: User, item and weight of each event, one a second.
        n_items: Items of the catalogue.
    """
    users = np.array([row[0] for row in rows], dtype=np.int32)
    return Dataset(
        Catalogue([f"i{row}" for row in range(n_items)]),
        Vocabulary(f"u{row}" for row in range(int(users.max(initial=-1)) + 1)),
        users,
        np.array([row[1] for row in rows], dtype=np.int32),
        np.zeros(len(rows), dtype=np.int16),
        np.array([row[2] for row in rows], dtype=np.float32),
        np.arange(len(rows), dtype=np.int64) * 1000,
        ("view",),
    )


def queries_after(*lists: Sequence[int], anchors: Sequence[int] | None = None) -> Queries:
    """Queries of users who liked these items in this order, none of which may be returned.

    Args:
        *lists: Rows of each user's items.
        anchors: Row of the item that each asks similar ones for, -1 for none.
    """
    ragged = Ragged.of(lists)
    n = len(ragged.values)
    histories = Histories(
        ragged.offsets, ragged.values, np.zeros(n, np.int16), np.ones(n, np.float32), np.arange(n)
    )
    return Queries.of(
        histories,
        np.zeros(len(lists), dtype=np.int64),
        anchors=None if anchors is None else np.array(anchors, dtype=np.int32),
        excluded=ragged,
    )
