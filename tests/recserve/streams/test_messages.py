"""Messages are checked by the models of the API, and events get ids that redelivery does not change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recserve import Item, User
from recserve.api.settings import ApiSettings
from recserve.config import TopicKind
from recserve.errors import RecserveError
from recserve.streams.messages import Content, Decoder, Message

TOPICS: dict[str, TopicKind] = {"e": "events", "i": "items", "u": "users", "d": "deletions"}
DECODER = Decoder(ApiSettings(), TOPICS)
EVENT = {"user_id": "u", "item_id": "i", "event": "view"}


def message(topic: str, value: Any, key: bytes | None = None, offset: int = 7, at: int = 1_700_000_000_000):
    return Message(topic, 0, offset, at, key, None if value is None else json.dumps(value).encode())


def test_an_event_without_id_and_time_gets_them_from_its_message() -> None:
    (event,) = DECODER.decode(message("e", EVENT)).events
    assert (event.event_id, event.timestamp, event.timed) == (
        "kafka:e:0:7:1700000000000",
        1_700_000_000_000,
        False,
    )
    (again,) = DECODER.decode(message("e", {"events": [EVENT]})).events
    assert again.event_id == event.event_id
    several = DECODER.decode(message("e", {"events": [EVENT, {**EVENT, "event_id": "mine"}]})).events
    assert [one.event_id for one in several] == ["kafka:e:0:7:1700000000000:0", "mine"]


def test_what_an_event_says_itself_counts() -> None:
    said = {**EVENT, "event_id": "x", "timestamp": 5, "value": 2.0}
    (event,) = DECODER.decode(message("e", said)).events
    assert (event.event_id, event.timestamp, event.timed) == ("x", 5_000, True)


def test_a_time_in_the_future_or_none_is_replaced_by_the_clock() -> None:
    for at in (0, -1, 9_999_999_999_999):
        (event,) = DECODER.decode(message("e", EVENT, at=at)).events
        assert 1_700_000_000_000 < event.timestamp < 9_999_999_999_999


@pytest.mark.parametrize(
    ("topic", "value", "content"),
    [
        ("i", {"item_id": "a", "attributes": {"x": 1}}, Content(items=(Item("a", {"x": 1}),))),
        ("i", {"items": [{"item_id": "a"}, {"item_id": "b"}]}, Content(items=[Item("a"), Item("b")])),
        ("u", {"user_id": "a", "attributes": {"x": 1}}, Content(users=(User("a", {"x": 1}),))),
        ("u", {"users": [{"user_id": "a"}]}, Content(users=[User("a")])),
        ("d", {"user_id": "a"}, Content(deleted_users=("a",))),
        ("d", {"item_id": "a"}, Content(deleted_items=("a",))),
    ],
)
def test_other_topics(topic: str, value: Any, content: Content) -> None:
    assert DECODER.decode(message(topic, value)) == content


def test_a_tombstone_deletes_the_item_of_its_key() -> None:
    assert DECODER.decode(message("i", None, "ä".encode())) == Content(deleted_items=("ä",))


@pytest.mark.parametrize(
    ("topic", "value", "key", "reason"),
    [
        ("e", None, b"k", "no value"),
        ("i", None, None, "no value"),
        ("i", None, b"\xff", "not UTF-8"),
        ("e", {**EVENT, "event": "vew"}, None, "did you mean 'view'"),
        ("e", {**EVENT, "more": 1}, None, "more"),
        ("e", {"events": [EVENT, {**EVENT, "event": "rating", "value": 9}]}, None, r"events\[1\]\.value"),
        ("e", [EVENT], None, "object"),
        ("d", {"user_id": "a", "item_id": "b"}, None, "either"),
        ("d", {}, None, "either"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(
    topic: str, value: Any, key: bytes | None, reason: str
) -> None:
    with pytest.raises(RecserveError, match=reason):
        DECODER.decode(message(topic, value, key))
