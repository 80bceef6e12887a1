"""Recommendations, lists that are nobody's, categories, and what is not offered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

NOON = "2024-05-01T12:00:00Z"


def getting(server: Any) -> Callable[..., Any]:
    """Calls that succeed."""

    def get(path: str, **named: Any) -> Any:
        answer = server.http.get(path, **named)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


@pytest.fixture
def get(gorse_server: Any) -> Callable[..., Any]:
    """Calls of a server that the test may change."""
    return getting(gorse_server)


@pytest.fixture
def read(unchanged: Any) -> Callable[..., Any]:
    """Calls of a server that stays as it is."""
    return getting(unchanged)


def like(gorse_server: Any, *items: str) -> None:
    sent = [{"FeedbackType": "like", "UserId": "ada", "ItemId": item, "Timestamp": NOON} for item in items]
    assert gorse_server.http.post("/feedback/", json=sent).status_code == 200


def test_scores_are_for_version_2(read: Any) -> None:
    plain = read("/recommend/ada", params={"n": 3})
    scored = read("/recommend/ada/", params={"n": 3}, headers={"X-API-Version": "2"})
    assert plain == [one["Id"] for one in scored]
    assert len(read("/recommend/ada")) == 10


def test_what_an_offset_skips_was_not_shown(gorse_server: Any, get: Any) -> None:
    whole = get("/recommend/ada", params={"n": 6})
    assert get("/recommend/ada", params={"n": 2, "offset": 4}) == whole[4:]
    assert get("/recommend/ada", params={"n": 2, "offset": 900}) == []
    gorse_server.store.flush()
    shown = gorse_server.store.old_exposures(2**62, 10)["items"].to_pylist()
    ids = [[item[0] for item in json.loads(items)] for items in shown]
    assert sorted(ids, key=len) == [whole[4:], whole]


def test_popular(gorse_server: Any, get: Any) -> None:
    popular = [one["Id"] for one in get("/popular", params={"n": 4})]
    assert popular == [one["Id"] for one in get("/non-personalized/popular", params={"n": 4})]
    like(gorse_server, popular[0])
    rest = [one["Id"] for one in get("/popular", params={"n": 3, "user-id": "ada"})]
    assert rest == popular[1:]
    dramas = [one["Id"] for one in get("/popular/Drama", params={"n": 3})]
    assert set(dramas) <= {"110", "150", "296", "318", "356", "364", "527", "858"}
    assert [one["Id"] for one in get("/popular", params={"n": 3, "category": "Drama"})] == dramas


def test_categories_are_all_wanted(read: Any) -> None:
    both = [("category", "Drama"), ("category", "Crime"), ("n", "20")]
    assert sorted(read("/recommend/ada", params=both)) == ["296", "318", "858"]
    assert read("/recommend/ada/no%22such%5C") == []


def test_latest(gorse_server: Any, get: Any) -> None:
    assert get("/latest") == []  # the films have no Timestamp
    items = [
        {"ItemId": f"g{day}", "Timestamp": f"2024-05-0{day}T00:00:00Z", "Categories": [f"c{day % 2}"]}
        for day in (2, 4, 1, 3)
    ]
    assert gorse_server.http.post("/items", json=items).json() == {"RowAffected": 4}

    def latest(path: str = "/latest", **params: Any) -> list[str]:
        return [one["Id"] for one in get(path, params=params)]

    gorse_server.served.until(lambda: latest() == ["g4", "g3", "g2", "g1"])
    assert get("/latest", params={"n": 1}) == [{"Id": "g4", "Score": 1714780800}]
    assert latest(n=2, offset=1) == ["g3", "g2"]
    assert latest("/latest/c1") == ["g3", "g1"]
    assert latest("/non-personalized/latest", category="c0") == ["g4", "g2"]
    like(gorse_server, "g4", "g2")
    assert latest(**{"user-id": "ada"}) == ["g3", "g1"]
    assert gorse_server.http.patch("/item/g3", json={"IsHidden": True}).json() == {"RowAffected": 1}
    assert latest() == ["g4", "g2", "g1"]


def test_categories_of_an_item(gorse_server: Any, get: Any) -> None:
    http = gorse_server.http
    assert http.put("/item/260/category/Classic").json() == {"RowAffected": 1}
    assert http.put("/item/260/category/Classic").json() == {"RowAffected": 1}
    assert get("/item/260")["Categories"] == ["Action", "Adventure", "Sci-Fi", "Classic"]
    assert http.delete("/item/260/category/Action").json() == {"RowAffected": 1}
    assert get("/item/260")["Categories"] == ["Adventure", "Sci-Fi", "Classic"]
    assert http.put("/item/nobody/category/x").status_code == 404


def test_users_are_patched(gorse_server: Any, get: Any) -> None:
    http = gorse_server.http
    assert http.patch("/user/ada", json={"Comment": "?"}).json() == {"RowAffected": 0}
    like(gorse_server, "260")
    assert http.patch("/user/ada", json={"Labels": {"city": "London"}}).json() == {"RowAffected": 1}
    assert http.patch("/user/ada", json={"Comment": "first", "Subscribe": ["x"]}).json() == {"RowAffected": 1}
    assert get("/user/ada") == {
        "UserId": "ada",
        "Labels": {"city": "London"},
        "Comment": "first",
        "Subscribe": ["x"],
    }


def test_neighbours_by_name(read: Any) -> None:
    neighbours = read("/item/260/neighbors", params={"n": 3})
    assert read("/item-to-item/neighbors/260", params={"n": 3}) == neighbours
    action = [one["Id"] for one in read("/item/260/neighbors/Thriller", params={"n": 2})]
    assert set(action) <= {"6", "32", "47", "50", "593", "2571"}


def test_health(read: Any) -> None:
    healthy = {
        "Ready": True,
        "DataStoreError": None,
        "CacheStoreError": None,
        "DataStoreConnected": True,
        "CacheStoreConnected": True,
    }
    assert read("/health/live") == read("/health/ready") == healthy


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/user/ada/neighbors?n=3", "similar users are not given out"),
        ("GET", "/user-to-user/neighbors/ada", "similar users are not given out"),
        ("GET", "/item/260/feedback", "feedback cannot be listed by item"),
        ("GET", "/item/260/feedback/like", "feedback cannot be listed by item"),
        ("GET", "/measurements/NDCG", "there are no time series"),
        ("GET", "/non-personalized/trending", "there is no list called 'trending'"),
        ("GET", "/item-to-item/lookalike/260", "there is no list called 'lookalike'"),
        ("GET", "/collaborative-filtering/ada", "there is no list called 'collaborative-filtering'"),
        ("GET", "/dashboard/stats", "GET /api/dashboard/stats is not offered here"),
        ("PUT", "/bulk/items", "PUT /api/bulk/items is not offered here"),
        ("GET", "/recommend/ada?write-back-type=read&write-back-delay=1h30m", "write-back-delay"),
    ],
)
def test_what_cannot_be_mapped_has_a_reason(unchanged: Any, method: str, path: str, reason: str) -> None:
    answer = unchanged.http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (501, "text/plain; charset=utf-8")
    assert answer.text.startswith(reason)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/recommend/ada?n=0", "n must be from 1 to 1,000"),
        ("/recommend/ada?n=2000", "n must be from 1 to 1,000"),
        ("/recommend/ada?n=ten", "n must be a whole number"),
        ("/latest?n=10&offset=991", "offset must be from 0 to 990"),
        ("/items?cursor=damaged", "the cursor is damaged"),
        ("/recommend/ada?write-back-delay=soon", "write-back-delay must be a duration"),
        ("/recommend/ada?write-back-type=love", "feedback type 'love' is not configured"),
    ],
)
def test_wrong_parameters(unchanged: Any, path: str, message: str) -> None:
    answer = unchanged.http.get(path)
    assert answer.status_code == 400
    assert answer.text.startswith(message)
