"""Ragged histories, event confidence, candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recserve import Candidates, EventType, Histories, Item, Queries, Ragged, RecentTexts


def histories(lists: list[list[int]]) -> Histories:
    ragged = Ragged.of(lists)
    n = len(ragged.values)
    return Histories(
        ragged.offsets,
        ragged.values,
        np.zeros(n, dtype=np.int16),
        np.where(ragged.values % 3 == 0, -1.0, 1.0).astype(np.float32),
        np.arange(n, dtype=np.int64),
    )


def as_lists(packed: Histories) -> list[list[int]]:
    return [packed.items[a:b].tolist() for a, b in zip(packed.offsets, packed.offsets[1:], strict=False)]


row_lists = st.lists(st.lists(st.integers(0, 20), max_size=8), min_size=1, max_size=6)


@given(row_lists, st.integers(1, 5))
def test_last_keeps_the_newest(lists: list[list[int]], length: int) -> None:
    assert as_lists(histories(lists).last(length)) == [rows[-length:] for rows in lists]


@given(row_lists)
def test_known_and_positive_filter_within_each_user(lists: list[list[int]]) -> None:
    packed = histories(lists)
    assert as_lists(packed.known(10)) == [[row for row in rows if row < 10] for rows in lists]
    assert as_lists(packed.positive()) == [[row for row in rows if row % 3] for rows in lists]


@given(row_lists, st.data())
def test_select_reorders_users(lists: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    picked = histories(lists).select(np.array(chosen, dtype=np.int64))
    assert as_lists(picked) == [lists[index] for index in chosen]


def test_ratings_scale_confidence_linearly_and_keep_missing_values_neutral() -> None:
    stars = EventType(weight=1.0, value_range=(0.5, 5.0))
    values = stars.confidence(np.array([0.5, 2.75, 5.0, 9.0, np.nan]))
    np.testing.assert_allclose(values, [0.1, 1.0, 1.9, 1.9, 1.0], rtol=1e-6)
    assert values.dtype == np.float32


def test_counts_grow_logarithmically() -> None:
    plays = EventType(weight=2.0, log_value=True)
    np.testing.assert_allclose(plays.confidence(np.array([0.0, 1.0, np.e])), [2.0, 2.0, 4.0], rtol=1e-6)


def test_a_reversed_scale_is_refused() -> None:
    with pytest.raises(ValidationError, match="low < high"):
        EventType(value_range=(5, 1))


def test_take_pads_with_nothing() -> None:
    candidates = Candidates(
        items=np.array([[7, 8, 9]], dtype=np.int32),
        scores=np.array([[3, 2, 1]], dtype=np.float32),
        sources=("a",),
        source_scores=np.array([[[0.3], [0.2], [0.1]]], dtype=np.float32),
        evidence=np.array([[1, -1, 2]], dtype=np.int32),
    )
    taken = candidates.take(np.array([[2, 0, -1]], dtype=np.int32))
    assert taken.items.tolist() == [[9, 7, -1]]
    assert taken.scores.tolist() == [[1.0, 3.0, -np.inf]]
    assert taken.evidence.tolist() == [[2, 1, -1]]
    assert taken.source_scores[0, :2, 0].tolist() == pytest.approx([0.1, 0.3])


def test_title_falls_back_to_name_and_id() -> None:
    assert Item("1", {"title": "T", "name": "N"}).title == "T"
    assert Item("1", {"name": "N"}).title == "N"
    assert Item("1").title == "1"


def texts_at(lists: list[list[int]]) -> RecentTexts:
    """Texts of users by their times; text ``j`` of all has the vector (j, 0)."""
    ragged = Ragged.of(lists)
    count = len(ragged.values)
    vectors = np.zeros((count, 2), dtype=np.float32)
    vectors[:, 0] = np.arange(count)
    events = np.full(count, 7, dtype=np.int16)
    weights = np.full(count, 0.5, dtype=np.float32)
    return RecentTexts(ragged.offsets, vectors, events, weights, ragged.values.astype(np.int64))


def test_texts_stand_where_their_times_put_them() -> None:
    packed = Histories(
        np.array([0, 3, 3, 4]),
        np.array([1, 2, 3, 4], dtype=np.int32),
        np.zeros(4, dtype=np.int16),
        np.ones(4, dtype=np.float32),
        # The last event of the first user is of a session, which counts as newest.
        np.array([10, 30, 20, 5]),
    )
    queries = replace(
        Queries.of(packed, np.full(3, 99)),
        extra_vectors=np.ones((1, 2), dtype=np.float32),
        recent_texts=texts_at([[10, 15, 40], [7], []]),
    )
    joined = queries.with_texts(20)
    # One new item has row 20, the texts come behind it.
    assert as_lists(joined.histories) == [[1, 21, 22, 2, 3, 23], [24], [4]]
    assert joined.histories.events.tolist() == [0, 7, 7, 0, 0, 7, 7, 0]
    assert joined.histories.weights.tolist() == [1, 0.5, 0.5, 1, 1, 0.5, 0.5, 1]
    assert joined.extra_vectors is not None
    assert joined.extra_vectors.tolist() == [[1, 1], [0, 0], [1, 0], [2, 0], [3, 0]]
    assert joined.recent_texts is None
    evidence = np.array([[23, 2], [24, -1], [4, 20]], dtype=np.int32)
    assert queries.text_evidence(evidence, 20).tolist() == [[-4, 2], [-2, -1], [4, 20]]
    assert queries.plain.tolist() == [True, False, True]


@given(st.lists(st.tuples(st.lists(st.integers(0, 20), max_size=5), st.lists(st.integers(0, 9), max_size=3))))
def test_a_part_has_the_texts_of_its_users(users: list[tuple[list[int], list[int]]]) -> None:
    written = texts_at([sorted(times) for _, times in users])
    queries = Queries.of(histories([rows for rows, _ in users]), np.zeros(len(users), dtype=np.int64))
    queries = replace(queries, recent_texts=written)
    for start in range(len(users)):
        part = queries.part(start, start + 1).recent_texts
        assert part is not None
        span = slice(*written.offsets[start : start + 2])
        assert part.offsets.tolist() == [0, len(written.timestamps[span])]
        assert np.array_equal(part.vectors, written.vectors[span])
        assert np.array_equal(part.timestamps, written.timestamps[span])
