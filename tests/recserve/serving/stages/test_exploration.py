"""Exploration: a bounded share, no item twice, and items that do well are shown more."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.config import ExploreConfig
from recserve.data.batches import Candidates
from recserve.serving.stages.exploration import EXPLORED, Rates, explore, rank_probabilities, with_new
from recserve.serving.state.trials import TrialCounts


def ranked(items: list[list[int]]) -> Candidates:
    width = max(len(row) for row in items)
    rows = np.full((len(items), width), -1, dtype=np.int32)
    for index, row in enumerate(items):
        rows[index, : len(row)] = row
    scores = np.where(rows >= 0, -np.arange(width), -np.inf).astype(np.float32)
    return Candidates(rows, scores, ("mf",), scores[:, :, None].copy(), np.full_like(rows, -1))


@settings(max_examples=200, deadline=None)
@given(
    order=st.permutations(list(range(20))),
    share=st.floats(0.01, 0.5),
    first=st.integers(1, 12),
    count=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_a_page_keeps_its_items_and_spares_its_best_places(
    order: list[int], share: float, first: int, count: int, seed: int
) -> None:
    config = ExploreConfig(share=share, first_place=first)
    before = ranked([order, order[:7]])
    after = explore(
        config,
        before,
        np.array([count, min(count, 7)]),
        15,
        TrialCounts.none(5),
        np.random.default_rng(seed),
    ).candidates
    for row in range(2):
        assert sorted(after.items[row].tolist()) == sorted(before.items[row].tolist()), "a permutation"
    assert after.items[0, :first].tolist() == before.items[0, :first].tolist(), "the best places are spared"
    if EXPLORED in after.sources:
        marked = ~np.isnan(after.source_scores[0, :, after.sources.index(EXPLORED)])
        assert (after.items[0][marked] >= 15).all()
        assert marked.sum() <= np.ceil(share * count)


def test_the_share_holds_on_average_and_good_items_win() -> None:
    config = ExploreConfig(share=0.15, first_place=2)
    page = ranked([[*range(10), 100, 101, 102]])
    trials = TrialCounts(np.array([500, 500, 500]), np.array([5, 150, 5]))
    rng = np.random.default_rng(0)
    wins = np.zeros(3, dtype=int)
    for _ in range(400):
        shown = explore(config, page, np.array([10]), 100, trials, rng).candidates.items[0, :10]
        for row in shown[shown >= 100]:
            wins[row - 100] += 1
    assert 520 <= wins.sum() <= 680, "about 1.5 of 10 places a page"
    assert wins[1] == 400, "the item that is clicked is on every page"


def test_new_items_that_rules_cut_away_are_brought_back() -> None:
    before = ranked([[3, 50, 1, 51, 2], [4, 5]])
    page = before.take(np.array([[0, 2, 3], [1, -1, -1]], dtype=np.int32))
    after = with_new(page, before, 50)
    assert after.items.tolist() == [[3, 1, 51, 50], [5, -1, -1, -1]]
    assert after.scores[0].tolist() == [0.0, -2.0, -3.0, -1.0]


def test_without_new_items_nothing_changes() -> None:
    page = ranked([[1, 2, 3]])
    after = explore(
        ExploreConfig(share=0.5), page, np.array([3]), 10, TrialCounts.none(0), np.random.default_rng(0)
    )
    assert after == (page, None)


def test_a_place_has_the_probability_with_which_its_item_gets_it() -> None:
    config = ExploreConfig(share=0.25, first_place=1)
    # Rows from 50 on are new; the one in front of all stands there whatever is drawn.
    page = ranked([[50, *range(9), 51, 52, 53, 54]])
    trials = TrialCounts(np.array([0, 40, 60, 0, 9]), np.array([0, 6, 1, 0, 2]))
    rng = np.random.default_rng(0)
    times, logged = np.zeros((5, 10)), np.full((5, 10), np.nan)
    pages = 6_000
    for _ in range(pages):
        after, propensities = explore(config, page, np.array([10]), 50, trials, rng)
        if propensities is None:
            continue
        for place in np.flatnonzero(~np.isnan(propensities[0])):
            item = after.items[0, place] - 50
            assert item > 0, "chance did not put it there"
            times[item, place] += 1
            logged[item, place] = propensities[0, place]
    shown = times > 0
    assert shown.sum() >= 10
    spread = 5 * np.sqrt(logged[shown] / pages)
    assert (np.abs(times[shown] / pages - logged[shown]) < spread).all()


def test_probabilities_of_ranks_add_up() -> None:
    rates = Rates(np.array([1.0, 1.0, 7.0, 3.0, 150.0]), np.array([20.0, 20.0, 90.0, 300.0, 2000.0]))
    by_rank = np.array([rank_probabilities(rates, item, 5) for item in range(5)])
    np.testing.assert_allclose(by_rank.sum(axis=0), 1.0, atol=1e-4)
    np.testing.assert_allclose(by_rank.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(by_rank[0], by_rank[1], atol=1e-9)
    many = Rates(np.ones(300), np.full(300, 20.0))
    np.testing.assert_allclose(rank_probabilities(many, 0, 2), 1 / 300, rtol=1e-3)
