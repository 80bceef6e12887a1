"""The pipeline: ids at the edge, sessions, live items, and every way to degrade."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve import (
    Candidates,
    Catalogue,
    Event,
    InvalidRequestError,
    Item,
    NotFoundError,
    Queries,
    Reranked,
    Retrieved,
    User,
)
from recserve.data.arrays import Int32Array
from recserve.errors import StoreError
from recserve.serving.requests.request import Recommendation, Request, SessionEvent
from recserve.serving.scenario import ScenarioContext
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.user_cache import UNKNOWN_USER
from recserve.store import Changes, ItemPatch, Position, Store, open_store, parse_url
from recserve.store.sql.database import Database
from recserve.store.sql.store import SqlStore
from tests.support.pipelines import ITEMS, Lab, Nearest, ids, view


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


@pytest.fixture
def lab(store: Store) -> Lab:
    return Lab(store)


def test_nobody_gets_popular_items_and_no_needless_hop(lab: Lab) -> None:
    answer = lab.one(n=3)
    assert len(answer.items) == 3
    assert answer.degraded == ()
    assert lab.client.calls == ["retrieval", "ranking"]
    assert answer.items[0].explanation == "Popular"
    assert set(answer.timings) >= {"retrieval", "ranking", "total"}


def test_an_acknowledged_event_counts_in_the_next_answer(lab: Lab) -> None:
    assert "i11" in ids(lab.one(user_id="u", n=12))
    lab.store.add_events([view("u", "i11")])
    answer = lab.one(user_id="u", n=12)
    assert "i11" not in ids(answer)
    assert {item.explanation for item in answer.items} == {"Because you viewed Title 11"}


def test_a_text_of_unknown_words_is_named_in_its_own_answer(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    known, unknown, none = lab.ask(Request(query="Title 7"), Request(query="TITLE 7"), Request())
    lost = [answer.degraded for answer in (known, unknown, none)]
    assert lost == [("ranking",), ("ranking", "unknown_words"), ("ranking",)]
    assert ids(known)[0] == "i7"
    assert ids(unknown) == ids(none), "the answer to the same request without its text"
    assert {item.explanation for item in unknown.items} == {"Popular"}, "the text led to none of them"


def test_session_text_anchor_and_exclude_combine(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    session = lab.one(session=(SessionEvent("i3"), SessionEvent("i5", "like")), n=12)
    assert {"i3", "i5"}.isdisjoint(ids(session))
    assert session.items[0].explanation == "Because you liked Title 5"
    text = lab.one(query="Title 7", n=2)
    assert ids(text)[0] == "i7"
    assert text.items[0].explanation == "Found for “Title 7”"
    similar = lab.one(item_id="i4", exclude=("i0", "unheard-of"), n=12)
    assert {"i4", "i0"}.isdisjoint(ids(similar))


def test_items_newer_than_the_bundle_count_once_they_are_encoded(lab: Lab) -> None:
    lab.store.upsert_items([Item("new", {"title": "New 9"})])
    assert asyncio.run(lab.pipeline.items.encode_pending()) == 1
    assert asyncio.run(lab.pipeline.items.encode_pending()) == 0
    lab.client.broken = {"ranking"}
    answer = lab.one(session=(SessionEvent("new"),), n=1)
    assert ids(answer) == ["i9"]
    assert answer.items[0].explanation == "Because you viewed New 9"
    assert ids(lab.one(item_id="new", n=1)) == ["i9"]


def test_filters_are_validated_and_hold_on_every_path(lab: Lab) -> None:
    for broken in (set(), {"ranking"}, {"retrieval"}):
        lab.client.broken = broken
        answer = lab.one(filter={"odd": True}, n=12)
        assert sorted(ids(answer), key=lambda one: int(one[1:])) == ["i1", "i3", "i5", "i7", "i9", "i11"]
    bad, unknown, good = lab.ask(
        Request(filter={"odd": "perhaps"}), Request(filter={"even": 1}), Request(filter={"odd": False})
    )
    assert isinstance(bad, InvalidRequestError)
    assert bad.field == "filter.odd"
    assert isinstance(unknown, InvalidRequestError)
    assert "no filter 'even' (known: odd)" in unknown.message
    assert isinstance(good, Recommendation)


def test_one_wrong_request_does_not_spoil_the_batch(lab: Lab) -> None:
    missing, scenario, event, fine = lab.ask(
        Request(item_id="nobody"),
        Request(scenario="hom"),
        Request(session=(SessionEvent("i1", "glance"),)),
        Request(n=1),
    )
    assert isinstance(missing, NotFoundError)
    assert missing.field == "item_id"
    assert isinstance(scenario, NotFoundError)
    assert isinstance(event, InvalidRequestError)
    assert isinstance(fine, Recommendation)


def test_n_larger_than_the_catalogue_gives_everything_once(lab: Lab) -> None:
    assert sorted(ids(lab.one(n=500))) == sorted(item.item_id for item in ITEMS)


def test_lost_ranking_gives_retrieval_order(lab: Lab) -> None:
    ranked = ids(lab.one(n=12))
    lab.client.broken = {"ranking"}
    answer = lab.one(n=12)
    assert answer.degraded == ("ranking",)
    assert ids(answer) != ranked
    assert ids(answer) == [f"i{n}" for n in range(12)]


def test_lost_retrieval_gives_popular_without_seen_items(lab: Lab) -> None:
    lab.store.add_events([view("u", "i0")])
    lab.client.broken = {"retrieval"}
    answer = lab.one(user_id="u", n=3)
    assert answer.degraded == ("retrieval",)
    assert ids(answer) == ["i1", "i2", "i3"]
    assert answer.items[0].sources == ("popular",)


def test_lost_encoding_goes_on_without_text(lab: Lab) -> None:
    lab.client.broken = {"encoding"}
    answer, plain = lab.ask(Request(query="Title 7", n=3), Request(n=3))
    assert isinstance(answer, Recommendation)
    assert isinstance(plain, Recommendation)
    assert answer.degraded == ("encoding",)
    assert plain.degraded == (), "it has no text to encode"
    assert len(answer.items) == 3


def test_a_closed_store_goes_on_with_the_session_and_the_last_known_history(lab: Lab) -> None:
    lab.store.add_events([view("u", "i3"), view("v", "i4")])
    lab.one(user_id="u")
    lab.store.close()
    answer = lab.one(user_id="u", session=(SessionEvent("i5"),), n=12)
    assert answer.degraded == ("store",)
    assert {"i3", "i5"}.isdisjoint(ids(answer))
    assert "i4" in ids(lab.one(user_id="v", n=12)), "v was not served before, so nothing is known"


def test_a_store_that_comes_back_is_used_again(tmp_path: Path) -> None:
    class Flaky(SqlStore):
        down = False

        def version(self) -> int | None:
            return None if self.down else super().version()

        def changes(self, since: Position | None = None) -> Changes | None:
            self.ping()
            return super().changes(since)

        def ping(self) -> None:
            if self.down:
                raise StoreError("connection refused")

    async def story(lab: Lab, store: Flaky) -> None:
        async def ask() -> Recommendation:
            (answer,) = await lab.pipeline.recommend([Request(user_id="u", n=12)])
            assert isinstance(answer, Recommendation)
            return answer

        assert (await ask()).degraded == ()
        store.down = True
        assert (await ask()).degraded == ("store",)
        store.down = False
        store.add_events([view("u", "i3")])
        give_up = time.monotonic() + 20
        while (answer := await ask()).degraded and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        assert answer.degraded == ()
        assert "i3" not in ids(answer)

    with Flaky(Database(parse_url(None, tmp_path)), tmp_path) as store:
        asyncio.run(story(Lab(store), store))


def test_deleted_users_are_forgotten_by_the_cache(lab: Lab) -> None:
    lab.store.add_events([view("u", "i3")])
    lab.one(user_id="u")
    assert lab.reader.users.get("u").history.events
    lab.store.delete_user("u")
    lab.one(user_id="somebody else")
    assert lab.reader.users.get("u") is UNKNOWN_USER


class Broken:
    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        raise ValueError("no")

    def explain(self, reasons: Sequence[Any]) -> list[str]:
        raise ValueError("no")


def test_seeds_are_wanted_where_somebody_asks_why(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[bool] = []
    retrieve = Nearest.retrieve

    def watched(self: Nearest, queries: Queries, k: int) -> Retrieved:
        wanted.append(queries.wants_evidence)
        return retrieve(self, queries, k)

    monkeypatch.setattr(Nearest, "retrieve", watched)
    silent, told = Request(user_id="a", n=3, explain=False), Request(user_id="b", n=3)
    lab.ask(silent, replace(silent, user_id="c"))
    lab.ask(silent, told)
    assert wanted == [False, True]


def test_lost_reranking_and_explaining_keep_the_ranked_list(store: Store) -> None:
    lab = Lab(store, rerankers=[Broken()], explainer=Broken())
    answer = lab.one(n=2)
    assert set(answer.degraded) == {"reranker:rule0", "explaining"}
    assert ids(answer) == ["i11", "i10"]
    assert answer.items[0].explanation is None


def test_a_page_that_a_reranker_could_not_order_is_degraded_and_not_cached(store: Store) -> None:
    class Partly:
        lost: str | None = "late"

        def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array | Reranked:
            order = np.tile(np.arange(ranked.items.shape[1], dtype=np.int32)[::-1], (len(queries), 1))
            return Reranked(order[:, ::-1], self.lost) if self.lost else order

    reranker = Partly()
    lab = Lab(store, rerankers=[reranker], cache=ResultCache(10))
    answer = lab.one(n=2)
    assert (answer.degraded, answer.causes) == (("reranker:rule0",), ("late",))
    assert ids(answer) == ["i11", "i10"]
    reranker.lost = None
    again = lab.one(n=2)
    assert again.degraded == ()
    assert ids(again) == ["i0", "i1"]


def test_without_explanations(lab: Lab) -> None:
    assert {item.explanation for item in lab.one(explain=False).items} == {None}


def test_a_new_item_is_found_and_ranked_a_hidden_or_expired_one_is_gone(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    item = Item("new", {"title": "Seven 7", "odd": 1})
    vectors = asyncio.run(lab.pipeline.items.vectors([item]))
    assert vectors is not None
    lab.store.upsert_items([item], vectors)
    found = lab.one(query="Title 7", n=3)
    assert {"i7", "new"} < set(ids(found))
    assert found.items[ids(found).index("new")].attributes == {"title": "Seven 7", "odd": 1}
    assert "new" in ids(lab.one(query="Title 7", filter={"odd": True}, n=3))
    assert "new" not in ids(lab.one(query="Title 7", filter={"odd": False}, n=12))
    lab.client.broken = set()
    assert lab.one(query="Title 7", n=12).items[0].item_id == "new", "the ranker prefers high rows"
    lab.store.patch_items([ItemPatch("new", hidden=True)])
    assert "new" not in ids(lab.one(query="Title 7", n=13))
    lab.store.patch_items([ItemPatch("new", hidden=False, expires_at=1)])
    assert "new" not in ids(lab.one(query="Title 7", n=13))
    lab.store.upsert_items(ITEMS)
    lab.store.delete_items(["i7"])
    assert "i7" not in ids(lab.one(query="Title 7", n=13))


def test_hidden_items_are_gone_on_every_path(lab: Lab) -> None:
    lab.store.upsert_items([Item("i0", ITEMS[0].attributes, hidden=True)])
    for broken in (set(), {"ranking"}, {"retrieval"}):
        lab.client.broken = broken
        assert "i0" not in ids(lab.one(n=12))
    assert "i0" not in ids(lab.one(items=("i1", "i0", "i2"), n=3))


def test_a_changed_item_is_found_by_what_it_says_now(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    changed = Item("i3", {"title": "Now 8", "odd": 1})
    lab.store.upsert_items([changed], asyncio.run(lab.pipeline.items.vectors([changed])))
    answer = lab.one(query="Title 8", n=3)
    assert {"i8", "i3"} < set(ids(answer))
    assert answer.items[ids(answer).index("i3")].attributes["title"] == "Now 8"
    assert "i3" not in ids(lab.one(query="Title 3", n=1))


def test_ranking_what_the_caller_brings(lab: Lab) -> None:
    lab.store.add_events([view("u", "i2")])
    answer = lab.one(user_id="u", items=("i1", "i9", "i2", "unknown", "i1"), n=5)
    assert ids(answer) == ["i9", "i2", "i1"], "ranked, once each, seen ones included"
    lab.client.broken = {"ranking"}
    assert ids(lab.one(items=("i1", "i9"), n=5)) == ["i1", "i9"]


def test_ranks_go_on_after_earlier_pages(lab: Lab) -> None:
    assert [item.rank for item in lab.one(n=3, offset=10).items] == [11, 12, 13]


def test_seen_items_by_policy(lab: Lab) -> None:
    now = time.time_ns() // 1_000_000
    lab.store.add_events([view("u", "i11", now), view("u", "i10", now - 400 * 86_400_000)])
    assert {"i10", "i11"}.isdisjoint(ids(lab.one(user_id="u", n=12)))
    assert ids(lab.one(user_id="u", n=2, seen="allow")) == ["i11", "i10"]
    decayed = ids(lab.one(user_id="u", n=12, seen="decay"))
    assert decayed[0] == "i10", "seen long ago: as good as any"
    assert decayed[-1] == "i11", "seen just now: last"


def test_stated_interests_count_until_there_is_a_history(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    lab.store.upsert_users([User("u", {"interests": ["Title 7"], "city": "Title 2"})])
    answer = lab.one(user_id="u", n=1)
    assert ids(answer) == ["i7"]
    assert answer.items[0].explanation == "Fits your interests: Title 7"
    lab.store.add_events([view("u", f"i{n}") for n in (0, 1, 2, 3, 4)])
    lab.client.calls.clear()
    lab.one(user_id="u", n=1)
    assert "encoding" not in lab.client.calls


def test_new_items_get_their_share_of_pages(store: Store) -> None:
    lab = Lab(store, explore={"share": 0.2, "first_place": 2}, seen="allow")
    news = [Item(f"new-{n}", {"title": f"New {n}"}) for n in range(3)]
    lab.store.upsert_items(news, asyncio.run(lab.pipeline.items.vectors(news)))
    places: list[int] = []
    for _ in range(50):
        answer = lab.one(session=(SessionEvent("i5"),), n=10)
        assert len(set(ids(answer))) == 10
        explored = [item for item in answer.items if "explore" in item.sources]
        assert {item.item_id for item in explored} <= {one.item_id for one in news}
        places += [item.rank for item in explored]
        lab.pipeline.trials.shown([answer])
    lab.store.flush()
    assert len(places) == 100, "a fifth of 500 places"
    shown = lab.store.trials([one.item_id for one in news])
    assert sum(trial.shown for trial in shown.values()) >= 100
    clicks = [Event("u", "new-1", "click", 1, recommendation_id="r"), Event("u", "new-0", "dislike", 1)]
    lab.pipeline.trials.clicked(clicks)
    lab.store.flush()
    assert lab.store.trials(["new-0", "new-1"])["new-1"].clicked == 1


def test_a_place_that_chance_fills_keeps_its_probability(store: Store) -> None:
    lab = Lab(store, explore={"share": 0.25, "first_place": 2}, seen="allow")
    news = [Item(f"new-{n}", {"title": f"New {n}"}) for n in range(3)]
    lab.store.upsert_items(news, asyncio.run(lab.pipeline.items.vectors(news)))
    kept: list[float] = []
    for _ in range(20):
        answer = lab.one(scenario="plain", session=(SessionEvent("i5"),), n=10)
        if not answer.propensities:
            continue
        for item, propensity in zip(answer.items, answer.propensities, strict=True):
            if propensity is not None:
                assert "explore" in item.sources
                kept.append(propensity)
    assert kept
    # Three items that nobody has seen yet: each has a third of a place, the third place half the time.
    assert {round(propensity, 3) for propensity in kept} <= {round(1 / 3, 3), round(1 / 6, 3)}


def test_a_rule_that_cannot_live_with_a_new_item_does_not_stop_the_others(lab: Lab) -> None:
    lab.store.upsert_items([Item("odd one", {"title": "Seven 7"})])
    asyncio.run(lab.pipeline.items.encode_pending())
    build = lab.build

    def refuse(catalogue: Catalogue) -> ScenarioContext:
        if len(catalogue) > 12:
            raise ValueError("cannot")
        return build(catalogue)

    lab.build = refuse
    lab.store.upsert_items([Item("i1", ITEMS[1].attributes, hidden=True)])
    for _ in range(3):
        answer = lab.one(query="Title 7", n=12)
        assert answer.degraded == ()
        assert {"odd one", "i1"}.isdisjoint(ids(answer))
