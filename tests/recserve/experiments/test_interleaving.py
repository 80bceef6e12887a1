"""Team draft: what every page must be, and whom clicks prefer."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve.errors import DataError
from recserve.experiments.interleaving import FIRST, SECOND, SHARED, draft, preference
from recserve.experiments.statistics.sequential import always_valid_interval


def credited(pages, clicked):
    """The preference of users who have a page each."""
    teams = [[drafted.team for drafted in page] for page in pages]
    clicks = np.zeros((2, len(pages)))
    for user, (drawn, hits) in enumerate(zip(teams, clicked, strict=True)):
        for team, hit in zip(drawn, hits, strict=True):
            if team != SHARED:
                clicks[team, user] += hit
    return preference(*clicks)


rankings = st.lists(st.integers(0, 12), unique=True, max_size=10)


@given(rankings, rankings, st.integers(0, 12), st.integers(0, 2**32))
def test_every_prefix_of_a_page_is_fair_and_without_duplicates(first, second, length, seed):
    page = draft(first, second, length, random.Random(seed))
    items = [drafted.item for drafted in page]
    assert len(set(items)) == len(items) == min(length, len({*first, *second}))
    assert {*items} <= {*first, *second}
    for end in range(len(page) + 1):
        sizes = Counter(drafted.team for drafted in page[:end])
        assert abs(sizes[FIRST] - sizes[SECOND]) <= 1


@given(rankings, rankings, st.integers(0, 2**32))
def test_a_team_picks_its_best_item_that_is_left(first, second, seed):
    lists = {FIRST: first, SECOND: second}
    picked: set[int] = set()
    for drafted in draft(first, second, 12, random.Random(seed)):
        teams = [FIRST, SECOND] if drafted.team == SHARED else [drafted.team]
        left = [[item for item in lists[team] if item not in picked] for team in teams]
        assert all(rest[0] == drafted.item for rest in left if rest)
        picked.add(drafted.item)


@given(rankings, st.integers(0, 12), st.integers(0, 2**32))
def test_equal_rankings_give_that_ranking_and_no_preference(ranking, length, seed):
    page = draft(ranking, ranking, length, random.Random(seed))
    assert [drafted.item for drafted in page] == ranking[:length]
    assert {drafted.team for drafted in page} <= {SHARED}
    assert credited([page], [[True] * len(page)]).units == 0


@given(rankings, rankings, st.integers(0, 2**32))
def test_what_only_a_list_has_left_is_nobodys_pick(first, second, seed):
    page = draft(first, second, 25, random.Random(seed))
    seen: set[int] = set()
    for drafted in page:
        if not {*first} - seen or not {*second} - seen:
            assert drafted.team == SHARED
        seen.add(drafted.item)


def test_both_lists_begin_equally_often():
    coins = random.Random(0)
    starts = Counter(draft("ab", "cd", 4, coins)[0].item for _ in range(2000))
    assert set(starts) == {"a", "c"}
    assert abs(starts["a"] - 1000) < 100


def test_whoever_clicks_at_random_prefers_neither():
    """Clicks that depend on the place alone: the mean preference of many pages is zero."""
    coins, generator = random.Random(1), np.random.default_rng(1)
    pages = [draft([1, 2, 3, 4, 5], [1, 4, 3, 6, 7], 5, coins) for _ in range(4000)]
    found = credited(pages, (generator.random((4000, 5)) < 0.5 / np.arange(1, 6)).tolist()).estimate()
    assert abs(found.value) < 3 * np.sqrt(found.variance)
    assert np.sqrt(found.variance) < 0.02


def test_clicks_on_the_items_of_a_list_prefer_it():
    coins, generator = random.Random(2), np.random.default_rng(2)
    liked = {6: 0.4, 7: 0.4}
    pages = [draft([1, 2, 3, 4, 5], [1, 6, 7, 2, 3], 5, coins) for _ in range(500)]
    clicked = [[generator.random() < liked.get(drafted.item, 0.1) for drafted in page] for page in pages]
    interval = always_valid_interval(credited(pages, clicked).estimate(), 0.1)
    assert 0.0 < interval.low < interval.high <= 1.0


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="at least 0 items"):
        draft([1], [2], -1, random.Random(0))
    with pytest.raises(DataError, match="one entry a unit"):
        preference(np.zeros(2), np.zeros(3))
