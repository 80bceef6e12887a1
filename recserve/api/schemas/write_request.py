"""Bodies that write: events, items and users."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, RootModel, WithJsonSchema

from recserve.api.schemas.recommend_request import (
    MAX_LIST,
    Body,
    Identifier,
    Timestamp,
    Value,
    check_not_future,
)
from recserve.api.settings import ApiSettings
from recserve.data.entities import MAX_TEXT, Event, Item, User
from recserve.data.events.context import (
    MAX_CONTEXT_BYTES,
    MAX_CONTEXT_KEY,
    MAX_CONTEXT_KEYS,
    context_text,
)
from recserve.data.events.text import event_text
from recserve.errors import InvalidRequestError
from recserve.store import KEEP, ItemPatch, UserPatch

MAX_RECOMMENDATION_ID = 200


def _storable(context: dict[str, Any]) -> dict[str, Any]:
    context_text(context)  # says what is wrong
    return context


Context = Annotated[
    dict[str, Any],
    AfterValidator(_storable),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
            "propertyNames": {"minLength": 1, "maxLength": MAX_CONTEXT_KEY},
            "maxProperties": MAX_CONTEXT_KEYS,
        }
    ),
]


class EventBody(Body):
    """One thing that a user did: with an item, in words, or both."""

    user_id: Identifier = Field(description="Who; need not be known yet.", examples=["42"])
    item_id: Identifier | None = Field(
        None,
        description="With what; need not be in the catalogue. Optional where there is a `text`.",
        examples=["260"],
    )
    event: str = Field(min_length=1, description="A configured event type.", examples=["rating"])
    timestamp: Timestamp = Field(
        None,
        description="ISO 8601, epoch seconds or milliseconds; default: now. At most a day in the future.",
        examples=["2025-01-31T12:00:00Z"],
    )
    value: Value | None = Field(None, description="Rating, count or amount.", examples=[4.5])
    text: Annotated[str, AfterValidator(event_text)] | None = Field(
        None,
        description=f"What the user wrote: a search, a review, a comment; at most {MAX_TEXT:,} characters, "
        "after runs of blanks and line breaks have become one blank each. It counts as an interest, never as "
        "another interaction with the item.",
        examples=["space opera with robots"],
    )
    context: Context = Field(
        default_factory=dict,
        description="What was the case, such as device and place: strings, numbers and booleans by key, at "
        f"most {MAX_CONTEXT_KEYS} keys and {MAX_CONTEXT_BYTES:,} bytes. Rankers learn from it what they then "
        "read of a request's `context`. Without any, training takes that of the request whose recommendation "
        "is named.",
        examples=[{"device": "phone"}],
    )
    event_id: Identifier | None = Field(
        None,
        description="Idempotency key: sending the same event again stores nothing, so retries do no harm. "
        "An id that stands for an event with other content is refused.",
        examples=["3f9c1a"],
    )
    recommendation_id: Identifier | None = Field(
        None,
        max_length=MAX_RECOMMENDATION_ID,
        description="The recommendation that led to it: joins what was shown and what came of it.",
        examples=["0d8e1c6be7a24c4f8a6c2a4b7c0f9d11"],
    )

    def to_event(self, settings: ApiSettings, now: int, place: str = "") -> Event:
        """The domain event.

        Raises:
            InvalidRequestError: Unknown event type, value off its scale, a time in the future, or neither an
                item nor a text.
        """
        if self.item_id is None and self.text is None:
            field = f"{place}item_id"
            raise InvalidRequestError(f"{field}: an event needs an item_id, a text, or both", field=field)
        settings.check_event(self.event, self.value, place)
        check_not_future(self.timestamp, now, place)
        return Event(
            user_id=self.user_id,
            item_id=self.item_id or "",
            event=self.event,
            timestamp=now if self.timestamp is None else self.timestamp,
            value=self.value,
            event_id=self.event_id or "",
            recommendation_id=self.recommendation_id,
            text=self.text,
            context=context_text(self.context),
            timed=self.timestamp is not None,
        )


class EventBatchBody(Body):
    """Many events in one call: all are stored, or none."""

    events: list[EventBody] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 events, in any order of time."
    )

    def to_events(self, settings: ApiSettings, now: int) -> list[Event]:
        """The domain events; see :meth:`EventBody.to_event`."""
        return [event.to_event(settings, now, f"events[{index}].") for index, event in enumerate(self.events)]


class HookBody(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """What another program posts, in its own form."""


_EXPIRES = "From this moment on never returned; ISO 8601, epoch seconds or milliseconds, past or future."


class ItemBody(Body):
    """One item."""

    item_id: Identifier = Field(description="Its id.", examples=["260"])
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        description="Anything that is known of it; text attributes make it retrievable by content.",
        examples=[{"title": "Star Wars", "year": 1977, "genres": ["Action", "Sci-Fi"]}],
    )
    hidden: bool = Field(False, description="Kept, but never returned.", examples=[False])
    expires_at: Timestamp = Field(
        None, description=f"{_EXPIRES} Default: never.", examples=["2030-01-31T12:00:00Z"]
    )

    def to_item(self) -> Item:
        """The domain item."""
        return Item(self.item_id, self.attributes, self.hidden, self.expires_at)


class ItemsBody(Body):
    """Items to add or to replace."""

    items: list[ItemBody] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 items; of equal ids the last one counts."
    )

    def to_items(self) -> list[Item]:
        """The domain items."""
        return [item.to_item() for item in self.items]


class ItemPatchBody(Body):
    """What changes of one item; what is left out stays."""

    item_id: Identifier = Field(description="Its id.", examples=["260"])
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        description="Attributes to set; null removes one.",
        examples=[{"year": 1977, "draft": None}],
    )
    hidden: bool | None = Field(None, description="Hide it, or show it again.", examples=[True])
    expires_at: Timestamp = Field(
        None, description=f"{_EXPIRES} null: never.", examples=["2030-01-31T12:00:00Z"]
    )

    def to_patch(self) -> ItemPatch:
        """The store's patch."""
        expires = self.expires_at if "expires_at" in self.model_fields_set else KEEP
        return ItemPatch(self.item_id, self.attributes, self.hidden, expires)


class ItemPatchesBody(Body):
    """Changes of items."""

    items: list[ItemPatchBody] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 changes, made in this order."
    )

    def to_patches(self) -> list[ItemPatch]:
        """The store's patches."""
        return [item.to_patch() for item in self.items]


class ItemIdsBody(Body):
    """Items to delete."""

    item_ids: list[Identifier] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 ids.", examples=[["260", "1196"]]
    )


class UserBody(Body):
    """What is known of one person beside events."""

    user_id: Identifier = Field(description="Who.", examples=["42"])
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        description="The profile; stated interests, as free text, count while the user has done little.",
        examples=[{"interests": "space opera, robots", "country": "NO"}],
    )

    def to_user(self) -> User:
        """The domain user."""
        return User(self.user_id, self.attributes)


class UsersBody(Body):
    """Profiles to add or to replace."""

    users: list[UserBody] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 users; of equal ids the last one counts."
    )

    def to_users(self) -> list[User]:
        """The domain users."""
        return [user.to_user() for user in self.users]


class UserPatchBody(Body):
    """What changes of one profile; what is left out stays."""

    user_id: Identifier = Field(description="Who.", examples=["42"])
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        description="Attributes to set; null removes one.",
        examples=[{"country": "SE", "newsletter": None}],
    )

    def to_patch(self) -> UserPatch:
        """The store's patch."""
        return UserPatch(self.user_id, self.attributes)


class UserPatchesBody(Body):
    """Changes of profiles."""

    users: list[UserPatchBody] = Field(
        min_length=1, max_length=MAX_LIST, description="Up to 10,000 changes, made in this order."
    )

    def to_patches(self) -> list[UserPatch]:
        """The store's patches."""
        return [user.to_patch() for user in self.users]


class MergeBody(Body):
    """Who turned out to be this user."""

    source: Identifier = Field(
        alias="from",
        description="The user id under which an anonymous session's events were sent.",
        examples=["session-123"],
    )
