"""The API in front of a really trained bundle: every built-in stage, real BERT, no Ray."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from recserve.api import ApiSettings, LocalBackend, create_app
from recserve.api.answers import PluginsAnswer, RecommendationAnswer
from recserve.cli.common import State
from recserve.serving import local_pipeline

Post = Callable[[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def post(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """Ask a server over a copy of the trained home; without a body it is a GET."""
    home = tmp_path_factory.mktemp("api-trained") / "home"
    shutil.copytree(trained_home, home)
    state = State(home)
    pipeline = local_pipeline(state.resolved, state.current_bundle(), state.store)
    backend = LocalBackend(pipeline, state.store, state.registry.plugins)
    app = create_app(backend, ApiSettings.of(state.config))

    async def ask(path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await (client.get(path) if body is None else client.post(path, json=body))

    def send(path: str, body: Any) -> dict[str, Any]:
        response = asyncio.run(ask(path, body))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    # The first text loads the encoder, which may take longer than a stage's deadline.
    send("/v1/recommend", {"query": "warm up"})
    with state.store:
        yield send


def ids(answer: dict[str, Any]) -> list[str]:
    RecommendationAnswer.model_validate(answer)
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


def test_a_scenario_by_name(post: Post) -> None:
    answer = post("/v1/recommend", {"scenario": "plain"})
    assert answer["scenario"] == "plain"
    assert "ranking" not in answer["timings"]


def test_all_built_in_plugins_are_listed_with_their_parameters(post: Post) -> None:
    answer = PluginsAnswer.model_validate(post("/v1/plugins", None))
    assert [plugin.error for plugin in answer.plugins] == [None] * len(answer.plugins)
    components = {component.name for plugin in answer.plugins for component in plugin.components}
    assert {"mf", "content", "popular", "bert", "bert_lstm", "movielens-small", "template"} <= components
    for plugin in answer.plugins:
        for component in plugin.components:
            assert component.summary, component.name
            assert component.parameters["type"] == "object"
