"""Everything around the routes: bodies, media types, unknown paths, health, faults."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import recserve
from recserve import Event, Item
from recserve.api import ApiSettings, Readiness, create_app
from recserve.api.pagination import Cursors
from recserve.api.schemas.about import AboutAnswer, PluginsAnswer, ReadyAnswer
from recserve.api.schemas.responses import ErrorAnswer, HistoryAnswer, ItemAnswer, dumps
from recserve.config import Config
from recserve.errors import OverloadedError, StoreError

JSON = {"Content-Type": "application/json"}


def error_of(response: httpx.Response) -> dict[str, Any]:
    ErrorAnswer.model_validate(response.json())
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert "\n" not in error["message"]
    return error


BULK = {"/v1/events", "/v1/items", "/v1/users"}


@pytest.mark.parametrize(
    "path", ["/v1/recommend", "/v1/similar", "/v1/rank", "/v1/users/ada/merge", *sorted(BULK)]
)
class TestBodies:
    @pytest.mark.parametrize(
        "body",
        ["", " ", "{", "{'n': 1}", '{"n": 1,}', "{} {}", '{"n": NaN}', "[" * 5000, b"\xff\xfe", b"\x00"],
    )
    def test_what_is_not_json_is_400(self, shared: Any, path: str, body: Any) -> None:
        response = shared.call("POST", path, content=body, headers=JSON)
        assert response.status_code == 400
        assert error_of(response)["code"] == "malformed_json"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "application/json; charset=latin-1"},
            {"Content-Type": "application/jsonp"},
            {**JSON, "Content-Encoding": "gzip"},
        ],
    )
    def test_what_is_not_declared_json_is_415(self, shared: Any, path: str, headers: dict[str, str]) -> None:
        response = shared.call("POST", path, content=b"{}", headers=headers)
        assert response.status_code == 415
        assert error_of(response)["code"] == "unsupported_media_type"

    @pytest.mark.parametrize(
        "kind", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"]
    )
    def test_spellings_of_json_are_accepted(self, shared: Any, path: str, kind: str) -> None:
        response = shared.call("POST", path, content=b'{"n": 0}', headers={"Content-Type": kind})
        assert response.status_code == 422

    def test_too_long_is_413(self, shared: Any, path: str) -> None:
        body = json.dumps({"query": "x" * 10_000_000})
        response = shared.call("POST", path, content=body, headers=JSON)
        assert response.status_code == 413
        limit = "4,000,000" if path in BULK else "2,000,000"
        assert error_of(response)["message"].endswith(f"{limit} bytes this server accepts")

    def test_endless_chunks_are_413_before_all_is_read(self, shared: Any, path: str) -> None:
        sent = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(1000):
                sent += 100_000
                yield b" " * 100_000

        response = shared.call("POST", path, content=chunks(), headers=JSON)
        assert response.status_code == 413
        assert error_of(response)["code"] == "body_too_large"
        assert sent <= (32_200_000 if path in BULK else 16_200_000)


def test_413_reaches_a_client_over_a_socket_and_the_connection_lives_on(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    body = json.dumps({"query": "x" * 10_000_000})
    for encoded in (False, True):
        connection.request(
            "POST", "/v1/recommend", iter([body.encode()]) if encoded else body, JSON, encode_chunked=encoded
        )
        response = connection.getresponse()
        assert response.status == 413
        response.read()
    connection.request("POST", "/v1/recommend", "{}", JSON)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_client_that_asks_first_is_told_at_once(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(
            b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 413")


def test_unknown_paths_and_methods(shared: Any) -> None:
    response = shared.get("/v1/nothing")
    assert response.status_code == 404
    assert error_of(response) == {
        "code": "not_found",
        "message": "no such path /v1/nothing; see /docs",
        "field": None,
    }
    for path in ("/v1/recommend/", "/v1/items/", "/v1/users//history", "/static/nothing.js"):
        assert error_of(shared.get(path))["code"] == "not_found", path
    response = shared.get("/v1/recommend")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert error_of(response)["code"] == "method_not_allowed"
    for method, wrong in [
        ("POST", "/v1/items/1"),
        ("PUT", "/v1/items"),
        ("DELETE", "/v1/users"),
        ("GET", "/v1/rank"),
        ("GET", "/v1/events"),
        ("GET", "/v1/events/1"),
    ]:
        assert shared.call(method, wrong).status_code == 405, (method, wrong)


AWKWARD = [
    'a/b "c" ☃/history',
    "../../etc/passwd",
    "a%2Fb",
    "100%",
    "?x=1#y",
    "a+b c",
    "🦊" * 50,
    "x" * 10_000,
    "line\nbreak\n",
    "it's",
    "/",
    "//double//",
    "x/history",
]


@pytest.mark.parametrize("id_", AWKWARD)
def test_awkward_ids_round_trip_through_paths(served: Any, address: str, id_: str) -> None:
    served.store.upsert_items([Item(id_, {"title": "Awkward"})])
    served.store.add_events([Event(id_, id_, "view", 5, None, "e")])
    with httpx.Client(base_url=address) as client:
        item = client.get(f"/v1/items/{quote(id_, safe='')}")
        assert item.status_code == 200, item.text
        assert item.json() == {
            "item_id": id_,
            "title": "Awkward",
            "attributes": {"title": "Awkward"},
            "hidden": False,
            "expires_at": None,
        }
        history = client.get(f"/v1/users/{quote(id_, safe='')}/history")
        assert history.json() == {
            "user_id": id_,
            "events": [
                {
                    "item_id": id_,
                    "title": "Awkward",
                    "event": "view",
                    "timestamp": 5,
                    "value": None,
                    "text": None,
                    "context": None,
                    "event_id": "e",
                }
            ],
            "cursor": None,
        }


def test_items(served: Any) -> None:
    answer = served.get("/v1/items/260")
    ItemAnswer.model_validate(answer.json())
    assert answer.json()["title"] == "Star Wars"
    response = served.get("/v1/items/none")
    assert (response.status_code, error_of(response)["field"]) == (404, "item_id")
    assert served.get("/v1/items/a%00b").status_code == 422
    assert served.get("/v1/items/" + "x" * 10_001).status_code == 422
    served.store.upsert_items([Item("260", {"title": "Star Wars: Episode IV"})])
    assert served.get("/v1/items/260").json()["title"] == "Star Wars: Episode IV"


def test_a_history_goes_on_where_it_stopped(served: Any) -> None:
    served.store.add_events([Event("ada", f"i{n}", "view", n // 4, event_id=str(n)) for n in range(10)])
    listed: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        answer = served.get("/v1/users/ada/history", params=query).json()
        HistoryAnswer.model_validate(answer)
        listed.extend(event["item_id"] for event in answer["events"])
        cursor = answer["cursor"]
        if cursor is None:
            break
        # What happens meanwhile repeats and skips nothing.
        served.post("/v1/events", {"user_id": "ada", "item_id": "new", "event": "view"})
        served.call("DELETE", "/v1/events/9")
    assert listed == [f"i{n}" for n in reversed(range(10))]
    first = served.get("/v1/users/ada/history?limit=3").json()["cursor"]
    of_items = served.get("/v1/items?limit=1").json()["cursor"]
    for path, wrong in (("bo", first), ("ada", of_items), ("ada", "x"), ("ada", first[:-2] + "zz")):
        response = served.get(f"/v1/users/{path}/history", params={"cursor": wrong})
        assert (response.status_code, error_of(response)["field"]) == (422, "cursor")


def test_a_history_names_its_items(served: Any) -> None:
    served.store.upsert_items([Item("late", {"name": "Came later"}), Item("gone", {"title": "Gone"})])
    served.store.delete_items(["gone", "260"])
    for item in ("1", "late", "gone", "260", "unknown"):
        served.post("/v1/events", {"user_id": "ada", "item_id": item, "event": "view"})
    events = served.get("/v1/users/ada/history").json()["events"]
    assert {event["item_id"]: event["title"] for event in events} == {
        "1": "Toy Story",
        "late": "Came later",
        "gone": "gone",
        "260": "260",
        "unknown": "unknown",
    }


def test_history(served: Any) -> None:
    served.store.add_events([Event("ada", f"i{n}", "view", n) for n in range(1, 61)])
    answer = served.get("/v1/users/ada/history")
    HistoryAnswer.model_validate(answer.json())
    assert [one["item_id"] for one in answer.json()["events"]] == [f"i{n}" for n in range(60, 10, -1)]
    assert len(served.get("/v1/users/ada/history?limit=7").json()["events"]) == 7
    nothing = {"user_id": "nobody", "events": [], "cursor": None}
    assert served.get("/v1/users/nobody/history").json() == nothing
    for wrong in ("0", "1001", "x", ""):
        response = served.get(f"/v1/users/ada/history?limit={wrong}")
        assert response.status_code == 422
        assert error_of(response)["field"] == "limit"


def test_plugins(shared: Any) -> None:
    answer = shared.get("/v1/plugins").json()
    PluginsAnswer.model_validate(answer)
    (plugin,) = answer["plugins"]
    assert (plugin["name"], plugin["distribution"], plugin["error"]) == ("builtins", "recserve", None)
    components = {(one["stage"], one["name"]): one for one in plugin["components"]}
    fields = components["item_text", "fields"]
    assert fields["parameters"]["properties"]["separator"]["default"] == ". "
    assert ("explainer", "template") in components


def test_about(shared: Any) -> None:
    answer = shared.get("/v1/about").json()
    AboutAnswer.model_validate(answer)
    assert answer["version"] == recserve.__version__
    assert answer["scenarios"] == ["home"]
    assert answer["events"]["rating"] == {"weight": 1.0, "value_range": [0.5, 5.0]}
    assert answer["sample_users"] == ["ada", "grace"]


def test_settings_follow_the_configuration() -> None:
    settings = ApiSettings.of(Config())
    assert settings.scenarios == ("home", "search")
    assert settings.max_body_bytes == Config().server.max_body_bytes
    assert list(settings.event_types) == list(Config().event_types)


def test_health(served: Any) -> None:
    assert served.get("/v1/health/live").json() == {"status": "live"}
    answer = served.get("/v1/health/ready")
    ReadyAnswer.model_validate(answer.json())
    assert answer.json() == {
        "ready": True,
        "bundle": "test-bundle",
        "store": True,
        "stages": {},
        "details": {},
    }
    served.break_store()
    answer = served.get("/v1/health/ready").json()
    assert (answer["ready"], answer["store"]) == (True, False)
    assert answer["details"]["store"]


def test_before_there_is_a_backend_everything_is_503(served: Any) -> None:
    backend, served.app.state.backend = served.app.state.backend, None
    for path in ("/v1/health/live", "/v1/health/ready", "/v1/items/1", "/v1/plugins", "/v1/about"):
        response = served.get(path)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert error_of(response) == {"code": "not_ready", "message": "the server is starting", "field": None}
    served.app.state.backend = backend
    assert served.get("/v1/health/live").status_code == 200


def test_a_broken_store_refuses_writes_but_not_recommendations(served: Any) -> None:
    served.break_store()
    response = served.post("/v1/events", {"user_id": "ada", "item_id": "1", "event": "view"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert error_of(response)["code"] == "store_unavailable"
    answer = served.post("/v1/recommend", {"user_id": "ada"})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["store"]
    assert served.get("/v1/items/260").status_code == 200
    assert served.get("/v1/users/ada/history").status_code == 503


class Faulty:
    """A backend that fails as told."""

    cursors = Cursors("secret")

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def recommend(self, request: Any) -> Any:
        raise self._error

    async def ready(self) -> Readiness:
        return Readiness(False, None, True, {"ranking": False}, {"ranking": "does not answer"})

    async def live(self) -> bool:
        return False


def test_faults_are_hidden_and_logged(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    served.app.state.backend = Faulty(RuntimeError("secret password"))
    with caplog.at_level(logging.ERROR, logger="recserve.api.middleware.errors"):
        response = served.post("/v1/recommend", {})
    assert response.status_code == 500
    assert error_of(response) == {
        "code": "internal",
        "message": "internal error; see the server's log",
        "field": None,
    }
    assert "secret password" in caplog.text


@pytest.mark.parametrize("error", [OverloadedError("too many requests"), StoreError("database is gone")])
def test_busy_and_broken_are_503_with_retry_after(served: Any, error: Any) -> None:
    served.app.state.backend = Faulty(error)
    response = served.post("/v1/recommend", {})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert error_of(response)["code"] == error.code
    # What the database said may name its place.
    assert ("database" in response.text) is False
    assert ("too many requests" in response.text) is isinstance(error, OverloadedError)


def test_unready_says_what_is_missing(served: Any) -> None:
    served.app.state.backend = Faulty(RuntimeError())
    response = served.get("/v1/health/ready")
    assert response.status_code == 503
    assert error_of(response)["message"] == "ranking: does not answer"
    assert served.get("/v1/health/live").status_code == 503


def test_answers_survive_what_orjson_refuses() -> None:
    content = {"big": 2**70, "half": "\ud83e", "nan": float("nan"), "list": (1, [float("inf")]), "ok": "é"}
    assert json.loads(dumps(content)) == {
        "big": 2**70,
        "half": "\ud83e",
        "nan": None,
        "list": [1, [None]],
        "ok": "é",
    }
    assert dumps({"nan": float("nan")}) == b'{"nan":null}'


def test_an_app_needs_no_backend_to_describe_itself() -> None:
    assert create_app().openapi()["info"]["version"] == recserve.__version__
