"""`/v1/recommend` and `/v1/similar` over the wire."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from recserve.api.schemas.recommend_request import QUERY_KEPT, RecommendBody
from recserve.api.schemas.responses import PageAnswer, RecommendedItemAnswer
from recserve.api.settings import ApiSettings
from tests.recserve.api.conftest import FILMS


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def test_nothing_given_is_popular(shared: Any) -> None:
    answer = shared.post("/v1/recommend", {}).json()
    PageAnswer.model_validate(answer)
    assert [item["item_id"] for item in answer["items"]][:3] == ["1", "2", "6"]
    assert [item["rank"] for item in answer["items"]] == list(range(1, 11))
    first = answer["items"][0]
    assert first["attributes"] == {
        "title": "Toy Story",
        "year": 1995,
        "genres": ["Animation", "Children", "Comedy"],
    }
    assert first["sources"] == ["popular"]
    assert first["explanation"] == "Popular"
    assert answer["bundle"] == "test-bundle"
    assert answer["scenario"] == "home"
    assert answer["degraded"] == []
    assert re.fullmatch("[0-9a-f]{32}", answer["recommendation_id"])
    assert {"retrieval", "ranking", "total"} <= set(answer["timings"])


def test_a_session_of_ids_and_steps_is_personal(shared: Any) -> None:
    session = ["1196", {"item_id": "2571", "event": "rating", "value": 5, "timestamp": 1_700_000_000}]
    answer = shared.post("/v1/recommend", {"session": session, "n": 2}).json()
    assert {item["item_id"] for item in answer["items"]} == {"260", "589"}
    assert all("same_genres" in item["sources"] for item in answer["items"])
    assert {item["explanation"] for item in answer["items"]} == {
        "Because you viewed The Empire Strikes Back",
        "Because you rated The Matrix",
    }


def test_query_text_finds_titles(shared: Any) -> None:
    assert ids(shared.post("/v1/recommend", {"query": "godfather", "n": 1})) == ["858"]


def test_explanations_come_in_the_language_of_the_request(shared: Any) -> None:
    def words(answer: Any) -> list[str]:
        return [item["explanation"] for item in answer.json()["items"]]

    session = {"session": ["260"], "n": 1}
    assert words(shared.post("/v1/recommend", session)) == ["Because you viewed Star Wars"]
    chinese = {**session, "language": "zh-CN"}
    assert words(shared.post("/v1/recommend", chinese)) == ["因为您看过“Star Wars”"]
    assert words(shared.call("GET", "/v1/recommend/new?n=1&language=zh")) == ["热门"]
    similar = {"item_id": "260", "n": 1, "language": "zh"}
    assert words(shared.post("/v1/similar", similar)) == ["与“Star Wars”相似"]


def test_item_and_similar_agree(shared: Any) -> None:
    similar = ids(shared.post("/v1/similar", {"item_id": "260", "n": 2}))
    assert set(similar) == {"1196", "480"}
    assert similar == ids(shared.post("/v1/recommend", {"item_id": "260", "n": 2}))


def test_all_inputs_combine(shared: Any) -> None:
    body = {
        "user_id": "nobody yet",
        "session": ["1"],
        "item_id": "588",
        "query": "lion king",
        "n": 2,
        "scenario": "home",
        "exclude": ["2"],
        "filter": {"since": 1993},
        "context": {"device": "phone"},
        "explain": False,
    }
    answer = shared.post("/v1/recommend", body).json()
    assert answer["items"][0]["item_id"] == "364"
    assert {item["explanation"] for item in answer["items"]} == {None}


def test_exclude_and_filter_are_obeyed(shared: Any) -> None:
    body = {"n": 100, "exclude": ["1", "unknown item"], "filter": {"since": 1995}}
    answer = shared.post("/v1/recommend", body).json()
    assert answer["items"]
    assert all(item["attributes"]["year"] >= 1995 and item["item_id"] != "1" for item in answer["items"])


def test_more_than_the_catalogue_gives_the_catalogue(shared: Any) -> None:
    found = ids(shared.post("/v1/recommend", {"n": 1000}))
    assert len(found) == len(set(found)) == 25


def test_null_means_absent(shared: Any) -> None:
    body = {"user_id": None, "item_id": None, "query": None, "scenario": None, "n": 4}
    assert ids(shared.post("/v1/recommend", body)) == ["1", "2", "6", "32"]


def test_a_lost_stage_degrades(served: Any) -> None:
    served.client.broken = {"ranking"}
    answer = served.post("/v1/recommend", {"session": ["260"]})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["ranking"]
    served.client.broken = {"retrieval"}
    answer = served.post("/v1/recommend", {"session": ["260"]})
    assert answer.json()["degraded"] == ["retrieval"]
    assert ids(answer)[0] == "1"


def test_what_was_shown_is_logged(served: Any) -> None:
    answer = served.post("/v1/recommend", {"user_id": "ada", "n": 3}).json()
    served.store.flush()
    exposure = served.store.exposures(answer["recommendation_id"])
    assert exposure.user_id == "ada"
    assert [item.item_id for item in exposure.items] == [item["item_id"] for item in answer["items"]]


@pytest.mark.parametrize(
    ("body", "status", "field", "message"),
    [
        ({"usr_id": "1"}, 422, "usr_id", "unknown field 'usr_id'; did you mean 'user_id'? (known: "),
        ({"n": 0}, 422, "n", "n must be greater than or equal to 1 (got 0)"),
        ({"n": 1001}, 422, "n", "n must be less than or equal to 1000 (got 1001)"),
        ({"n": "10"}, 422, "n", 'n must be a valid integer (got "10")'),
        ({"n": 10**400}, 422, "n", "n must be less than or equal to 1000 (got 1000"),
        ({"user_id": ""}, 422, "user_id", 'user_id must have at least 1 character (got "")'),
        ({"user_id": 42}, 422, "user_id", "user_id must be a valid string (got 42)"),
        ({"user_id": "a\x00b"}, 422, "user_id", "user_id must not hold a NUL character"),
        ({"user_id": "x" * 10_001}, 422, "user_id", "user_id must have at most 10000 characters"),
        ({"session": "260"}, 422, "session", "session must be a valid list"),
        ({"session": [5]}, 422, "session[0]", "session[0] must be a JSON object (got 5)"),
        ({"session": ["260", {}]}, 422, "session[1].item_id", "session[1].item_id is missing"),
        (
            {"session": [{"item_id": "260", "evnt": "view"}]},
            422,
            "session[0].evnt",
            "unknown field 'session[0].evnt'; did you mean 'event'?",
        ),
        (
            {"session": ["1", {"item_id": "260", "event": "viewed"}]},
            422,
            "session[1].event",
            "session[1].event: unknown event type 'viewed'; did you mean 'view'? (known: add_to_cart, ",
        ),
        ({"filter": {"sinc": 1}}, 422, "filter.sinc", "scenario 'home' has no filter 'sinc'"),
        ({"filter": {"since": "x"}}, 422, "filter.since", "filter 'since': Input should be a valid integer"),
        ({"filter": [1]}, 422, "filter", "filter must be a JSON object"),
        (
            {"language": "Chinese please"},
            422,
            "language",
            "language must be a language tag such as zh or zh-CN",
        ),
        ({"explain": "yes"}, 422, "explain", 'explain must be a valid boolean (got "yes")'),
        ({"scenario": "hme"}, 404, "scenario", "unknown scenario 'hme'; did you mean 'home'? (known: home)"),
        ({"item_id": "no such"}, 404, "item_id", "unknown item 'no such'"),
        ([], 422, None, "the body must be a JSON object"),
        ("text", 422, None, 'the body must be a JSON object (got "text")'),
        (None, 422, None, "the body must be a JSON object (got null)"),
    ],
)
def test_mistakes_are_named(shared: Any, body: Any, status: int, field: str | None, message: str) -> None:
    response = shared.call(
        "POST", "/v1/recommend", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    error = response.json()["error"]
    assert response.status_code == status, error
    assert error["message"].startswith(message), error["message"]
    assert error["field"] == field
    assert error["code"] == {404: "not_found", 422: "invalid_request"}[status]
    assert "\n" not in error["message"]
    assert len(error["message"]) < 600


def test_similar_needs_an_item(shared: Any) -> None:
    response = shared.post("/v1/similar", {"n": 3})
    assert response.status_code == 422
    assert response.json()["error"]["message"] == "item_id is missing"
    assert shared.post("/v1/similar", {"item_id": "no such"}).status_code == 404
    assert shared.post("/v1/similar", {"item_id": "1", "session": []}).status_code == 422


def test_similar_prefers_its_own_scenario() -> None:
    assert ApiSettings(scenarios=("home", "similar")).similar_scenario == "similar"
    assert ApiSettings(scenarios=("home",)).similar_scenario is None


def test_long_query_is_cut_between_words(shared: Any) -> None:
    text = "godfather " * 10_000
    assert len(text) == 100_000
    assert ids(shared.post("/v1/recommend", {"query": text, "n": 1})) == ["858"]
    cut = RecommendBody(query=text).request(ApiSettings(), 0).query
    assert cut is not None
    assert QUERY_KEPT - 10 <= len(cut) <= QUERY_KEPT
    assert cut.endswith("godfather")
    without_spaces = RecommendBody(query="电影" * 20_000).request(ApiSettings(), 0).query
    assert without_spaces == "电影" * (QUERY_KEPT // 2)


def test_query_over_its_limit_is_refused(shared: Any) -> None:
    response = shared.post("/v1/recommend", {"query": "x" * 100_001})
    assert response.status_code == 422
    assert response.json()["error"]["field"] == "query"


@pytest.mark.parametrize("query", ["", "   ", "\x00\n\t"])
def test_blank_query_is_no_query(shared: Any, query: str) -> None:
    answer = shared.post("/v1/recommend", {"query": query, "n": 1}).json()
    assert answer["items"][0]["explanation"] == "Popular"


@pytest.mark.parametrize("user", ["x" * 10_000, "🦊" * 10_000, "it's \"quoted\" / slashed \\ 'so'", "\n"])
def test_strange_user_ids_are_fine(shared: Any, user: str) -> None:
    assert len(ids(shared.post("/v1/recommend", {"user_id": user}))) == 10


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        (
            "GET",
            "/v1/recommend/1?explan=0",
            "unknown query parameter 'explan'; did you mean 'explain'? (known: ",
        ),
        ("GET", "/v1/users/1/history?limt=3", "unknown query parameter 'limt'; did you mean 'limit'?"),
        ("GET", "/v1/about?verbose=1", "unknown query parameter 'verbose' (there are none)"),
        ("POST", "/v1/recommend?n=3", "unknown query parameter 'n' (there are none)"),
    ],
)
def test_unknown_query_parameters_are_refused(shared: Any, method: str, path: str, message: str) -> None:
    response = shared.call(method, path, json={} if method == "POST" else None)
    assert response.status_code == 422, response.text
    assert response.json()["error"]["message"].startswith(message)


def test_details_say_what_stands_behind_each_item(served: Any) -> None:
    served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "like"})
    plain = served.post("/v1/recommend", {"user_id": "ada"}).json()["items"]
    assert all("details" not in item for item in plain)
    asked = {"user_id": "ada", "details": True, "explain": False}
    detailed = served.post("/v1/recommend", asked).json()["items"]
    assert [item["item_id"] for item in detailed] == [item["item_id"] for item in plain]
    for item in detailed:
        found = RecommendedItemAnswer.model_validate(item).details
        assert found is not None
        assert [one.retriever for one in found.proposals] == item["sources"]
        assert item["explanation"] is None
    by_popularity = {
        one["place"]: item["item_id"]
        for item in detailed
        for one in item["details"]["proposals"]
        if one["retriever"] == "popular"
    }
    catalogue = [film.item_id for film in FILMS]
    in_order = [catalogue.index(by_popularity[place]) for place in sorted(by_popularity)]
    assert in_order == sorted(in_order), "the first of the catalogue are the most popular"
    assert len(in_order) > 3
    first = detailed[0]["details"]
    assert (first["evidence"], first["evidence_title"], first["evidence_event"]) == (
        "260",
        "Star Wars",
        "like",
    )
    genres = [one for one in first["proposals"] if one["retriever"] == "same_genres"]
    assert genres[0]["place"] == 1


def test_a_preview_may_name_a_loaded_bundle(shared: Any) -> None:
    asked = {"user_id": "ada", "preview": True}
    by_name = shared.post("/v1/recommend", {**asked, "bundle": "test-bundle"}).json()
    assert by_name["items"] == shared.post("/v1/recommend", asked).json()["items"]
    unknown = shared.post("/v1/recommend", {**asked, "bundle": "yesterday"})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"] == "bundle 'yesterday' is not loaded; loaded: test-bundle"
    shown = shared.post("/v1/recommend", {"user_id": "ada", "bundle": "test-bundle"})
    assert (shown.status_code, shown.json()["error"]["field"]) == (422, "bundle")
