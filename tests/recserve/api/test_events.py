"""`/v1/events`: durable, counted at once, all or nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve.api.schemas.recommend_request import parse_timestamp


def event(**changes: Any) -> dict[str, Any]:
    return {"user_id": "ada", "item_id": "260", "event": "view", **changes}


def top(served: Any, user: str) -> list[str]:
    answer = served.post("/v1/recommend", {"user_id": user, "n": 3}).json()
    return [item["item_id"] for item in answer["items"]]


def test_an_event_changes_the_very_next_answer(served: Any) -> None:
    before = top(served, "ada")
    assert before == ["1", "2", "6"]
    response = served.post("/v1/events", event(event="rating", value=5))
    assert response.status_code == 200
    assert response.json() == {"accepted": 1, "stored": 1, "duplicates": 0}
    after = top(served, "ada")
    assert after[:2] == ["480", "1196"]
    assert "260" not in after
    assert top(served, "grace") == before


def test_a_repeated_event_id_is_stored_once(served: Any) -> None:
    assert served.post("/v1/events", event(event_id="e1")).json()["stored"] == 1
    again = served.post("/v1/events", {"events": [event(event_id="e1"), event(event_id="e2")]})
    assert again.json() == {"accepted": 2, "stored": 1, "duplicates": 1}
    assert len(served.get("/v1/users/ada/history").json()["events"]) == 2


def test_ten_thousand_events_in_one_call(served: Any) -> None:
    batch = [event(user_id=f"u{n % 100}", item_id=f"i{n}", event_id=f"k{n}") for n in range(10_000)]
    response = served.post("/v1/events", {"events": batch})
    assert response.json() == {"accepted": 10_000, "stored": 10_000, "duplicates": 0}
    assert served.store.counts().events == 10_000
    one_more = served.post("/v1/events", {"events": [*batch, event()]})
    assert one_more.status_code == 422
    assert one_more.json()["error"]["field"] == "events"


def test_a_batch_that_is_sent_again_is_stored_once(served: Any) -> None:
    batch = [event(user_id=f"u{n % 7}", item_id=f"i{n}", event_id=f"k{n}") for n in range(500)]
    assert served.post("/v1/events", {"events": batch[:300]}).json()["stored"] == 300
    for stored in (200, 0, 0):
        answer = served.post("/v1/events", {"events": batch}).json()
        assert answer == {"accepted": 500, "stored": stored, "duplicates": 500 - stored}
    assert served.store.counts().events == 500


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=8), min_size=1, max_size=6))
def test_however_often_events_come_each_is_stored_once(served: Any, calls: list[list[int]]) -> None:
    user = str(uuid4())
    for call in calls:
        batch = [event(user_id=user, item_id=f"i{n}", event_id=f"{user}/{n}") for n in call]
        answer = served.post("/v1/events", {"events": batch}).json()
        assert answer["stored"] + answer["duplicates"] == len(call)
    listed = served.get(f"/v1/users/{user}/history").json()["events"]
    assert sorted(one["item_id"] for one in listed) == sorted({f"i{n}" for call in calls for n in call})


def test_the_recommendation_that_led_to_an_event_is_kept(served: Any) -> None:
    shown = served.post("/v1/recommend", {"user_id": "ada", "n": 3}).json()
    clicked = event(event="click", recommendation_id=shown["recommendation_id"])
    assert served.post("/v1/events", {"events": [clicked, event(item_id="1")]}).json()["stored"] == 2
    table, _ = served.store.events_after(0, 10)
    assert table.column("recommendation_id").to_pylist() == [shown["recommendation_id"], None]


@pytest.mark.parametrize("wrong", ["", "x" * 201, "a\x00", 5])
def test_a_recommendation_id_is_a_short_text(shared: Any, wrong: Any) -> None:
    response = shared.post("/v1/events", event(recommendation_id=wrong))
    assert response.status_code == 422
    assert response.json()["error"]["field"] == "recommendation_id"


def test_outcomes_of_new_items_are_counted_once(served: Any) -> None:
    item = {"item_id": "t-1", "attributes": {"title": "Lighthouse keeper", "year": 2024, "genres": ["War"]}}
    served.post("/v1/items", {"items": [item]})
    served.until(lambda: served.post("/v1/rank", {"items": ["t-1"]}).json()["left_out"] == [])
    outcome = {"recommendation_id": "r-1", "user_id": "ada"}
    batch = [
        event(item_id="t-1", event="click", event_id="a", **outcome),
        event(item_id="t-1", event="dislike", event_id="b", **outcome),
        event(item_id="t-1", event="click", event_id="c"),
        event(item_id="1", event="click", event_id="d", **outcome),
    ]
    for _ in range(2):
        served.post("/v1/events", {"events": batch})
    served.store.flush()
    served.until(lambda: "t-1" in served.store.trials(["t-1", "1"]))
    trials = served.store.trials(["t-1", "1"])
    assert {item_id: trial.clicked for item_id, trial in trials.items()} == {"t-1": 1}


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"event": "liek"}, "event", "unknown event type 'liek'; did you mean 'like'? (known: add_to_cart,"),
        ({"item_id": "a\x00"}, "item_id", "must not hold a NUL character"),
        ({"user_id": ""}, "user_id", "must have at least 1 character"),
        ({"timestamp": "yesterday"}, "timestamp", "'yesterday' is not a time; use ISO 8601"),
        ({"timestamp": -5}, "timestamp", "must lie between the years 1970 and 9999"),
        ({"timestamp": True}, "timestamp", "must be an ISO 8601 string or a number"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "timestamp", "must lie between the years 1970 and 9999"),
        ({"timestamp": 4e12}, "timestamp", "2096-10-02T07:06:40+00:00 is more than a day in the future"),
        ({"value": "5"}, "value", "must be a valid number"),
        (
            {"event": "rating", "value": 10},
            "value",
            "10 is off the scale of 'rating', which runs from 0.5 to 5",
        ),
        ({"itm_id": "x"}, "itm_id", "did you mean 'item_id'?"),
    ],
)
def test_one_wrong_event_refuses_the_batch_and_is_named(
    served: Any, wrong: dict[str, Any], field: str, message: str
) -> None:
    batch = {"events": [event(), event(item_id="1"), event(**wrong), event(item_id="2")]}
    response = served.post("/v1/events", batch)
    error = response.json()["error"]
    assert response.status_code == 422
    assert error["field"] == f"events[2].{field}"
    assert f"events[2].{field}" in error["message"]
    assert message in error["message"]
    assert served.store.counts().events == 0

    alone = served.post("/v1/events", event(**wrong))
    assert alone.status_code == 422
    assert alone.json()["error"]["field"] == field


@pytest.mark.parametrize("body", [{}, {"events": []}, {"events": {}}, {"events": [1]}, [event()], "x", 5])
def test_other_shapes_are_refused(shared: Any, body: Any) -> None:
    response = shared.post("/v1/events", body)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_request"


def test_a_field_beside_events_is_refused(shared: Any) -> None:
    response = shared.post("/v1/events", {"events": [event()], "user_id": "ada"})
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("unknown field 'user_id' (known: events)")


def test_half_a_surrogate_pair_is_refused(shared: Any) -> None:
    raw = json.dumps(event(item_id="\ud83e"))  # json escapes it: valid JSON, not valid Unicode
    headers = {"Content-Type": "application/json"}
    for escape in (raw, raw.replace("\\ud83e", "\\udd8a"), raw.replace("\\ud83e", "\\ud83ex")):
        response = shared.call("POST", "/v1/events", content=escape, headers=headers)
        assert response.status_code == 422, escape
        assert "surrogate" in response.json()["error"]["message"]
    whole = raw.replace("\\ud83e", "\\ud83e\\udd8a")
    assert shared.call("POST", "/v1/events", content=whole, headers=headers).status_code == 200


def test_a_time_is_stored_in_milliseconds_and_defaults_to_now(served: Any) -> None:
    earliest = int(time.time() * 1000)
    served.post("/v1/events", event(item_id="now"))
    for number, timestamp in enumerate(
        [
            "2024-02-29T12:00:00+02:00",
            "2024-02-29T10:00:00",
            1_709_200_800,
            1_709_200_800_000,
            1_709_200_800.25,
        ]
    ):
        served.post("/v1/events", event(item_id=f"t{number}", timestamp=timestamp))
    events = served.get("/v1/users/ada/history").json()["events"]
    stored = {one["item_id"]: one["timestamp"] for one in events}
    assert earliest <= stored.pop("now") <= time.time() * 1000
    assert stored.pop("t4") == 1_709_200_800_250
    assert set(stored.values()) == {1_709_200_800_000}
    assert events[0]["item_id"] == "now"  # newest first


def test_soon_is_not_the_future(served: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=23)).isoformat()
    assert served.post("/v1/events", event(timestamp=soon)).status_code == 200


@given(
    st.datetimes(min_value=datetime(1973, 3, 4), max_value=datetime(9999, 12, 30), timezones=st.timezones())
)
def test_times_mean_the_same_in_every_notation(moment: datetime) -> None:
    milliseconds = round(moment.timestamp() * 1000)
    assert parse_timestamp(moment.isoformat()) == milliseconds
    assert parse_timestamp(milliseconds) == milliseconds


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(min_size=1, max_size=40).filter(
        lambda text: "\x00" not in text and text.encode("utf-8", "ignore").decode() == text
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_id_and_value_come_back_as_sent(shared: Any, id_: str, value: float) -> None:
    sent = event(user_id=id_, item_id=id_, event="purchase", value=value, event_id=f"{id_} {value!r}")
    assert shared.post("/v1/events", sent).status_code == 200
    assert shared.store.histories([id_], 1)[id_][0].item_id == id_


def test_writes_that_wait_for_the_store_hold_no_recommendation_up(served: Any) -> None:
    async def go() -> None:
        transport = httpx.ASGITransport(served.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with sqlite3.connect(served.folder / "recserve.db", isolation_level=None) as other:
                other.execute("BEGIN IMMEDIATE")  # now every write waits
                writes = [
                    asyncio.create_task(client.post("/v1/events", json=event(event_id=f"e{n}")))
                    for n in range(60)
                ]
                for _ in range(5):
                    answer = await client.post("/v1/recommend", json={"user_id": "grace"})
                    assert answer.json()["degraded"] == []
                assert not any(write.done() for write in writes)
                other.execute("ROLLBACK")
            assert [(await write).json()["stored"] for write in writes] == [1] * 60

    asyncio.run(go())
    assert served.store.counts().events == 60


def test_a_call_that_the_proxy_repeats_is_stored_once(served: Any, address: str) -> None:
    named = {"user_id": "ada", "item_id": "1", "event": "view", "event_id": "mine"}
    body = {"events": [{"user_id": "ada", "item_id": "1", "event": "view"} for _ in range(3)] + [named]}
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        first = client.post("/v1/events", json=body, headers={"x-recserve-call": "c1"}).json()
        again = client.post("/v1/events", json=body, headers={"x-recserve-call": "c1"}).json()
        other = client.post("/v1/events", json=body, headers={"x-recserve-call": "c2"}).json()
    assert (first["stored"], again["stored"], other["stored"]) == (4, 0, 3)


class TestReusedIds:
    def test_other_content_is_a_conflict(self, served: Any) -> None:
        first = event(event_id="e1", event="rating", value=4, timestamp=7)
        assert served.post("/v1/events", first).json()["stored"] == 1
        assert served.post("/v1/events", first).json() == {"accepted": 1, "stored": 0, "duplicates": 1}
        for change in ({"item_id": "1"}, {"user_id": "bo"}, {"value": 5}, {"timestamp": 8}):
            response = served.post("/v1/events", {**first, **change})
            assert response.status_code == 409
            error = response.json()["error"]
            assert (error["code"], error["field"]) == ("event_id_conflict", "event_id")
            assert error["message"].startswith("event_id: ")
        assert [one["value"] for one in served.get("/v1/users/ada/history").json()["events"]] == [4.0]

    def test_a_batch_names_the_event_and_stores_none(self, served: Any) -> None:
        served.post("/v1/events", event(event_id="e1", timestamp=7))
        batch = [event(event_id="e0"), event(event_id="e1", timestamp=7), event(event_id="e1", item_id="1")]
        response = served.post("/v1/events", {"events": batch})
        assert response.status_code == 409
        assert response.json()["error"]["field"] == "events[2].event_id"
        assert served.store.counts().events == 1
        assert served.post("/v1/events", {"events": batch[:2]}).json() == {
            "accepted": 2,
            "stored": 1,
            "duplicates": 1,
        }
        (only,) = served.post("/v1/events", {"events": batch[2:]}).json().values()
        assert only["field"] == "events[0].event_id"

    def test_a_retry_without_a_time_is_the_same_event(self, served: Any) -> None:
        for stored in (1, 0, 0):
            assert served.post("/v1/events", event(event_id="e1")).json()["stored"] == stored
            time.sleep(0.002)


class TestTakingBack:
    def test_one_event_is_gone_from_the_very_next_answer(self, served: Any) -> None:
        before = top(served, "ada")
        served.post("/v1/events", event(event="like", event_id="e1"))
        assert top(served, "ada") != before
        response = served.call("DELETE", "/v1/events/e1")
        assert (response.status_code, response.json()) == (200, {"deleted": 1})
        assert top(served, "ada") == before
        assert served.get("/v1/users/ada/history").json()["events"] == []
        assert served.call("DELETE", "/v1/events/e1").json() == {"deleted": 0}
        retried = served.post("/v1/events", event(event="like", event_id="e1"))
        assert retried.status_code == 409
        assert retried.json()["error"]["code"] == "event_removed"
        assert top(served, "ada") == before

    def test_all_that_a_user_did_with_an_item(self, served: Any) -> None:
        before = top(served, "ada")
        for kind in ("view", "like"):
            served.post("/v1/events", event(event=kind))
        served.post("/v1/events", event(user_id="bo"))
        assert top(served, "ada") != before
        query = {"user_id": "ada", "item_id": "260"}
        assert served.call("DELETE", "/v1/events", params=query).json() == {"deleted": 2}
        assert top(served, "ada") == before
        assert len(served.get("/v1/users/bo/history").json()["events"]) == 1
        assert served.call("DELETE", "/v1/events", params=query).json() == {"deleted": 0}

    @pytest.mark.parametrize("missing", ["user_id", "item_id"])
    def test_both_must_be_named(self, served: Any, missing: str) -> None:
        served.post("/v1/events", event())
        query = {"user_id": "ada", "item_id": "260"}
        del query[missing]
        response = served.call("DELETE", "/v1/events", params=query)
        assert (response.status_code, response.json()["error"]["field"]) == (422, missing)
        assert served.store.counts().events == 1

    @pytest.mark.parametrize("id_", ["a/b c", "100%", "?x", "é 🎬", "history"])
    def test_awkward_ids(self, served: Any, id_: str) -> None:
        served.post("/v1/events", event(event_id=id_))
        assert served.call("DELETE", f"/v1/events/{quote(id_, safe='')}").json() == {"deleted": 1}
        served.post("/v1/events", event(user_id=id_, item_id=id_))
        query = {"user_id": id_, "item_id": id_}
        assert served.call("DELETE", "/v1/events", params=query).json() == {"deleted": 1}


def test_late_events_of_a_deleted_user_are_refused(served: Any) -> None:
    sent = event(event_id="e1", timestamp=int(time.time() * 1000))
    served.post("/v1/events", sent)
    at = served.call("DELETE", "/v1/users/ada").json()["deleted_at"]
    for late, code in (
        (sent, "event_removed"),
        (event(event_id="e1"), "event_removed"),
        (event(timestamp=at - 1000), "user_deleted"),
        (event(event_id="e2", timestamp=5), "user_deleted"),
    ):
        response = served.post("/v1/events", late)
        assert (response.status_code, response.json()["error"]["code"]) == (409, code)
    assert served.get("/v1/users/ada/history").json()["events"] == []
    assert served.post("/v1/events", event(item_id="1")).json()["stored"] == 1
    shown = served.post("/v1/recommend", {"user_id": "ada"}).json()["recommendation_id"]
    served.post("/v1/recommend", {"user_id": "ada"})
    served.store.flush()
    assert served.store.exposures(shown) is not None, "what comes later is a new beginning"
