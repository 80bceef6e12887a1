"""`/v1/rank`: the caller's own list in order."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.schemas.recommend_request import RankBody
from recserve.api.schemas.responses import RankAnswer
from recserve.api.settings import ApiSettings


def rank(served: Any, items: list[str], **more: Any) -> dict[str, Any]:
    response = served.post("/v1/rank", {"items": items, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    RankAnswer.model_validate(answer)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


SPACE_AND_OTHERS = ["527", "1", "1196", "858", "364", "1210"]


def test_all_of_them_and_nothing_else_come_back(shared: Any) -> None:
    answer = rank(shared, SPACE_AND_OTHERS)
    assert sorted(ids(answer)) == sorted(SPACE_AND_OTHERS)
    assert answer["left_out"] == []
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5, 6]
    assert answer["degraded"] == []
    assert "cursor" not in answer


def test_the_order_is_the_users(served: Any) -> None:
    served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "rating", "value": 5})
    served.post("/v1/events", {"user_id": "bo", "item_id": "296", "event": "rating", "value": 5})
    assert set(ids(rank(served, SPACE_AND_OTHERS, user_id="ada"))[:2]) == {"1196", "1210"}
    assert ids(rank(served, SPACE_AND_OTHERS, user_id="bo"))[0] == "858"
    assert set(ids(rank(served, SPACE_AND_OTHERS, session=["260"], n=2))) == {"1196", "1210"}


def test_free_text_counts(shared: Any) -> None:
    assert ids(rank(shared, SPACE_AND_OTHERS, query="the lion king"))[0] == "364"


def test_n_cuts_but_what_is_cut_was_not_left_out(shared: Any) -> None:
    answer = rank(shared, [*SPACE_AND_OTHERS, "nothing"], session=["260"], n=2, explain=False)
    assert len(answer["items"]) == 2
    assert answer["left_out"] == ["nothing"]
    assert {item["explanation"] for item in answer["items"]} == {None}


def test_what_may_not_be_returned_is_left_out(served: Any) -> None:
    served.call("DELETE", "/v1/items/1")
    patches = [{"item_id": "2", "hidden": True}, {"item_id": "6", "expires_at": 1_000_000_000}]
    served.call("PATCH", "/v1/items", json={"items": patches})
    answer = rank(served, ["260", "1", "2", "nothing", "6", "32", "1196"], filter={"since": 1978})
    assert set(ids(answer)) == {"32", "1196"}
    assert answer["left_out"] == ["260", "1", "2", "nothing", "6"]


def test_an_item_that_no_bundle_knows_is_ranked(served: Any) -> None:
    item = {"item_id": "t-1", "attributes": {"title": "Star Wars again", "year": 2024, "genres": ["Sci-Fi"]}}
    served.post("/v1/items", {"items": [item]})
    served.until(lambda: "t-1" in ids(rank(served, ["1", "t-1"], query="star wars again")))
    assert ids(rank(served, ["1", "t-1"], query="star wars again"))[0] == "t-1"


def test_seen_items_stay_unless_they_are_not_wanted(served: Any) -> None:
    served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "like"})
    assert "260" in ids(rank(served, ["260", "1"], user_id="ada"))
    assert ids(rank(served, ["260", "1"], user_id="ada", seen="exclude")) == ["1"]


def test_of_equal_ids_the_first_counts(shared: Any) -> None:
    answer = rank(shared, ["1", "2", "1", "none", "none"])
    assert sorted(ids(answer)) == ["1", "2"]
    assert answer["left_out"] == ["none"]
    assert RankBody(items=["1", "2", "1"]).request(ApiSettings(), 0).n == 2


def test_nothing_but_unknown_items(shared: Any) -> None:
    answer = rank(shared, ["x", "y"])
    assert (answer["items"], answer["left_out"]) == ([], ["x", "y"])


def test_without_its_stages_it_still_answers(served: Any) -> None:
    served.client.broken = {"ranking", "retrieval", "encoding"}
    answer = rank(served, ["1", "2", "none"], user_id="ada", query="star")
    assert sorted(ids(answer)) == ["1", "2"]
    assert answer["left_out"] == ["none"]
    assert "ranking" in answer["degraded"] or "retrieval" in answer["degraded"]


def test_what_was_shown_is_logged(served: Any) -> None:
    answer = rank(served, ["1", "2"], user_id="ada")
    served.store.flush()
    exposure = served.store.exposures(answer["recommendation_id"])
    assert [item.item_id for item in exposure.items] == ids(answer)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "items"),
        ({"items": []}, 422, "items"),
        ({"items": [str(n) for n in range(1001)]}, 422, "items"),
        ({"items": [""]}, 422, "items[0]"),
        ({"items": "1"}, 422, "items"),
        ({"items": ["1"], "n": 0}, 422, "n"),
        ({"items": ["1"], "exclude": ["1"]}, 422, "exclude"),
        ({"items": ["1"], "cursor": "x"}, 422, "cursor"),
        ({"items": ["1"], "scenario": "hme"}, 404, "scenario"),
        ({"items": ["1"], "filter": {"sinc": 1}}, 422, "filter.sinc"),
        ({"items": ["1"], "rules": {"nothing": {}}}, 422, "rules.nothing"),
        ({"items": ["1"], "session": [{"item_id": "1", "event": "veiw"}]}, 422, "session[0].event"),
    ],
)
def test_mistakes_are_named(shared: Any, body: Any, status: int, field: str) -> None:
    response = shared.post("/v1/rank", body)
    assert response.status_code == status, response.text
    assert response.json()["error"]["field"] == field
