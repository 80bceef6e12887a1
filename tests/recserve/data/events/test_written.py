"""What users wrote: read off a table, and by queries as of their time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recserve import EventType, Vocabulary
from recserve.data.batches import RECENT_TEXTS
from recserve.data.events.written import UnreadTexts, WrittenTexts

TYPES = {"view": EventType(), "search": EventType(weight=0.5), "rating": EventType(weight=2.0)}
USERS = Vocabulary(["ada", "bob", "eve"])


def unread(*rows: tuple[str, str, int, str]) -> UnreadTexts:
    users, events, times, texts = zip(*rows, strict=True)
    table = pa.table(
        {
            "user_id": list(users),
            "event": list(events),
            "value": pa.nulls(len(rows), pa.float64()),
            "timestamp": pa.array(times, pa.int64()),
            "text": list(texts),
        }
    )
    return UnreadTexts.of(table, USERS, TYPES)


def written(*rows: tuple[str, str, int, str]) -> WrittenTexts:
    """Each text's vector is its place in the order of users and times."""
    found = unread(*rows)
    return found.with_vectors(np.arange(len(found.texts), dtype=np.float32)[:, None])


ROWS = (
    ("eve", "search", 30, "c"),
    ("ada", "rating", 20, "b"),
    ("ada", "search", 10, "a"),
    ("stranger", "search", 5, "nobody"),
    ("ada", "unheard-of", 5, "nothing"),
)


def test_texts_come_by_user_and_time_and_unknown_ones_go() -> None:
    found = unread(*ROWS)
    assert list(found.texts) == ["a", "b", "c"]
    assert found.events.tolist() == [1, 2, 1]
    assert found.weights.tolist() == [0.5, 2.0, 0.5]
    assert found.with_vectors(np.zeros((3, 1), np.float32)).offsets.tolist() == [0, 2, 2, 3]


def test_a_query_reads_what_is_older_than_it() -> None:
    users, times = np.array([0, 0, 0, 1, 2, -1]), np.array([10, 11, 99, 99, 31, 99])
    found = written(*ROWS).as_of(users, times)
    assert found is not None
    assert found.offsets.tolist() == [0, 0, 1, 3, 3, 4, 4]
    assert found.vectors[:, 0].tolist() == [0, 0, 1, 2]
    assert found.timestamps.tolist() == [10, 10, 20, 30]
    assert written(*ROWS).as_of(users[:1], times[:1]) is None


def test_a_query_reads_the_newest_only() -> None:
    many = written(*(("bob", "search", n, f"{n}") for n in range(RECENT_TEXTS + 5)))
    found = many.as_of(np.array([1]), np.array([RECENT_TEXTS + 3]))
    assert found is not None
    assert found.vectors[:, 0].tolist() == list(range(3, RECENT_TEXTS + 3))
