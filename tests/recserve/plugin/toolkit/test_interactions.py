from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import Histories, Queries, Ragged, Retrieved, best_contributors, in_parts, taste_vectors
from recserve.testing import example_dataset, example_queries, one_query


def queries(lists: list[list[tuple[int, float]]], anchors: list[int] | None = None) -> Queries:
    """One event a step, as (item, weight)."""
    ragged = Ragged.of([[item for item, _ in steps] for steps in lists])
    n = len(ragged.values)
    histories = Histories(
        ragged.offsets,
        ragged.values,
        np.zeros(n, np.int16),
        np.array([weight for steps in lists for _, weight in steps], np.float32),
        np.arange(n, dtype=np.int64),
    )
    return Queries.of(
        histories,
        np.zeros(len(lists), dtype=np.int64),
        anchors=None if anchors is None else np.array(anchors, dtype=np.int32),
    )


def test_sums_positive_events_on_known_items() -> None:
    asked = queries([[(2, 1.0), (0, 0.5), (2, 2.0), (1, -1.0), (7, 3.0)], []])
    found = taste_vectors(asked, 4).toarray()
    np.testing.assert_allclose(found, [[0.5, 0, 3.0, 0], [0, 0, 0, 0]])
    assert found.dtype == np.float32


def test_power_zero_counts_items_alike() -> None:
    found = taste_vectors(queries([[(2, 1.0), (0, 0.5), (2, 2.0)]]), 4, power=0).toarray()
    np.testing.assert_allclose(found, [[1, 0, 1, 0]])


def test_events_fade_by_the_number_of_later_ones() -> None:
    # Item 3 was met again later: its newest event counts. The dislike between is no event of taste.
    asked = queries([[(3, 1.0), (1, 1.0), (0, -1.0), (3, 1.0), (2, 1.0)]])
    found = taste_vectors(asked, 4, power=0, half_life_events=1).toarray()
    np.testing.assert_allclose(found, [[0, 0.25, 1.0, 0.5]])


def test_an_anchor_joins_the_history() -> None:
    asked = queries([[(1, 1.0), (2, 3.0)], [], [(0, 1.0)], [(3, 2.0)]], [0, 3, 3, 9])
    found = taste_vectors(asked, 4, personal_share=0.2).toarray()
    np.testing.assert_allclose(found, [[0.8, 0.05, 0.15, 0], [0, 0, 0, 1], [0.2, 0, 0, 0.8], [0, 0, 0, 2]])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_agrees_with_a_plain_loop_and_no_row_depends_on_the_others(data: st.DataObject) -> None:
    n_items = data.draw(st.integers(1, 8))
    step = st.tuples(st.integers(0, n_items + 1), st.sampled_from([-1.0, 0.5, 1.0, 3.0]))
    lists = data.draw(st.lists(st.lists(step, max_size=12), min_size=1, max_size=4))
    anchors = [data.draw(st.integers(-1, n_items)) for _ in lists]
    power, half_life = data.draw(st.sampled_from([0.0, 0.5, 1.0])), data.draw(st.sampled_from([None, 2.0]))
    asked = queries(lists, anchors)
    found = taste_vectors(asked, n_items, power=power, half_life_events=half_life, personal_share=0.3)
    assert found.has_sorted_indices
    for index, (steps, anchor) in enumerate(zip(lists, anchors, strict=True)):
        liked = [(item, weight) for item, weight in steps if weight > 0 and item < n_items]
        row = np.zeros(n_items)
        for item in {item for item, _ in liked}:
            total = sum(weight for other, weight in liked if other == item)
            later = min(len(liked) - 1 - place for place, (other, _) in enumerate(liked) if other == item)
            row[item] = total**power * (1.0 if half_life is None else 0.5 ** (later / half_life))
        if 0 <= anchor < n_items:
            share = 0.3 if row.any() else 0.0
            row = row * (share / row.sum()) if row.any() else row
            row[anchor] += 1 - share
        np.testing.assert_allclose(found[[index]].toarray()[0], row, rtol=1e-5)
        alone = taste_vectors(
            asked.part(index, index + 1), n_items, power=power, half_life_events=half_life, personal_share=0.3
        )
        np.testing.assert_array_equal(alone.toarray(), found[[index]].toarray())


def test_the_largest_positive_contribution_is_named() -> None:
    rows = np.array([4, 7], dtype=np.int32)
    contributions = np.array([[1.0, -2.0, 3.0, 0.0], [2.0, -1.0, 3.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(best_contributors(rows, contributions), [7, -1, 4, -1])
    nobody = best_contributors(rows[:0], contributions[:0])
    np.testing.assert_array_equal(nobody, [-1, -1, -1, -1])


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_a_batch_in_parts_is_answered_like_the_whole(size: int) -> None:
    data = example_dataset()
    asked = example_queries(data)
    widths: list[int] = []

    def answer(part: Queries) -> Retrieved:
        widths.append(len(part))
        items = np.array(
            [[len(part.excluded[row]), int(part.anchors[row])] for row in range(len(part))], dtype=np.int32
        )
        scores = np.stack([part.histories.lengths, part.times], axis=1).astype(np.float32)
        return Retrieved.of(items, scores)

    found = in_parts(asked, size, answer)
    assert max(widths) <= size
    whole = answer(asked)
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_a_part_of_a_batch_is_the_batch_of_these_queries() -> None:
    data = example_dataset()
    asked = example_queries(data)
    for index in range(len(asked)):
        part, alone = asked.part(index, index + 1), one_query(asked, index)
        assert (part.user_ids, part.texts, part.filters) == (alone.user_ids, alone.texts, alone.filters)
        for name in ("offsets", "items", "events", "weights", "timestamps"):
            np.testing.assert_array_equal(getattr(part.histories, name), getattr(alone.histories, name))
        for name in ("times", "anchors", "text_vectors", "extra_vectors"):
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))
        np.testing.assert_array_equal(part.excluded[0], alone.excluded[0])
        assert len(part.excluded) == 1
        assert all(one is other for one, other in zip(part.allowed, alone.allowed, strict=True))
