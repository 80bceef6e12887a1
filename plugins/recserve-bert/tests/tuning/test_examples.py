from __future__ import annotations

import numpy as np
import pytest
from recserve_bert.tuning.examples import Examples, Recent

from recserve.testing import example_dataset


@pytest.fixture(scope="module")
def positive():
    return example_dataset().positive()


@pytest.fixture(scope="module")
def examples(positive) -> Examples:
    return Examples(positive, length=4, half_life=2.0)


def test_an_example_sees_what_its_user_liked_before_and_no_more(positive, examples):
    histories = positive.histories
    chosen = np.arange(len(examples))
    recent = examples.recent(chosen)
    place = 0
    for user in range(len(histories)):
        items = histories.items[histories.offsets[user] : histories.offsets[user + 1]]
        for before in range(1, len(items)):
            seen = recent.rows[place][recent.rows[place] >= 0]
            assert examples.targets[place] == items[before]
            np.testing.assert_array_equal(seen, items[max(before - 4, 0) : before][::-1])
            place += 1
    assert place == len(examples)
    np.testing.assert_allclose(recent.shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        recent.shares[recent.rows[:, 2] >= 0][:, 2] * 2,
        recent.shares[recent.rows[:, 2] >= 0][:, 0],
        rtol=1e-5,
    )


def test_likes_are_those_of_all_times(positive, examples):
    chosen = np.array([0, len(examples) - 1])
    everything = np.arange(positive.n_items, dtype=np.int32)
    matrix = positive.matrix()
    first, last = examples.likes(chosen, everything)
    users = np.unique(positive.users)
    np.testing.assert_array_equal(first, matrix[[users[0]]].toarray()[0] > 0)
    np.testing.assert_array_equal(last, matrix[[users[-1]]].toarray()[0] > 0)


def test_hard_negatives_are_what_neighbours_suggest_and_the_user_has_not_met(positive):
    examples = Examples(positive, length=50, half_life=1e6)
    chosen = np.arange(len(examples))[:: len(examples) // 20]
    hard = examples.proposals(chosen, 200, np.random.default_rng(0), among=5)
    likes = examples.likes(chosen, np.arange(positive.n_items, dtype=np.int32))
    met = (positive.matrix().toarray() > 0).astype(np.float64)
    cosine = met.T @ met / np.sqrt(np.outer(positive.item_counts, positive.item_counts))
    recent = examples.recent(chosen)
    for row, drawn in enumerate(hard):
        history = recent.rows[row][recent.rows[row] >= 0]
        scores = np.where(likes[row], -1, cosine[history].sum(axis=0))
        fifth = np.sort(scores)[-5]
        assert not likes[row][drawn].any()
        assert (scores[drawn] >= fifth - 1e-6).all()
    for row, place in enumerate(examples.places(chosen)):
        history = recent.rows[row][recent.rows[row] >= 0]
        near = cosine[history].sum(axis=0)
        before = (near[~likes[row]] > near[examples.targets[chosen[row]]] + 1e-6).sum()
        assert abs(int(place) - before) <= 1


def test_histories_become_vectors():
    histories = example_dataset().histories.select(np.array([0, 3]))
    recent = Recent.last(histories, 3, 1.0)
    table = np.eye(60, dtype=np.float32)
    vectors = recent.vectors(table)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0, histories.items[histories.offsets[1] - 1]] == vectors[0].max()
    nobody = Recent.last(histories.where(np.zeros(len(histories.items), dtype=bool)), 3, 1.0)
    np.testing.assert_array_equal(nobody.vectors(table), 0)
