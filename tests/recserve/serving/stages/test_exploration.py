"""Exploration: a bounded share, no item twice, and items that do well are shown more."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.config import ExploreConfig
from recserve.data.batches import Candidates
from recserve.serving.stages.exploration import EXPLORED, explore, with_new
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
    )
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
        shown = explore(config, page, np.array([10]), 100, trials, rng).items[0, :10]
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
    assert after is page
