"""Blended orders and the choice of their weight."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_cross_encoder.blending import FEWEST_USERS, blended, choose_weight

from recserve import Candidates, Histories, Queries, RankingExamples

NAN = float("nan")


def ranked(scores: list[list[float]], pads: int = 0) -> Candidates:
    given = np.array(scores, dtype=np.float32)
    items = np.arange(given.size, dtype=np.int32).reshape(given.shape)
    if pads:
        items[:, -pads:], given[:, -pads:] = -1, -np.inf
    nothing = np.empty((*given.shape, 0), dtype=np.float32)
    return Candidates(items, given, (), nothing, np.full(given.shape, -1, dtype=np.int32))


def read(*scores: float) -> np.ndarray:
    return np.array([scores], dtype=np.float32)


def test_weight_0_changes_nothing_and_weight_1_goes_by_the_cross_encoder():
    list_of_4 = ranked([[9, 5, 4, 1]])
    assert blended(list_of_4, read(-1, 0, 1, 2), 0.0).tolist() == [[0, 1, 2, 3]]
    assert blended(list_of_4, read(-1, 0, 1, 2), 1.0).tolist() == [[3, 2, 1, 0]]


def test_scores_of_any_scale_weigh_the_same():
    once = blended(ranked([[9, 5, 4, 1]]), read(0, 1, 0, 2), 0.4)
    again = blended(ranked([[900, 500, 400, 100]]), read(0, 0.001, 0, 0.002), 0.4)
    assert once.tolist() == again.tolist()


def test_places_below_the_depth_stay_below():
    assert blended(ranked([[9, 5, 4, 1]]), read(-1, 1), 1.0).tolist() == [[1, 0, 2, 3]]


def test_what_an_earlier_step_did_to_the_order_stands():
    """Scores that rise along the list are those of a list that something has reordered."""
    assert blended(ranked([[1, 9, 5]]), read(NAN, NAN, NAN), 0.5).tolist() == [[0, 1, 2]]


def test_a_candidate_without_a_score_has_the_mean():
    assert blended(ranked([[5, 5, 5]]), read(-1, NAN, 1), 1.0).tolist() == [[2, 1, 0]]


def test_pads_come_last_and_equal_scores_keep_their_order():
    assert blended(ranked([[3, 2, 1, 0]], pads=2), read(1, 1, NAN, NAN), 1.0).tolist() == [[0, 1, -1, -1]]
    empty = ranked([[0, 0]], pads=2)
    assert blended(empty, read(NAN, NAN), 0.5).tolist() == [[-1, -1]]


def examples(users: int) -> RankingExamples:
    """Lists of five of which the last item is the one that was liked."""
    candidates = ranked([[5, 4, 3, 2, 1]] * users)
    labels = np.zeros((users, 5), dtype=np.float32)
    labels[:, 4] = 1
    queries = Queries.of(Histories.empty(users), np.zeros(users, dtype=np.int64))
    return RankingExamples(queries, candidates, labels, np.arange(users, dtype=np.int32))


@pytest.mark.parametrize(("liked", "useful"), [(1.0, True), (-1.0, False), (0.0, False)])
def test_the_weight_is_0_unless_it_makes_lists_better(liked, useful):
    scores = np.zeros((40, 5), dtype=np.float32)
    scores[:, 4] = liked
    weight, facts = choose_weight(examples(40), scores)
    assert (weight > 0) == useful
    assert facts["gain"]["0.0"] == 0
    assert facts["users"] == 40


def test_a_gain_within_its_error_does_not_count():
    """Half of the users gain what the other half loses, but for a little."""
    given = examples(40)
    given.labels[::2] = 0
    given.labels[::2, 0] = 1
    scores = np.tile(np.array([-1.0, 0, 0, 0, 1.0], dtype=np.float32), (40, 1))
    weight, facts = choose_weight(given, scores)
    assert weight == 0
    assert max(facts["gain"].values()) <= facts["standard_error"]


def test_a_few_users_tell_nothing():
    scores = np.ones((FEWEST_USERS - 1, 5), dtype=np.float32)
    assert choose_weight(examples(FEWEST_USERS - 1), scores)[0] == 0
