"""Datasets: order, cuts, matrices, fingerprints."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recserve import Catalogue, DataError, Dataset, EventType, Item, Tables
from recserve.data.events.coverage import coverage

TYPES = {"view": EventType(weight=1.0), "hide": EventType(weight=-1.0)}
ROWS = [
    ("u2", "b", "view", None, 30),
    ("u1", "a", "view", None, 10),
    ("u1", "zzz", "view", None, 11),
    ("u1", "b", "hide", None, 20),
    ("u2", "a", "view", None, 20),
    ("u1", "a", "view", None, 40),
    ("u1", "c", "unheard", None, 41),
]


def table(rows: list[tuple[str, str, str, float | None, int]]) -> pa.Table:
    users, items, events, values, times = zip(*rows, strict=True)
    return pa.table(
        {
            "event_id": pa.array([str(n) for n in range(len(rows))]),
            "user_id": pa.array(users),
            "item_id": pa.array(items),
            "event": pa.array(events),
            "value": pa.array(values, pa.float64()),
            "timestamp": pa.array(times, pa.int64()),
        }
    )


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.of([Item("a"), Item("b"), Item("c")])


def test_events_are_sorted_and_unknown_ones_left_out(catalogue: Catalogue) -> None:
    data = Dataset.from_tables(catalogue, table(ROWS), TYPES)
    assert data.timestamps.tolist() == [10, 20, 20, 30, 40]
    assert [data.user_ids.ids[row] for row in data.users] == ["u1", "u1", "u2", "u2", "u1"]
    assert data.weights.tolist() == [1, -1, 1, 1, 1]
    assert data.histories.items.tolist() == [0, 1, 0, 0, 1]
    assert data.item_counts.tolist() == [3, 1, 0]


def test_order_of_storage_does_not_matter(catalogue: Catalogue) -> None:
    shuffled = [ROWS[i] for i in np.random.default_rng(0).permutation(len(ROWS))]
    one = Dataset.from_tables(catalogue, table(ROWS), TYPES)
    other = Dataset.from_tables(catalogue, table(shuffled), TYPES)
    assert one.fingerprint() == other.fingerprint()
    changed = [(*ROWS[0][:4], 31), *ROWS[1:]]
    assert Dataset.from_tables(catalogue, table(changed), TYPES).fingerprint() != one.fingerprint()


def test_cuts_are_strict_on_the_right(catalogue: Catalogue) -> None:
    data = Dataset.from_tables(catalogue, table(ROWS), TYPES)
    assert data.before(20).timestamps.tolist() == [10]
    assert data.between(20, 40).timestamps.tolist() == [20, 20, 30]
    assert data.before(20).n_users == data.n_users


def test_matrix_sums_positive_confidence(catalogue: Catalogue) -> None:
    data = Dataset.from_tables(catalogue, table(ROWS), TYPES)
    np.testing.assert_array_equal(data.matrix().toarray(), [[2, 0, 0], [1, 1, 0]])


def test_nothing_to_learn_from_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="no event to learn from"):
        Dataset.from_tables(catalogue, table([("u", "unknown", "view", None, 1)]), TYPES)
    with pytest.raises(DataError, match="no event to learn from"):
        Dataset.from_tables(catalogue, table(ROWS).slice(0, 0), TYPES)


def test_ids_of_more_than_an_arrow_array_holds_are_no_limit(catalogue: Catalogue) -> None:
    # The chunks share their buffers, so 2.2 GB of text take 20 MB here.
    names = pa.array([f"{n:0>1000}" for n in range(20_000)])
    rows = len(names) * 110
    places = np.arange(rows)
    events = pa.table(
        {
            "event_id": pa.nulls(rows, pa.string()),
            "user_id": pa.chunked_array([names] * 110),
            "item_id": pa.array(["a", "b"]).take(pa.array(places % 2)),
            "event": pa.array(["view"]).take(pa.array(places % 1)),
            "value": pa.nulls(rows, pa.float64()),
            "timestamp": pa.array(places),
        }
    )
    assert events["user_id"].nbytes > 2**31
    data = Dataset.from_tables(catalogue, events, TYPES)
    assert (len(data), data.n_users) == (rows, 20_000)
    assert data.user_ids.ids[int(data.users[-1])] == f"{19_999:0>1000}"
    covered = coverage(Tables(pa.table({"item_id": ["a", "b", "c"]}), events), TYPES)
    assert (covered.learnt, covered.idle_items) == (rows, 1)
