"""The rerankers ``discount`` and ``renew``: what the user was shown decides, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recserve import Candidates, Catalogue, Histories, Impressions, Queries
from recserve.config import ComponentConfig
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry

REGISTRY = Registry.discover(only=["rules"])
DAY, MINUTE = 86_400_000, 60_000
NOW = 1_000 * DAY


def order(
    name: str,
    shown: list[tuple[int, int]] | None,
    clicks: list[tuple[int, int, float]] = (),
    items: int = 8,
    n: int = 4,
    **params: Any,
) -> list[int]:
    """Rows in the order that a reranker gives them, of a list in the order of rows.

    Args:
        name: The reranker.
        shown: Row and moment of each impression.
        clicks: Row, moment and weight of each event.
        items: Length of the list.
        n: Length of the page.
        params: Of the reranker.
    """
    config = ComponentConfig(use=name, params=params)
    reranker = REGISTRY.choose(Stage.RERANKER, config, "rerankers[0]").build(Catalogue())
    rows = np.arange(items, dtype=np.int32)[None]
    scores = -rows.astype(np.float32)
    ranked = Candidates(rows, scores, ("a",), scores[:, :, None], np.full_like(rows, -1))
    histories = Histories(
        np.array([0, len(clicks)]),
        np.array([row for row, _, _ in clicks], dtype=np.int32),
        np.zeros(len(clicks), dtype=np.int16),
        np.array([weight for _, _, weight in clicks], dtype=np.float32),
        np.array([moment for _, moment, _ in clicks], dtype=np.int64),
    )
    queries = Queries.of(histories, np.array([NOW]))
    if shown is not None:
        columns = np.array(shown, dtype=np.int64).reshape(-1, 2)
        impressions = Impressions.of([(columns[:, 0].astype(np.int32), columns[:, 1])])
        queries = replace(queries, impressions=impressions)
    positions = reranker.rerank(queries, ranked, n)
    return [int(position) for position in positions[0]]


@pytest.mark.parametrize("name", ["discount", "renew"])
def test_who_was_shown_nothing_keeps_the_order(name: str) -> None:
    assert order(name, None) == list(range(8))
    assert order(name, []) == list(range(8))


def test_an_item_sinks_with_every_impression() -> None:
    places = [order("discount", [(0, NOW)] * times, weight=0.3).index(0) for times in range(11)]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[10] > places[3] > places[1] >= 0


def test_the_discount_is_as_documented() -> None:
    # Places 0 to 7 are .4364 standard deviations apart.
    apart = 1 / np.std(np.arange(8))
    for times in (1, 3, 10):
        weight = (2 * apart + 0.01) / np.log2(1 + times)
        assert order("discount", [(0, NOW)] * times, weight=weight)[:3] == [1, 2, 0]
        weight = (2 * apart - 0.01) / np.log2(1 + times)
        assert order("discount", [(0, NOW)] * times, weight=weight)[:3] == [1, 0, 2]


def test_an_item_that_is_left_alone_comes_back() -> None:
    shown = [(0, NOW - 70 * DAY)] * 10
    assert order("discount", shown, half_life_days=7) == list(range(8))
    assert order("discount", shown, half_life_days=1_000)[0] != 0


def test_a_click_resets_the_discount_and_a_dislike_does_not() -> None:
    shown = [(0, NOW - DAY)] * 10
    assert order("discount", shown)[0] == 1
    assert order("discount", shown, [(0, NOW - DAY // 2, 1.0)]) == list(range(8))
    assert order("discount", shown, [(0, NOW - DAY // 2, -1.0)])[0] == 1
    assert order("discount", shown, [(1, NOW - DAY // 2, 1.0)])[0] == 1
    assert order("discount", shown, [(0, NOW - 2 * DAY, 1.0)])[0] == 1, "it was shown again since"


def test_a_share_of_the_page_is_new_on_the_next_visit() -> None:
    last = [(row, NOW - DAY) for row in range(4)]
    assert order("renew", last, share=0.5)[:4] == [0, 1, 4, 5]
    assert order("renew", last, share=0.3)[:4] == [0, 1, 4, 5], "rounded up"
    assert order("renew", last, share=0.25)[:4] == [0, 1, 2, 4]
    assert order("renew", last, share=0) == list(range(8))
    assert order("renew", last, share=1)[:4] == [4, 5, 6, 7]
    assert sorted(order("renew", last, share=1)) == list(range(8)), "nothing is lost"
    assert order("renew", last, share=1, items=6)[:4] == [4, 5, 0, 1], "the page is filled after all"


def test_a_page_stays_within_a_visit() -> None:
    last = [(row, NOW - DAY) for row in range(4)]
    page = order("renew", last, share=0.5)
    now = [(row, NOW - 5 * MINUTE) for row in page[:4]]
    assert order("renew", last + now, share=0.5) == page
    later = [(row, NOW - 60 * MINUTE) for row in page[:4]]
    assert order("renew", last + later, share=0.5)[:4] == [0, 1, 2, 3], (
        "a new visit renews the last one's page"
    )
    assert order("renew", last + later, share=0.5, visit_minutes=120) == page


def test_items_of_the_visit_before_the_last_may_come_back() -> None:
    shown = [(row, NOW - 2 * DAY) for row in range(4)] + [(row, NOW - DAY) for row in range(4, 8)]
    assert order("renew", shown, share=1)[:4] == [0, 1, 2, 3]
