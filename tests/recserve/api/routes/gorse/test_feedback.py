"""What feedback becomes: one event for each type, user and item, whatever is sent again or taken back."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.routes.gorse.storing import FeedbackKey, feedback_id, key_of_feedback
from recserve.data.entities import Event

NOON, LATER = "2024-05-01T12:00:00Z", "2024-05-02T12:00:00Z"


def feedback(kind: str, item: str, time: str = NOON, **others: Any) -> dict[str, Any]:
    return {"FeedbackType": kind, "UserId": "ada", "ItemId": item, "Timestamp": time, **others}


@pytest.fixture
def send(gorse_server: Any) -> Any:
    """Send feedback, by POST or PUT."""

    def sending(method: str, *sent: dict[str, Any]) -> None:
        answer = gorse_server.http.request(method, "/feedback", json=list(sent))
        assert (answer.status_code, answer.json()) == (200, {"RowAffected": len(sent)})

    return sending


@pytest.fixture
def stored(gorse_server: Any) -> Any:
    """What is there between the user and an item, by Gorse's API."""
    return lambda item: gorse_server.http.get(f"/feedback/ada/{item}").json()


def test_what_is_sent_again_is_stored_once(gorse_server: Any, send: Any, stored: Any) -> None:
    for time in (NOON, NOON, LATER):
        send("POST", feedback("like", "260", time))
    assert [one["Timestamp"] for one in stored("260")] == [NOON]
    assert len(gorse_server.store.history("ada", 10)) == 1


def test_put_overwrites(gorse_server: Any, send: Any, stored: Any) -> None:
    send("POST", feedback("rating", "260", Value=2), feedback("like", "260"))
    for value, time in ((5, LATER), (5, LATER), (1, NOON), (5, LATER)):
        send("PUT", feedback("rating", "260", time, Value=value, Comment="well, well"))
        (rating,) = [one for one in stored("260") if one["FeedbackType"] == "rating"]
        assert (rating["Value"], rating["Timestamp"], rating["Comment"]) == (value, time, "well, well")
        assert len(gorse_server.store.history("ada", 10)) == 2  # the like is still there


def test_what_was_taken_back_can_be_given_again(gorse_server: Any, send: Any, stored: Any) -> None:
    for _ in range(4):
        send("POST", feedback("like", "260"), feedback("read", "260"))
        assert len(stored("260")) == 2
        assert gorse_server.http.delete("/feedback/like/ada/260").json() == {"RowAffected": 1}
        assert [one["FeedbackType"] for one in stored("260")] == ["read"]
        assert gorse_server.http.get("/feedback/like/ada/260").status_code == 404
        assert gorse_server.http.get("/feedback/read/ada/260").json()["Timestamp"] == NOON
    assert len(gorse_server.store.history("ada", 10)) == 1
    send("POST", feedback("like", "260"))
    assert gorse_server.http.delete("/feedback/ada/260").json() == {"RowAffected": 2}
    assert stored("260") == []


def test_gorses_types_are_told_from_event_types(gorse_server: Any, send: Any, stored: Any) -> None:
    send("POST", feedback("star", "260"), feedback("like", "260"), feedback("like", "47"))
    assert [one["FeedbackType"] for one in stored("260")] == ["like", "star"]
    assert {event.event for _, event in gorse_server.store.history("ada", 10)} == {"like"}
    listed = gorse_server.http.get("/user/ada/feedback/").json()
    assert [(one["FeedbackType"], one["ItemId"]) for one in listed] == [
        ("like", "260"),
        ("like", "47"),
        ("star", "260"),
    ]
    assert gorse_server.http.get("/feedback/star").json()["Feedback"] == [listed[2]]


def test_a_type_is_listed_part_by_part(gorse_server: Any, send: Any) -> None:
    send("POST", *(feedback(kind, str(item)) for item in range(5) for kind in ("read", "like")))
    found, cursor = [], ""
    while True:
        part = gorse_server.http.get("/feedback/like", params={"n": 2, "cursor": cursor}).json()
        found += [one["ItemId"] for one in part["Feedback"]]
        cursor = part["Cursor"]
        if not cursor:
            break
    assert found == ["0", "1", "2", "3", "4"]


def test_feedback_of_a_deleted_person_stays_away(gorse_server: Any, send: Any, stored: Any) -> None:
    send("POST", feedback("like", "260"))
    assert gorse_server.http.delete("/user/ada").json() == {"RowAffected": 1}
    answer = gorse_server.http.post("/feedback", json=[feedback("like", "260")])
    assert answer.status_code == 409
    assert answer.text == "a user was deleted after this; only what happens later is stored"
    assert stored("260") == []
    assert gorse_server.http.get("/user/ada").status_code == 404


def test_feedback_counts_as_events_do(gorse_server: Any, send: Any) -> None:
    send("POST", feedback("like", "260"))
    history = gorse_server.served.get("/v1/users/ada/history").json()["events"]
    assert [(one["event"], one["item_id"], one["title"]) for one in history] == [("like", "260", "Star Wars")]
    found = gorse_server.served.post("/v1/recommend", {"user_id": "ada", "n": 3}).json()
    assert found["items"][0]["explanation"] == "Because you liked Star Wars"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([feedback("love", "260")], "[0]: feedback type 'love' is not configured"),
        ([feedback("like", "1"), feedback("rating", "260", Value=7)], "[1]: value: 7 is off the scale"),
        ([feedback("like", "260", "yesterday")], "[0]: Timestamp: 'yesterday' is not a time"),
        ([{"FeedbackType": "like", "ItemId": "260"}], "[0]: UserId is missing"),
        ({}, "the body must be a JSON array"),
        ([1], "[0]: the body must be a JSON object"),
    ],
)
def test_what_is_wrong_is_said(unchanged: Any, sent: Any, message: str) -> None:
    answer = unchanged.http.post("/feedback", json=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.text.startswith(message)
    assert unchanged.store.history("ada", 1) == []


def test_ids_tell_the_type() -> None:
    key = FeedbackKey("a:b", "ada", "260")
    for suffix in ("", "-0123"):
        event = Event("ada", "260", "like", 0, event_id=feedback_id(key, suffix))
        assert key_of_feedback(event) == key
    assert key_of_feedback(Event("ada", "260", "like", 0, event_id="a1")) == FeedbackKey("like", "ada", "260")
