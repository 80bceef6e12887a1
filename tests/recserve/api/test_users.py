"""`/v1/users`: profiles, logging in, and being forgotten."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest

from recserve.api.schemas.browsing import UsersAnswer
from recserve.api.schemas.responses import (
    ChangedAnswer,
    MergedAnswer,
    ReceiptAnswer,
    UserAnswer,
    UsersStoredAnswer,
)


def send(served: Any, method: str, body: Any, path: str = "/v1/users") -> Any:
    response = served.call(method, path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def user(user_id: str, **attributes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "attributes": attributes}


def history(served: Any, user_id: str) -> list[str]:
    answer = served.get(f"/v1/users/{user_id}/history").json()
    return [event["item_id"] for event in answer["events"]]


def found(served: Any, **body: Any) -> list[str]:
    answer = served.post("/v1/recommend", body).json()
    return [one["item_id"] for one in answer["items"]]


class TestProfiles:
    def test_a_profile_is_kept_replaced_and_changed(self, served: Any) -> None:
        answer = send(served, "POST", {"users": [user("ada", interests="war", country="NO"), user("bo")]})
        UsersStoredAnswer.model_validate(answer)
        assert answer == {"accepted": 2}
        shown = served.get("/v1/users/ada").json()
        UserAnswer.model_validate(shown)
        assert shown == {"user_id": "ada", "attributes": {"interests": "war", "country": "NO"}}

        changed = send(served, "PATCH", {"users": [user("ada", country=None, age=36), user("nobody", age=1)]})
        ChangedAnswer.model_validate(changed)
        assert changed == {"changed": 1, "unknown": ["nobody"]}
        assert served.get("/v1/users/ada").json()["attributes"] == {"interests": "war", "age": 36}

        send(served, "POST", {"users": [user("ada", city="Oslo")]})
        assert served.get("/v1/users/ada").json()["attributes"] == {"city": "Oslo"}

    def test_of_equal_ids_the_last_counts(self, served: Any) -> None:
        assert send(served, "POST", {"users": [user("ada", a=1), user("ada", a=2)]}) == {"accepted": 1}
        assert served.get("/v1/users/ada").json()["attributes"] == {"a": 2}

    def test_without_a_profile_it_is_404(self, served: Any) -> None:
        served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "like"})
        response = served.get("/v1/users/ada")
        assert response.status_code == 404
        assert response.json()["error"]["field"] == "user_id"

    def test_listed_part_by_part(self, served: Any) -> None:
        send(served, "POST", {"users": [user(f"u{n}", n=n) for n in range(10)]})
        listed: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = served.get(
                "/v1/users", params={"limit": 3, **({"cursor": cursor} if cursor else {})}
            ).json()
            UsersAnswer.model_validate(answer)
            listed.extend(answer["users"])
            cursor = answer["cursor"]
            if cursor is None:
                break
        assert sorted(one["attributes"]["n"] for one in listed) == list(range(10))
        of_items = served.get("/v1/items?limit=1").json()["cursor"]
        assert served.get("/v1/users", params={"cursor": of_items}).status_code == 422

    @pytest.mark.parametrize(
        ("method", "body", "field"),
        [
            ("POST", {"users": []}, "users"),
            ("POST", {"users": [{"user_id": ""}]}, "users[0].user_id"),
            ("POST", {"users": [{"attributes": {}}]}, "users[0].user_id"),
            ("POST", {"users": [{"user_id": "a", "name": "x"}]}, "users[0].name"),
            ("POST", {"users": [{"user_id": "a", "attributes": None}]}, "users[0].attributes"),
            ("PATCH", {"users": [{"user_id": "a", "attributes": [1]}]}, "users[0].attributes"),
            ("PATCH", {"user": []}, "users"),
        ],
    )
    def test_mistakes_are_named(self, shared: Any, method: str, body: Any, field: str) -> None:
        response = shared.call(method, "/v1/users", json=body)
        assert response.status_code == 422
        assert response.json()["error"]["field"] == field

    @pytest.mark.parametrize("id_", ["a/b c", "x/history", "x/merge", "100%", "🦊", "history"])
    def test_awkward_ids(self, served: Any, id_: str) -> None:
        path = f"/v1/users/{quote(id_, safe='')}"
        send(served, "POST", {"users": [user(id_, me=True)]})
        assert served.get(path).json() == {"user_id": id_, "attributes": {"me": True}}
        served.post("/v1/events", {"user_id": id_, "item_id": "1", "event": "view"})
        assert served.get(f"{path}/history").json()["events"][0]["item_id"] == "1"
        assert send(served, "POST", {"from": "nobody"}, f"{path}/merge") == {"moved": 0}
        assert served.call("DELETE", path).json()["deleted"] == {
            "events": 1,
            "exposures": 0,
            "profiles": 1,
            "impressions": 0,
        }
        assert served.get(path).status_code == 404


@pytest.mark.parametrize(("method", "part"), [("DELETE", "history"), ("DELETE", "merge"), ("GET", "merge")])
def test_a_part_of_a_user_is_not_a_user(served: Any, method: str, part: str) -> None:
    send(served, "POST", {"users": [user(f"ada/{part}", a=1)]})
    response = served.call(method, f"/v1/users/ada/{part}")
    assert response.status_code == 405
    assert response.headers["allow"] == ("GET" if part == "history" else "POST")
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert served.get(f"/v1/users/ada%2F{part}").status_code == 200
    assert served.post(f"/v1/users/ada%2F{part}", {"from": "x"}).status_code == 405


class TestMerge:
    def test_a_session_becomes_the_person(self, served: Any) -> None:
        served.post("/v1/events", {"user_id": "ada", "item_id": "1", "event": "view"})
        for item in ("260", "1196"):
            served.post("/v1/events", {"user_id": "session-1", "item_id": item, "event": "like"})
        send(
            served, "POST", {"users": [user("ada", country="NO"), user("session-1", country="SE", lang="sv")]}
        )
        of_session = found(served, user_id="session-1", seen="allow")
        answer = send(served, "POST", {"from": "session-1"}, "/v1/users/ada/merge")
        MergedAnswer.model_validate(answer)
        assert answer == {"moved": 2}
        assert history(served, "ada") == ["1196", "260", "1"]
        assert history(served, "session-1") == []
        assert served.get("/v1/users/ada").json()["attributes"] == {"country": "NO", "lang": "sv"}
        assert served.get("/v1/users/session-1").status_code == 404
        # What the session did counts for the person from the next request on, and for the session no more.
        assert not {"1", "260", "1196"} & set(found(served, user_id="ada"))
        assert found(served, user_id="session-1", seen="allow") != of_session
        assert found(served, user_id="session-1") == found(served, user_id="somebody new")

    def test_merging_again_does_no_harm(self, served: Any) -> None:
        served.post("/v1/events", {"user_id": "session-1", "item_id": "260", "event": "like"})
        assert send(served, "POST", {"from": "session-1"}, "/v1/users/ada/merge") == {"moved": 1}
        assert send(served, "POST", {"from": "session-1"}, "/v1/users/ada/merge") == {"moved": 0}
        assert history(served, "ada") == ["260"]

    @pytest.mark.parametrize("body", [{}, {"from": ""}, {"from": "ada"}, {"source": "x"}, {"from": 5}, []])
    def test_mistakes(self, shared: Any, body: Any) -> None:
        response = shared.call("POST", "/v1/users/ada/merge", json=body)
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_request"

    def test_the_field_is_called_from(self, shared: Any) -> None:
        error = shared.call("POST", "/v1/users/ada/merge", json={"form": "x"}).json()["error"]
        assert (error["field"], error["message"]) == ("from", "from is missing (and 1 more)")
        error = shared.call("POST", "/v1/users/ada/merge", json={"from": "y", "source": "x"}).json()["error"]
        assert error["message"] == "unknown field 'source' (known: from)"


class TestForget:
    def test_nothing_is_left_and_the_receipt_says_what_there_was(self, served: Any) -> None:
        like = {"user_id": "grace-hopper-1906", "event": "like"}
        before = found(served, user_id="grace-hopper-1906")
        served.post("/v1/events", {"events": [{**like, "item_id": one} for one in ("260", "1196")]})
        send(served, "POST", {"users": [user("grace-hopper-1906", interests="space")]})
        shown = served.post("/v1/recommend", {"user_id": "grace-hopper-1906"}).json()
        served.store.flush()
        earliest = int(time.time() * 1000)
        receipt = served.call("DELETE", "/v1/users/grace-hopper-1906").json()
        ReceiptAnswer.model_validate(receipt)
        assert receipt["deleted"] == {"events": 2, "exposures": 2, "profiles": 1, "impressions": 0}
        assert earliest <= receipt["deleted_at"] <= time.time() * 1000
        assert receipt["verify"] == f"Run: recserve deletions verify {receipt['receipt_id']}"

        assert history(served, "grace-hopper-1906") == []
        assert served.get("/v1/users/grace-hopper-1906").status_code == 404
        assert served.store.exposures(shown["recommendation_id"]) is None
        assert found(served, user_id="grace-hopper-1906") == before
        deletion = served.store.deletion(receipt["receipt_id"])
        assert not any(served.store.traces(deletion).values())

        (entry,) = served.store.audit(10)
        assert (entry.actor, entry.action, entry.target) == (
            "anonymous",
            "user.delete",
            receipt["receipt_id"],
        )
        assert entry.detail == receipt["deleted"]
        assert "grace" not in repr(entry)

    def test_somebody_unknown_gets_a_receipt_too(self, served: Any) -> None:
        first = served.call("DELETE", "/v1/users/nobody").json()
        second = served.call("DELETE", "/v1/users/nobody").json()
        assert first["deleted"] == {"events": 0, "exposures": 0, "profiles": 0, "impressions": 0}
        assert first["receipt_id"] != second["receipt_id"]

    def test_what_comes_later_is_a_new_beginning(self, served: Any) -> None:
        served.call("DELETE", "/v1/users/ada")
        served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "like"})
        assert history(served, "ada") == ["260"]
        assert "260" not in found(served, user_id="ada")


def test_a_lost_store_is_503(served: Any) -> None:
    served.break_store()
    for method, path, body in [
        ("POST", "/v1/users", {"users": [user("ada")]}),
        ("PATCH", "/v1/users", {"users": [user("ada", a=1)]}),
        ("GET", "/v1/users", None),
        ("GET", "/v1/users/ada", None),
        ("POST", "/v1/users/ada/merge", {"from": "x"}),
        ("DELETE", "/v1/users/ada", None),
    ]:
        response = served.call(method, path, **({} if body is None else {"json": body}))
        assert response.status_code == 503, (method, path, response.text)
        assert response.json()["error"]["code"] == "store_unavailable"
