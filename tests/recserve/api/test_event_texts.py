"""What people write: stored with `/v1/events`, steering the very next answer, gone with the person."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from recserve import Event

SEARCHES = ("prison redemption", "the shawshank prison", "redemption")


def search(text: str, **changes: Any) -> dict[str, Any]:
    return {"user_id": "ada", "event": "search", "text": text, **changes}


def answer(served: Any, user: str = "ada") -> Any:
    return served.post("/v1/recommend", {"user_id": user, "n": 3}).json()


def test_three_searches_alone_steer_the_very_next_answer(served: Any) -> None:
    before = answer(served)
    assert before["items"][0]["item_id"] == "1"
    for text in SEARCHES:
        assert served.post("/v1/events", search(text)).json()["stored"] == 1
    after = answer(served)
    assert after["items"][0]["item_id"] == "318"
    assert after["items"][0]["explanation"] == "Because you searched for “the shawshank prison”"
    assert "encoding" in after["timings"]
    assert after["degraded"] == []
    assert answer(served, "grace")["items"] == before["items"]


def test_a_review_speaks_beside_its_item(served: Any) -> None:
    review = search("like jurassic park", event="rating", value=5, item_id="1")
    assert served.post("/v1/events", review).status_code == 200
    found = answer(served)["items"]
    assert "Because you wrote “like jurassic park”" in {item["explanation"] for item in found}
    assert "480" in {item["item_id"] for item in found}
    assert "1" not in {item["item_id"] for item in found}
    assert served.store.counts().events == 1


def test_a_text_is_encoded_once_it_is_acknowledged(served: Any) -> None:
    async def post() -> None:
        transport = httpx.ASGITransport(served.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            sent = await client.post("/v1/events", json=search(SEARCHES[1], event_id="s"))
            assert sent.status_code == 200
            for _ in range(500):
                if served.store.text_vectors(["s"], "words"):
                    return
                await asyncio.sleep(0.02)

    asyncio.run(post())
    # From now on nobody needs the encoder for it.
    served.client.broken = {"encoding"}
    found = answer(served)
    assert (found["items"][0]["item_id"], found["degraded"]) == ("318", [])


def test_a_vector_of_another_replica_is_read_and_one_of_another_encoder_is_not(served: Any) -> None:
    vector = np.zeros(256, dtype=np.float32)
    vector[zlib.crc32(b"redemption") % 256] = 1
    served.store.add_events([Event("ada", "", "search", 1, event_id="s", text="anything")])
    served.store.set_text_vectors({"s": vector}, "another encoder")
    served.client.broken = {"encoding"}
    assert answer(served)["degraded"] == ["encoding"]
    served.store.set_text_vectors({"s": vector}, "words")
    found = answer(served)
    assert (found["items"][0]["item_id"], found["degraded"]) == ("318", [])


def test_without_the_encoder_the_answer_goes_without_what_is_new(served: Any) -> None:
    served.client.broken = {"encoding"}
    served.post("/v1/events", search(SEARCHES[1]))
    lost = answer(served)
    assert (lost["items"][0]["item_id"], lost["degraded"]) == ("1", ["encoding"])
    assert answer(served, "grace")["degraded"] == []
    served.client.broken = set()
    assert answer(served)["items"][0]["item_id"] == "318"


def test_the_history_tells_what_was_written(served: Any) -> None:
    served.post(
        "/v1/events", {"events": [search(" space \n opera ", event_id="s"), search("x", item_id="1")]}
    )
    newest, oldest = served.get("/v1/users/ada/history").json()["events"]
    assert (oldest["item_id"], oldest["title"], oldest["text"]) == (None, None, "space opera")
    assert (newest["item_id"], newest["title"], newest["text"]) == ("1", "Toy Story", "x")
    assert served.call("DELETE", "/v1/events/s").json() == {"deleted": 1}
    assert len(served.get("/v1/users/ada/history").json()["events"]) == 1


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        (search(""), "text", "must not be empty"),
        (search(" \t\n"), "text", "must not be empty"),
        (search("x" * 10_001), "text", "must not be longer than 10,000 characters"),
        (search("a\x00b"), "text", "must not hold a NUL character"),
        (search("a\ud83cb"), None, "half of a surrogate pair"),
        ({**search("x"), "text": 5}, "text", "must be a valid string"),
        ({**search("x"), "text": None}, "item_id", "an event needs an item_id, a text, or both"),
        ({"user_id": "ada", "event": "view"}, "item_id", "an event needs an item_id, a text, or both"),
        (search("x", item_id=""), "item_id", "at least 1 character"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(
    served: Any, event: dict[str, Any], field: str | None, reason: str
) -> None:
    in_batch = None if field is None else f"events[1].{field}"
    for body, place in ((event, field), ({"events": [search("fine"), event]}, in_batch)):
        # As JSON of ASCII, which can write half of a surrogate pair.
        refused = served.call(
            "POST", "/v1/events", content=json.dumps(body), headers={"content-type": "application/json"}
        )
        assert refused.status_code == 422, refused.text
        error = refused.json()["error"]
        assert (error["code"], error["field"]) == ("invalid_request", place)
        assert reason in error["message"]
        assert "\n" not in error["message"]
    assert served.store.counts().events == 0


def test_the_longest_text_and_any_script_are_taken(served: Any) -> None:
    for number, text in enumerate(("字" * 10_000, "<script>🎬</script> مرحبا mixed 机器人", "x " * 4_000)):
        assert served.post("/v1/events", search(text, event_id=str(number))).json()["stored"] == 1
    texts = {event["text"] for event in served.get("/v1/users/ada/history").json()["events"]}
    assert "<script>🎬</script> مرحبا mixed 机器人" in texts
    assert answer(served)["degraded"] == []


def test_a_deleted_persons_words_say_nothing_any_more(served: Any) -> None:
    for text in SEARCHES:
        served.post("/v1/events", search(text))
    assert answer(served)["items"][0]["item_id"] == "318"
    receipt = served.call("DELETE", "/v1/users/ada").json()
    assert receipt["deleted"]["events"] == 3
    assert answer(served)["items"][0]["item_id"] == "1"
    assert served.get("/v1/users/ada/history").json()["events"] == []


def test_a_sessions_words_become_the_persons(served: Any) -> None:
    served.post("/v1/events", search(SEARCHES[1], user_id="session"))
    served.post("/v1/users/ada/merge", {"from": "session"})
    assert answer(served)["items"][0]["item_id"] == "318"
    assert answer(served, "session")["items"][0]["item_id"] == "1"
