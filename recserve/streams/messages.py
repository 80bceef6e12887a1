"""Messages of topics: what they say, checked by the very models of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from recserve.api.middleware.body import parse_json, validate
from recserve.api.schemas.recommend_request import Body, Identifier
from recserve.api.schemas.write_request import (
    EventBatchBody,
    EventBody,
    ItemBody,
    ItemsBody,
    UserBody,
    UsersBody,
)
from recserve.api.settings import ApiSettings
from recserve.config import TopicKind
from recserve.data.entities import Event, Item, User, now_ms
from recserve.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic.

    Attributes:
        topic: The topic.
        partition: Its partition.
        offset: Its place there.
        timestamp: The record's, milliseconds since the epoch; 0 or less where it has none.
        key: Key, if any.
        value: Content; None for a tombstone.
        headers: Name and value of each.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def place(self) -> str:
        """Topic, partition and offset, as logs name a message."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def event_id(self) -> str:
        """Id of an event that brings none: the same whenever the message is delivered.

        The time tells apart messages of a topic that was deleted and made anew, whose offsets repeat.
        """
        return f"kafka:{self.topic}:{self.partition}:{self.offset}:{self.timestamp}"


@dataclass(frozen=True, slots=True)
class Content:
    """What a message wants written.

    Attributes:
        events: Events, each with an id.
        items: Items to add or replace.
        users: Profiles to add or replace.
        deleted_items: Ids of items to delete.
        deleted_users: Ids of people to delete.
    """

    events: Sequence[Event] = ()
    items: Sequence[Item] = ()
    users: Sequence[User] = ()
    deleted_items: Sequence[str] = ()
    deleted_users: Sequence[str] = ()


class DeletionBody(Body):
    """Whom or what to delete: one of both."""

    user_id: Identifier | None = None
    item_id: Identifier | None = None


@dataclass(frozen=True)
class Decoder:
    """Decoder of messages.

    Attributes:
        settings: Event types and their scales, and spaces of vectors.
        topics: What the messages of each topic are.
    """

    settings: ApiSettings
    topics: Mapping[str, TopicKind] = field(default_factory=dict)

    def decode(self, message: Message) -> Content:
        """What a message wants written.

        Raises:
            RecserveError: It is not what it should be; the message says what is wrong.
        """
        kind = self.topics[message.topic]
        if message.value is None:
            return self._tombstone(message, kind)
        data = parse_json(message.value)
        match kind:
            case "events":
                return Content(events=self._events(message, data))
            case "items":
                if _has(data, "items"):
                    return Content(items=validate(ItemsBody, data).to_items(self.settings))
                return Content(items=(validate(ItemBody, data).to_item(self.settings),))
            case "users":
                if _has(data, "users"):
                    return Content(users=validate(UsersBody, data).to_users())
                return Content(users=(validate(UserBody, data).to_user(),))
            case "deletions":
                return _deletion(validate(DeletionBody, data))

    def _tombstone(self, message: Message, kind: TopicKind) -> Content:
        """A message without a value: of a compacted topic of items, the item of its key is gone."""
        if kind != "items" or not message.key:
            raise InvalidRequestError("the message has no value")
        try:
            name = message.key.decode()
        except UnicodeDecodeError:
            raise InvalidRequestError("the key of a message without a value is not UTF-8") from None
        return _deletion(validate(DeletionBody, {"item_id": name}))

    def _events(self, message: Message, data: Any) -> list[Event]:
        now = now_ms()
        if _has(data, "events"):
            events = validate(EventBatchBody, data).to_events(self.settings, now)
            return list(_completed(message, events, now))
        return list(_completed(message, [validate(EventBody, data).to_event(self.settings, now)], now))


def _has(data: Any, name: str) -> bool:
    """Whether a message holds a list of things, not one."""
    return isinstance(data, dict) and name in data


def _completed(message: Message, events: Sequence[Event], now: int) -> Iterable[Event]:
    """Events with an id, and with the message's time where they bring none."""
    for index, event in enumerate(events):
        changes: dict[str, Any] = {}
        if not event.event_id:
            changes["event_id"] = message.event_id if len(events) == 1 else f"{message.event_id}:{index}"
        if not event.timed and 0 < message.timestamp < now:
            changes["timestamp"] = message.timestamp
        yield replace(event, **changes) if changes else event


def _deletion(body: DeletionBody) -> Content:
    if (body.user_id is None) == (body.item_id is None):
        raise InvalidRequestError("a deletion names either a user_id or an item_id")
    if body.user_id is not None:
        return Content(deleted_users=(body.user_id,))
    return Content(deleted_items=(str(body.item_id),))
