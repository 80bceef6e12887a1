"""Items and users over real HTTP on a real Ray cluster: what is written counts in every stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import pytest
from recserve_client import AsyncClient, Client, NotFoundError

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


class Server(Protocol):
    """What these tests use of the fixture in conftest.py."""

    url: str

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...
    def get(self, path: str) -> dict[str, Any]: ...


def send(server: Server, method: str, path: str, body: Any = None) -> httpx.Response:
    return httpx.request(method, server.url + path, json=body, timeout=30, trust_env=False)


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.1)


def test_a_new_item_is_found_ranked_hidden_and_gone(server: Server) -> None:
    text = "A lighthouse keeper in the fog"
    item = {"item_id": "fog", "attributes": {"title": text, "topic": "sea"}}
    assert server.post("/v1/items", {"items": [item]}) == {"accepted": 1, "encoded": 1}

    def found() -> list[str]:
        return ids(server.post("/v1/recommend", {"query": text, "n": 5}))

    wait_for(lambda: "fog" in found())
    ranked = server.post("/v1/rank", {"items": ["item-1", "fog", "nothing"], "query": text})
    assert ids(ranked)[0] == "fog"
    assert ranked["left_out"] == ["nothing"]

    for change, there in [({"hidden": True}, False), ({"hidden": False}, True), ({"expires_at": 0}, False)]:
        changed = send(server, "PATCH", "/v1/items", {"items": [{"item_id": "fog", **change}]})
        assert changed.json() == {"changed": 1, "unknown": []}
        assert ("fog" in found()) == there, change
    assert server.get("/v1/items/fog")["expires_at"] == 0
    assert send(server, "DELETE", "/v1/items", {"item_ids": ["fog"]}).json() == {"deleted": 1}
    assert "fog" not in found()
    assert send(server, "GET", "/v1/items/fog").status_code == 404


def test_an_item_of_the_bundle_is_gone_at_once_and_comes_back(server: Server) -> None:
    everything = ids(server.post("/v1/recommend", {"n": 1000}))
    victim = everything[0]
    kept = server.get(f"/v1/items/{victim}")
    assert send(server, "DELETE", f"/v1/items/{victim}").json() == {"deleted": 1}
    assert victim not in ids(server.post("/v1/recommend", {"n": 1000}))
    assert victim not in ids(server.post("/v1/recommend", {"query": kept["title"], "n": 1000}))
    item = {"item_id": victim, "attributes": kept["attributes"]}
    server.post("/v1/items", {"items": [item]})
    wait_for(lambda: victim in ids(server.post("/v1/recommend", {"n": 1000})))


def test_pages_do_not_repeat(server: Server) -> None:
    shown: list[str] = []
    path = "/v1/recommend/pager?n=6"
    answer = server.get(path)
    while True:
        assert [item["rank"] for item in answer["items"]] == list(
            range(len(shown) + 1, len(shown) + 1 + len(answer["items"]))
        )
        shown += ids(answer)
        if answer["cursor"] is None:
            break
        server.post("/v1/events", {"user_id": "pager", "item_id": shown[-1], "event": "like"})
        answer = server.get(f"{path}&cursor={answer['cursor']}")
    assert len(shown) == len(set(shown)) > 12


@pytest.mark.parametrize("user_id", ["a/b c", "x/history", "100%"])
def test_a_person_logs_in_and_is_forgotten(server: Server, user_id: str) -> None:
    path = f"/v1/users/{quote(user_id, safe='')}"
    server.post("/v1/users", {"users": [{"user_id": user_id, "attributes": {"interests": "trains"}}]})
    session = f"session of {user_id}"
    server.post("/v1/events", {"user_id": session, "item_id": "item-1", "event": "like"})
    assert server.post(f"{path}/merge", {"from": session}) == {"moved": 1}
    assert server.get(path) == {"user_id": user_id, "attributes": {"interests": "trains"}}
    assert [event["item_id"] for event in server.get(f"{path}/history")["events"]] == ["item-1"]
    assert "item-1" not in ids(server.post("/v1/recommend", {"user_id": user_id, "n": 1000}))

    receipt = send(server, "DELETE", path).json()
    assert (receipt["deleted"]["events"], receipt["deleted"]["profiles"]) == (1, 1)
    assert send(server, "GET", path).status_code == 404
    assert server.get(f"{path}/history")["events"] == []
    assert "item-1" in ids(server.post("/v1/recommend", {"user_id": user_id, "n": 1000}))


def test_the_typed_clients(server: Server) -> None:
    """Through Serve's proxy, which repeats calls by itself: events count once, pages and errors are whole."""

    async def ask() -> int:
        async with AsyncClient(server.url) as client:
            pages = await asyncio.gather(*(client.recommend(user_id="typed", n=3) for _ in range(8)))
            return min(len(page.items) for page in pages)

    with Client(server.url) as client:
        listed = [item.item_id for item in client.iter_items(limit=20)]
        seen = listed[:5]
        recorded = client.record_events(
            ({"user_id": "typed", "item_id": item, "event": "view"} for item in seen), batch=2
        )
        assert (recorded.accepted, recorded.stored) == (5, 5)
        assert [event.item_id for event in client.iter_history("typed", limit=2)] == seen[::-1]
        page = client.recommend(user_id="typed", n=5)
        assert len(page.items) == 5
        assert not page.degraded
        assert client.rank(seen, user_id="typed").bundle == page.bundle
        with pytest.raises(NotFoundError) as missing:
            client.item("no such item")
        assert (missing.value.code, missing.value.field) == ("not_found", "item_id")
        assert missing.value.request_id
        assert asyncio.run(ask()) == 3
        assert client.delete_user("typed").deleted.events == 5
