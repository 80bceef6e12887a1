"""The routes that write, over PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recserve.data.entities import Event


def send(served: Any, method: str, path: str, body: Any = None) -> Any:
    response = served.call(method, path, **({} if body is None else {"json": body}))
    assert response.status_code == 200, response.text
    return response.json()


def found(served: Any, **body: Any) -> list[str]:
    answer = send(served, "POST", "/v1/recommend", {"n": 1000, **body})
    assert answer["degraded"] == []
    return [item["item_id"] for item in answer["items"]]


def test_the_life_of_an_item(on_postgres: Any) -> None:
    title = "Lighthouse keeper"
    item = {"item_id": "pg-1", "attributes": {"title": title, "year": 2024, "nul": "a\x00b", "big": 2**70}}
    assert send(on_postgres, "POST", "/v1/items", {"items": [item]}) == {"accepted": 1, "encoded": 1}
    on_postgres.until(lambda: found(on_postgres, query=title)[0] == "pg-1")
    assert send(on_postgres, "GET", "/v1/items/pg-1")["attributes"] == item["attributes"]
    for patch, there in [({"hidden": True}, False), ({"hidden": False}, True), ({"expires_at": 0}, False)]:
        body = {"items": [{"item_id": "pg-1", **patch}, {"item_id": "none"}]}
        assert send(on_postgres, "PATCH", "/v1/items", body) == {"changed": 1, "unknown": ["none"]}
        assert ("pg-1" in found(on_postgres, query=title)) == there
    assert send(on_postgres, "DELETE", "/v1/items/pg-1") == {"deleted": 1}
    assert on_postgres.get("/v1/items/pg-1").status_code == 404
    assert len(send(on_postgres, "GET", "/v1/items?limit=1000")["items"]) == 25


def test_the_life_of_a_user(on_postgres: Any) -> None:
    profile = {"user_id": "ada", "attributes": {"country": "NO"}}
    send(
        on_postgres, "POST", "/v1/users", {"users": [profile, {"user_id": "session", "attributes": {"a": 1}}]}
    )
    like = {"user_id": "session", "item_id": "260", "event": "like", "event_id": "pg-e1"}
    assert send(on_postgres, "POST", "/v1/events", like)["stored"] == 1
    assert send(on_postgres, "POST", "/v1/events", like)["duplicates"] == 1
    assert send(on_postgres, "POST", "/v1/users/ada/merge", {"from": "session"}) == {"moved": 1}
    assert "260" not in found(on_postgres, user_id="ada")
    assert send(on_postgres, "GET", "/v1/users/ada")["attributes"] == {"country": "NO", "a": 1}
    assert [one["user_id"] for one in send(on_postgres, "GET", "/v1/users")["users"]] == ["ada"]
    on_postgres.store.flush()
    receipt = send(on_postgres, "DELETE", "/v1/users/ada")
    assert receipt["deleted"] == {"events": 1, "exposures": 1, "profiles": 1, "impressions": 0}
    assert "260" in found(on_postgres, user_id="ada")
    deletion = on_postgres.store.deletion(receipt["receipt_id"])
    assert deletion is not None
    on_postgres.store.flush()
    assert not any(on_postgres.store.traces(deletion).values())


def test_calls_at_the_same_time_lose_nothing(on_postgres: Any) -> None:
    def write(number: int) -> None:
        events = [
            {"user_id": f"c{number}", "item_id": f"i{n}", "event": "view", "event_id": f"c{number}/{n}"}
            for n in range(20)
        ]
        items = [
            {"item_id": f"c{n}", "attributes": {"title": f"Film {n}", "year": number}} for n in range(20)
        ]
        for _ in range(2):
            send(on_postgres, "POST", "/v1/events", {"events": events})
            send(on_postgres, "POST", "/v1/items", {"items": items[number:] + items[:number]})
            send(on_postgres, "PATCH", "/v1/items", {"items": [{"item_id": f"c{number}", "hidden": True}]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    histories: dict[str, list[Event]] = on_postgres.store.histories([f"c{n}" for n in range(8)], 100)
    assert {user: len(events) for user, events in histories.items()} == {f"c{n}": 20 for n in range(8)}
