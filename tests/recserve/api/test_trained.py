"""The API in front of a really trained bundle: every built-in stage, real BERT, no Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from recserve.api.schemas.about import PluginsAnswer
from recserve.api.schemas.responses import AudienceAnswer, PageAnswer, RankAnswer

Post = Callable[[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def post(trained: FastAPI) -> Post:
    """Ask a server over a copy of the trained home; without a body it is a GET."""

    async def ask(path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(trained)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await (client.get(path) if body is None else client.post(path, json=body))

    def send(path: str, body: Any) -> dict[str, Any]:
        response = asyncio.run(ask(path, body))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    # The first text loads the encoder, which may take longer than a stage's deadline.
    send("/v1/recommend", {"query": "warm up"})
    return send


def ids(answer: dict[str, Any]) -> list[str]:
    (RankAnswer if "left_out" in answer else PageAnswer).model_validate(answer)
    assert answer["degraded"] == []
    return [item["item_id"] for item in answer["items"]]


def test_every_stage_serves_and_an_event_changes_the_next_answer(post: Post) -> None:
    user = "somebody new"
    popular = post("/v1/recommend", {"user_id": user})
    assert {"history", "retrieval", "ranking", "total"} <= set(popular["timings"])
    clicked = ids(popular)[-1]
    post("/v1/events", {"user_id": user, "item_id": clicked, "event": "like"})
    personal = post("/v1/recommend", {"user_id": user})
    assert clicked not in ids(personal)
    assert ids(personal) != ids(popular)
    sources = {source for item in personal["items"] for source in item["sources"]}
    assert {"mf", "content"} <= sources
    assert post(f"/v1/users/{user}/history", None)["events"][0]["item_id"] == clicked


def test_a_session_is_served_like_the_same_stored_history(post: Post) -> None:
    steps = [{"item_id": item, "event": "like"} for item in ids(post("/v1/recommend", {}))[:3]]
    moments = [{**step, "timestamp": 1_700_000_000 + second} for second, step in enumerate(steps)]
    post("/v1/events", {"events": [{"user_id": "stored", **moment} for moment in moments]})
    assert ids(post("/v1/recommend", {"user_id": "stored"})) == ids(
        post("/v1/recommend", {"session": moments})
    )


def test_free_text_and_similar_items_go_through_bert(post: Post) -> None:
    item_id = ids(post("/v1/recommend", {"n": 1}))[0]
    title = post(f"/v1/items/{item_id}", None)["title"]
    found = post("/v1/recommend", {"query": title})
    assert "encoding" in found["timings"]
    assert item_id in ids(found)
    assert f"“{title}”" in found["items"][0]["explanation"]
    similar = ids(post("/v1/similar", {"item_id": item_id, "n": 5}))
    assert len(similar) == 5
    assert item_id not in similar


@pytest.mark.parametrize("query", ["机器人太空歌剧", "苹果手机"])
def test_a_query_that_the_encoder_does_not_know_is_said(post: Post, query: str) -> None:
    unread = post("/v1/recommend", {"query": query})
    assert unread["degraded"] == ["unknown_words"]
    found = [item["item_id"] for item in unread["items"]]
    assert found == ids(post("/v1/recommend", {})), "the answer without the text"
    assert post("/v1/recommend", {"query": "space trains 🚀"})["degraded"] == []


def test_a_trained_ranker_puts_users_in_order_for_an_item(post: Post) -> None:
    item = {"item_id": "new-train", "attributes": {"title": "Trains number 99", "topic": "trains"}}
    assert post("/v1/items", {"items": [item]})["encoded"] == 1
    # The catalogue follows when it is next read.
    post("/v1/recommend", {})
    answer = post("/v1/items/new-train/audience", {"limit": 80})
    AudienceAnswer.model_validate(answer)
    assert len(answer["users"]) == 80 <= answer["considered"]
    scores = [user["score"] for user in answer["users"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]
    # What is known in the bundle and what is not are put in order alike: by one look at the users.
    known = post("/v1/items/item-3/audience", {"limit": 80})
    assert [user["user_id"] for user in known["users"]] != [user["user_id"] for user in answer["users"]]


def test_a_scenario_by_name(post: Post) -> None:
    answer = post("/v1/recommend", {"scenario": "plain"})
    assert answer["scenario"] == "plain"
    assert "ranking" not in answer["timings"]


def test_all_built_in_plugins_are_listed_with_their_parameters(post: Post) -> None:
    answer = PluginsAnswer.model_validate(post("/v1/plugins", None))
    assert [plugin.error for plugin in answer.plugins] == [None] * len(answer.plugins)
    components = {component.name for plugin in answer.plugins for component in plugin.components}
    assert {"mf", "content", "popular", "bert", "bert_lstm", "movielens-small", "template"} <= components
    reading = {
        component.name
        for plugin in answer.plugins
        for component in plugin.components
        if component.needs_vectors
    }
    assert {"content", "bert_lstm"} <= reading
    assert not {"mf", "popular"} & reading
    for plugin in answer.plugins:
        for component in plugin.components:
            assert component.summary, component.name
            assert component.parameters["type"] == "object"


def test_a_new_item_is_found_by_its_text_and_ranked_without_training(post: Post) -> None:
    item = {"item_id": "brand new", "attributes": {"title": "A lighthouse keeper in the fog", "topic": "sea"}}
    assert post("/v1/items", {"items": [item]}) == {"accepted": 1, "encoded": 1}
    # The catalogue is put together anew at most a few times a second.
    asked = {"query": "a lighthouse keeper in the fog", "n": 5}
    deadline = time.monotonic() + 10
    while "brand new" not in ids(found := post("/v1/recommend", asked)):
        assert time.monotonic() < deadline, found
    assert "brand new" in ids(post("/v1/rank", {"items": ["brand new", *ids(post("/v1/recommend", {}))]}))


def test_rules_of_one_request(post: Post) -> None:
    def topics(rules: Any) -> list[str]:
        answer = post("/v1/recommend", {"session": ["item-0"], "n": 4, "rules": rules})
        ids(answer)
        return [item["attributes"]["topic"] for item in answer["items"]]

    assert len(set(topics({}))) < 4
    capped = {"caps": {"rules": [{"attribute": "topic", "limit": 1}]}}
    assert len(set(topics(capped))) == 4
    assert topics({**capped, "caps": False}) == topics({})


def test_pages_of_a_trained_recommendation_do_not_repeat(post: Post) -> None:
    asked = {"user_id": "pager", "n": 7}
    answer = post("/v1/recommend", asked)
    shown = ids(answer)
    for _ in range(3):
        post("/v1/events", {"user_id": "pager", "item_id": shown[-1], "event": "like"})
        answer = post("/v1/recommend", {**asked, "cursor": answer["cursor"]})
        assert [item["rank"] for item in answer["items"]] == list(range(len(shown) + 1, len(shown) + 8))
        shown += ids(answer)
    assert len(shown) == len(set(shown)) == 28
