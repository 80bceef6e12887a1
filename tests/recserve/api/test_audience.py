"""`/v1/items/{item_id}/audience`: who would like an item, trained ones and ones of a moment ago."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recserve import Event
from recserve.api.schemas.responses import AudienceAnswer


def write(served: Any, user_id: str, *item_ids: str) -> None:
    events = [{"user_id": user_id, "item_id": item_id, "event": "like"} for item_id in item_ids]
    assert served.post("/v1/events", {"events": events}).status_code == 200


def audience(served: Any, item_id: str, **body: Any) -> Any:
    answer = served.post(f"/v1/items/{item_id}/audience", body)
    assert answer.status_code == 200, answer.text
    AudienceAnswer.model_validate(answer.json())
    return answer.json()


@pytest.fixture
def fans(served: Any) -> Any:
    write(served, "space", "260", "1196", "1210")
    write(served, "crime", "858", "50", "318")
    write(served, "children", "1", "588")
    write(served, "gone", "an item that nobody knows")
    return served


def test_users_come_in_the_order_in_which_they_want_an_item(fans: Any) -> None:
    answer = audience(fans, "480")
    assert answer["item_id"] == "480"
    assert answer["scenario"] == "home"
    assert answer["users"][0]["user_id"] == "space"
    assert [user["rank"] for user in answer["users"]] == [1, 2, 3]
    scores = [user["score"] for user in answer["users"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["considered"] == 3, "nothing is known of who only did something with unknown items"
    assert audience(fans, "296")["users"][0]["user_id"] == "crime"


def test_as_many_as_asked_for_and_none_who_have_it(fans: Any) -> None:
    answer = audience(fans, "1196", limit=1)
    assert len(answer["users"]) == 1
    assert answer["considered"] == 2
    assert answer["users"][0]["user_id"] != "space"


@pytest.mark.parametrize(
    ("item_id", "body", "status", "code", "field"),
    [
        ("nothing", {}, 404, "not_found", "item_id"),
        ("480", {"scenario": "rankd"}, 404, "not_found", "scenario"),
        ("480", {"limit": 0}, 422, "invalid_request", "limit"),
        ("480", {"limit": 1001}, 422, "invalid_request", "limit"),
        ("480", {"users": 7}, 422, "invalid_request", "users"),
    ],
)
def test_what_cannot_be_is_said(
    fans: Any, item_id: str, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = fans.post(f"/v1/items/{item_id}/audience", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (status, code, field), error


def test_an_item_of_a_moment_ago_is_judged_by_its_text(fans: Any) -> None:
    new = {"item_id": "t-1", "attributes": {"title": "Star Wars again", "year": 2025, "genres": ["Sci-Fi"]}}
    assert fans.post("/v1/items", {"items": [new]}).json()["encoded"] == 1
    fans.until(lambda: fans.post("/v1/items/t-1/audience", {}).status_code != 503)
    assert audience(fans, "t-1")["users"][0]["user_id"] == "space"
    write(fans, "late", "t-1", "1210")
    assert "late" not in [user["user_id"] for user in audience(fans, "t-1")["users"]]


def test_who_only_wrote_is_in_the_audience_once_the_texts_have_vectors(fans: Any) -> None:
    fans.store.add_events(
        [
            Event("ada", "", "search", 1, event_id="s1", text="jurassic park"),
            Event("ada", "", "search", 2, event_id="s2", text="jurassic"),
            Event("bob", "", "search", 3, event_id="s3", text="not encoded yet"),
            Event("crime", "", "search", 4, event_id="s4", text="jurassic"),
            Event("owner", "480", "search", 5, event_id="s5", text="jurassic"),
        ]
    )
    park, jurassic = asyncio.run(fans.client.encode("", ["jurassic park", "jurassic"]))
    fans.client.broken = {"encoding"}  # nor in the background
    before = audience(fans, "480")
    assert before["considered"] == 3
    fans.store.set_text_vectors({"s1": park, "s2": jurassic}, "words")
    after = audience(fans, "480")
    assert after["considered"] == 4, "neither who has it nor of whom nothing can be read"
    scores = {user["user_id"]: user["score"] for user in before["users"]}
    with_ada = {user["user_id"]: user["score"] for user in after["users"]}
    assert with_ada.pop("ada") > scores["crime"]
    assert with_ada == scores
    fans.store.set_text_vectors({"s4": jurassic}, "words")
    later = {user["user_id"]: user["score"] for user in audience(fans, "480")["users"]}
    assert later["crime"] > scores["crime"]


def test_another_method_does_nothing_to_an_item_whose_id_ends_so(fans: Any) -> None:
    new = {"item_id": "480/audience", "attributes": {"title": "Odd", "year": 2025, "genres": ["Sci-Fi"]}}
    assert fans.post("/v1/items", {"items": [new]}).status_code == 200
    for method in ("GET", "DELETE"):
        answer = fans.call(method, "/v1/items/480/audience")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = fans.post("/v1/items/480%2Faudience", {})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert fans.get("/v1/items/480%2Faudience").json()["title"] == "Odd"


def test_a_deleted_item_has_no_audience(fans: Any) -> None:
    assert fans.call("DELETE", "/v1/items/480").status_code == 200
    assert fans.post("/v1/items/480/audience", {}).status_code == 404


def test_a_stage_that_fails_is_an_error_that_says_so(fans: Any) -> None:
    fans.client.broken.add("audience")
    answer = fans.post("/v1/items/480/audience", {})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "stage_failed"
