"""What a request or an event says was the case is stored within bounds, and is part of what a person did."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api import ApiSettings
from recserve.api.routes.hooks.mapping import HookMapping
from recserve.telemetry.instruments import CONTEXTS_LOST
from tests.recserve.api.routes.hooks.conftest import hook

SAID = {"device": "phone", "logged_in": True, "battery": 0.5}
TEXT = '{"battery": 0.5, "device": "phone", "logged_in": true}'


def event(**changes: Any) -> dict[str, Any]:
    return {"user_id": "ada", "item_id": "1", "event": "view", "event_id": "e", **changes}


def test_an_event_says_what_was_the_case(served: Any) -> None:
    for _ in range(2):
        assert served.post("/v1/events", event(context=SAID)).status_code == 200
    assert served.post("/v1/events", event(context={})).json()["error"]["code"] == "event_id_conflict"
    listed = served.get("/v1/users/ada/history").json()["events"]
    assert [one["context"] for one in listed] == [SAID]


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"a": {"secret": 1}}, "'a' is none of them"),
        ({str(number): 1 for number in range(33)}, "more than 32 keys"),
        ({"a": "secret" * 400}, "longer than 2,000 bytes"),
        ("phone", "must be a JSON object"),
    ],
)
def test_beyond_the_bounds_is_one_clear_error(served: Any, context: Any, message: str) -> None:
    answer = served.post("/v1/events", {"events": [event(context=context)]})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["field"].startswith("events[0].context")
    assert message in error["message"]
    assert "secret" not in answer.text


def test_what_a_request_says_is_stored_with_what_it_showed(served: Any) -> None:
    bodies = (
        {"context": {**SAID, "nested": {"plugins": "read this"}, "nothing": None}},
        {},
        {"context": {"nested": []}},
        {"context": {"long": "x" * 3000}},
    )
    ids = [served.post("/v1/recommend", {"n": 2, **body}).json()["recommendation_id"] for body in bodies]
    served.store.flush()
    shown = [served.store.exposures(recommendation_id) for recommendation_id in ids]
    assert [one.context for one in shown] == [TEXT, None, None, None]
    lines = served.get("/v1/metrics").text.splitlines()
    lost = [line for line in lines if line.startswith(CONTEXTS_LOST.name)]
    assert [line.rpartition(" ")[2] for line in lost] == ["1.0"]


def test_a_hook_finds_it_in_the_body() -> None:
    fields = {"user_id": "who", "item_id": "what", "event": {"constant": "view"}, "context": "client"}
    mapping = HookMapping("shop", hook(fields=fields, each=None), ApiSettings())
    body = {"who": "ada", "what": "1", "client": SAID}
    (mapped,) = mapping.events(body, b"", 1_800_000_000_000).events
    assert mapped.context == TEXT
