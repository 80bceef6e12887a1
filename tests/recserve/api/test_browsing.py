"""Searching items, listing users of all kinds, one item's outcomes, and the map, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.schemas.browsing import ItemsAnswer, UsersAnswer, VectorMapAnswer
from recserve.api.schemas.reports import OutcomesAnswer


def ask(served: Any, path: str, **asked: Any) -> dict[str, Any]:
    response = served.call("GET", path, params=asked)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refused(served: Any, path: str, field: str, **asked: Any) -> str:
    response = served.call("GET", path, params=asked)
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["field"] == field
    return str(error["message"])


def found(served: Any, **asked: Any) -> list[str]:
    """Titles that a search finds, page by page."""
    titles: list[str] = []
    while True:
        answer = ask(served, "/v1/items", **asked)
        ItemsAnswer.model_validate(answer)
        titles += [item["title"] for item in answer["items"]]
        if answer["cursor"] is None:
            return sorted(titles)
        asked["cursor"] = answer["cursor"]


class TestItems:
    def test_words_attributes_and_state(self, served: Any) -> None:
        assert found(served, q="THE of", limit=1) == [
            "Raiders of the Lost Ark",
            "Return of the Jedi",
            "The Fellowship of the Ring",
            "The Silence of the Lambs",
        ]
        assert found(served, q="empire", attribute=["genres:sci-fi", "year:1980"]) == [
            "The Empire Strikes Back"
        ]
        assert found(served, attribute="year:1972") == ["The Godfather"]
        assert found(served, state="hidden") == []
        served.call("PATCH", "/v1/items", json={"items": [{"item_id": "858", "hidden": True}]})
        assert found(served, state="hidden") == ["The Godfather"]
        assert "The Godfather" not in found(served, state="shown")
        new = {"item_id": "zh", "attributes": {"title": "流浪地球", "year": 2019, "genres": ["科幻"]}}
        served.post("/v1/items", {"items": [new]})
        assert found(served, q="地球") == found(served, q="科幻 流浪") == ["流浪地球"]

    def test_no_words_are_no_search(self, shared: Any) -> None:
        assert ask(shared, "/v1/items", q="  ", limit=3) == ask(shared, "/v1/items", limit=3)
        assert ask(shared, "/v1/items", limit=3)["examined"] == 3

    def test_a_cursor_belongs_to_its_search(self, shared: Any) -> None:
        cursor = ask(shared, "/v1/items", q="the", limit=1)["cursor"]
        for others in ({}, {"q": "of"}, {"q": "the", "state": "shown"}):
            refused(shared, "/v1/items", "cursor", cursor=cursor, **others)

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"q": " ".join("abcdefghijk")}, "q"),
            ({"q": "x" * 201}, "q"),
            ({"q": "a\x00"}, "q"),
            ({"attribute": "genres"}, "attribute"),
            ({"attribute": ":x"}, "attribute"),
            ({"attribute": ["a:b"] * 6}, "attribute"),
            ({"state": "gone"}, "state"),
            ({"query": "x"}, "query"),
        ],
    )
    def test_bad_searches_are_refused(self, shared: Any, asked: dict[str, Any], field: str) -> None:
        refused(shared, "/v1/items", field, **asked)


class TestUsers:
    def test_users_with_events_alone_are_listed(self, served: Any) -> None:
        served.post("/v1/users", {"users": [{"user_id": "ada", "attributes": {"city": "London"}}]})
        for number, name in enumerate(["grace", "ada", "☃/history"]):
            served.post(
                "/v1/events",
                {"user_id": name, "item_id": "1", "event": "view", "timestamp": 1_700_000_000_000 + number},
            )

        def listed(having: str) -> dict[str, Any]:
            users: dict[str, Any] = {}
            asked: dict[str, Any] = {"having": having, "limit": 1}
            while True:
                answer = ask(served, "/v1/users", **asked)
                UsersAnswer.model_validate(answer)
                users |= {one["user_id"]: one for one in answer["users"]}
                if answer["cursor"] is None:
                    return users
                asked["cursor"] = answer["cursor"]

        ada = {
            "user_id": "ada",
            "attributes": {"city": "London"},
            "profile": True,
            "last_event": 1_700_000_000_001,
        }
        assert listed("profile") == {"ada": ada}
        assert set(listed("events")) == set(listed("any")) == {"ada", "grace", "☃/history"}
        assert listed("any")["ada"] == ada
        assert listed("any")["grace"] == {
            "user_id": "grace",
            "attributes": {},
            "profile": False,
            "last_event": 1_700_000_000_000,
        }

    def test_one_user_alone(self, served: Any) -> None:
        served.post("/v1/users", {"users": [{"user_id": "ada", "attributes": {"city": "London"}}]})
        served.post(
            "/v1/events", {"user_id": "grace", "item_id": "1", "event": "view", "timestamp": 1_700_000_000}
        )
        for user_id, profile, moment in (("ada", True, None), ("grace", False, 1_700_000_000_000)):
            (found,) = ask(served, "/v1/users", user_id=user_id)["users"]
            assert (found["user_id"], found["profile"], found["last_event"]) == (user_id, profile, moment)
        assert ask(served, "/v1/users", user_id="nobody") == {"users": [], "cursor": None}

    def test_a_cursor_belongs_to_its_list(self, served: Any) -> None:
        served.post("/v1/users", {"users": [{"user_id": "a"}, {"user_id": "b"}]})
        cursor = ask(served, "/v1/users", limit=1)["cursor"]
        refused(served, "/v1/users", "cursor", cursor=cursor, having="any")
        refused(served, "/v1/items", "cursor", cursor=cursor)
        refused(served, "/v1/users", "having", having="all")


def test_what_became_of_one_item(served: Any) -> None:
    page = served.post("/v1/recommend", {"user_id": "ada", "n": 4}).json()
    item = page["items"][1]["item_id"]
    named = {"recommendation_id": page["recommendation_id"], "item_id": item}
    served.post("/v1/events", {"user_id": "ada", "event": "click", **named})
    served.store.flush()
    answer = ask(served, "/v1/reports/outcomes", item=item, by="day")
    OutcomesAnswer.model_validate(answer)
    assert (answer["total"]["impressions"], answer["total"]["clicks"], answer["total"]["coverage"]) == (
        1,
        1,
        None,
    )
    assert [row["impressions"] for row in answer["rows"]] == [1]
    assert ask(served, "/v1/reports/outcomes", item="no such")["total"]["impressions"] == 0
    refused(served, "/v1/reports/outcomes", "by", item=item, by="scenario")
    refused(served, "/v1/reports/outcomes", "item", item=item, scenario="home")


def test_the_map_has_the_items_that_may_be_shown(served: Any) -> None:
    answer = ask(served, "/v1/vectors/map", attribute="genres")
    VectorMapAnswer.model_validate(answer)
    assert (answer["bundle"], answer["items"], len(answer["points"])) == ("test-bundle", 25, 25)
    places = {point["item_id"]: (point["x"], point["y"]) for point in answer["points"]}
    assert len(set(places.values())) == 25
    assert max(abs(side) for place in places.values() for side in place) == 1.0
    assert {point["item_id"]: point["value"] for point in answer["points"]}["1"] == "Animation"
    served.call("PATCH", "/v1/items", json={"items": [{"item_id": "1", "hidden": True}]})
    served.until(lambda: "1" not in {one["item_id"] for one in ask(served, "/v1/vectors/map")["points"]})
    few = ask(served, "/v1/vectors/map", limit=3)
    assert (len(few["points"]), few["attribute"], few["points"][0]["value"]) == (3, None, None)
    assert {(point["x"], point["y"]) for point in few["points"]} <= set(places.values()), "the same map"
    refused(served, "/v1/vectors/map", "limit", limit=2001)


def test_a_preview_is_the_same_answer_and_leaves_no_trace(served: Any) -> None:
    asked = {"user_id": "ada", "n": 3}
    preview = served.post("/v1/recommend", {**asked, "preview": True}).json()
    similar = served.post("/v1/similar", {"item_id": "260", "preview": True}).json()
    served.store.flush()
    for answer in (preview, similar):
        assert len(answer["items"]) >= 3
        assert served.store.exposures(answer["recommendation_id"]) is None
    shown = served.post("/v1/recommend", asked).json()
    served.store.flush()
    assert served.store.exposures(shown["recommendation_id"]) is not None
    assert [one["item_id"] for one in shown["items"]] == [one["item_id"] for one in preview["items"]]
