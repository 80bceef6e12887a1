"""Answers that are given again: exactly as long as they would come out the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recserve import Event, Item, User
from recserve.config import ExploreConfig
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request, SessionEvent
from recserve.serving.state.result_cache import ResultCache
from recserve.store import ItemPatch, Store, open_store
from tests.support.pipelines import Lab, ids, view


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def remembering(store: Store, seconds: float = 60.0, size: int = 100, **settings: Any) -> Lab:
    return Lab(store, cache=ResultCache(size, seconds), **settings)


@pytest.fixture
def lab(store: Store) -> Lab:
    return remembering(store)


def hops(lab: Lab, **fields: Any) -> list[str]:
    """Stages that answering takes."""
    lab.client.calls.clear()
    lab.one(**fields)
    return lab.client.calls


def test_the_same_question_needs_no_stage_and_gets_another_id(lab: Lab) -> None:
    lab.store.add_events([view("u", "i3")])
    first = lab.one(user_id="u")
    lab.client.calls.clear()
    again = lab.one(user_id="u")
    assert lab.client.calls == []
    assert again.items == first.items
    assert again.recommendation_id != first.recommendation_id
    assert set(again.timings) == {"history", "total"}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 3},
        {"explain": False},
        {"query": "Title 7"},
        {"item_id": "i4"},
        {"exclude": ("i1",)},
        {"filter": {"odd": True}},
        {"context": {"device": "tv"}},
        {"session": (SessionEvent("i5"),)},
        {"items": ("i1", "i2")},
        {"seen": "allow"},
        {"offset": 10},
        {"user_id": "v"},
    ],
)
def test_another_question_is_answered_anew(lab: Lab, fields: dict[str, Any]) -> None:
    lab.one(user_id="u")
    assert "ranking" in hops(lab, **{"user_id": "u", **fields})
    assert hops(lab, **{"user_id": "u", **fields}) == []


def test_whatever_the_user_does_or_says_has_it_made_anew(lab: Lab) -> None:
    lab.one(user_id="u")
    lab.store.add_events([view("u", "i3")])
    assert "i3" not in ids(lab.one(user_id="u", n=12))
    lab.store.add_events([view("u", "i4", 1)])
    assert "i4" not in ids(lab.one(user_id="u", n=12)), "an event that comes late counts as well"
    assert hops(lab, user_id="u", n=12) == []
    lab.store.upsert_users([User("u", {"interests": "Title 9"})])
    assert "encoding" in hops(lab, user_id="u", n=12)
    lab.store.merge_user("u", "v")
    assert {"i3", "i4"} <= set(ids(lab.one(user_id="u", n=12)))


def test_what_others_do_does_not(lab: Lab) -> None:
    lab.one(user_id="u")
    lab.store.add_events([view("v", "i3")])
    assert hops(lab, user_id="u") == []


def test_a_change_of_the_catalogue_counts_at_once(lab: Lab) -> None:
    assert "i5" in ids(lab.one(user_id="u", n=12))
    lab.store.upsert_items([Item("i5", {"title": "Title 5", "odd": 1})])
    lab.store.patch_items([ItemPatch("i5", hidden=True)])
    assert "i5" not in ids(lab.one(user_id="u", n=12))
    lab.store.patch_items([ItemPatch("i5", hidden=False)])
    assert "i5" in ids(lab.one(user_id="u", n=12))


def test_an_item_expires_in_an_answer_that_is_remembered(lab: Lab) -> None:
    soon = int(time.time() * 1000) + 1500
    lab.store.upsert_items([Item("i5", {"title": "Title 5", "odd": 1}, expires_at=soon)])
    assert "i5" in ids(lab.one(n=12))
    assert hops(lab, n=12) == []
    time.sleep(max(soon / 1000 - time.time(), 0) + 0.05)
    assert "i5" not in ids(lab.one(n=12))


def test_time_ends_it(store: Store) -> None:
    lab = remembering(store, seconds=0.2)
    lab.one()
    time.sleep(0.25)
    assert hops(lab) != []


def test_what_was_degraded_or_drew_lots_is_not_kept(store: Store) -> None:
    lab = remembering(store)
    lab.client.broken = {"ranking"}
    assert lab.one().degraded == ("ranking",)
    lab.client.broken = set()
    assert lab.one().degraded == ()
    exploring = remembering(store, explore=ExploreConfig(share=0.1))
    assert hops(exploring) == hops(exploring) != []


def test_without_the_store_nothing_is_taken_for_unchanged(lab: Lab) -> None:
    lab.one(user_id="u")
    lab.store.close()
    assert lab.one(user_id="u").degraded == ("store",)


def test_who_asks_the_same_at_the_same_time_gets_the_same_from_one_pass(lab: Lab) -> None:
    first, second, other = lab.ask(Request(n=3), Request(n=3), Request(n=4))
    assert isinstance(first, Recommendation)
    assert isinstance(second, Recommendation)
    assert isinstance(other, Recommendation)
    assert first.items == second.items
    assert first.recommendation_id != second.recommendation_id
    assert len(other.items) == 4
    assert lab.client.calls == ["retrieval", "ranking"]


def test_a_deleted_user_is_forgotten_here_too(lab: Lab) -> None:
    lab.store.add_events([view("u", "i3")])
    lab.one(user_id="u")
    assert lab.pipeline.cache.users() == {"u"}
    lab.store.delete_user("u")
    lab.one(user_id="somebody else")
    assert "u" not in lab.pipeline.cache.users()
    lab.one(user_id="somebody else")
    assert lab.pipeline.cache.users() == {"somebody else"}


def test_only_so_many_are_kept(store: Store) -> None:
    lab = remembering(store, size=2)
    for user in "abc":
        lab.one(user_id=user)
    assert lab.pipeline.cache.users() == {"b", "c"}
    assert hops(lab, user_id="a") != []


def test_an_acknowledged_event_counts_although_answers_are_being_made(lab: Lab) -> None:
    """Whatever the interleaving, an answer that was asked for after an event knows of it."""

    async def story() -> None:
        for number in range(10):
            asked = [lab.pipeline.recommend([Request(user_id="u", n=12)]) for _ in range(3)]
            running = [asyncio.ensure_future(one) for one in asked]
            await asyncio.sleep(0)
            await asyncio.to_thread(lab.store.add_events, [Event("u", f"i{number}", "view", number)])
            (answer,) = await lab.pipeline.recommend([Request(user_id="u", n=12)])
            assert isinstance(answer, Recommendation)
            assert f"i{number}" not in ids(answer)
            await asyncio.gather(*running)

    asyncio.run(story())


def test_answers_of_bundles_that_serve_side_by_side_do_not_drive_each_other_out(store: Store) -> None:
    """An arm of an experiment may have a bundle of its own."""
    cache = ResultCache(100, 60.0)
    lab, other = Lab(store, cache=cache), Lab(store, cache=cache)
    other.pipeline = Pipeline(
        lambda catalogue: replace(other.build(catalogue), bundle="b2"),
        other.reader,
        other.client,
        cache=cache,
    )
    for one in (lab, other):
        one.one(user_id="u")
        one.client.calls.clear()
    for one in (lab, other, lab, other):
        one.one(user_id="u")
    assert lab.client.calls == other.client.calls == []
    # What happens to the catalogue is followed by each.
    store.upsert_items([Item("new", {"title": "New", "odd": 0})])
    for one in (lab, other):
        one.one(user_id="u")
        assert one.client.calls
