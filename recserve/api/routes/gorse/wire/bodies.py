"""Bodies of Gorse's calls, and what they become here.

Unknown fields are passed over and null stands for what is left out, as Go's JSON decoder has it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_pascal
from starlette.requests import Request

from recserve.api.middleware.body import read, validate
from recserve.api.schemas.recommend_request import MAX_LIST, Body, Identifier, Value, parse_timestamp
from recserve.api.settings import ApiSettings
from recserve.data.entities import Item, User
from recserve.errors import InvalidRequestError
from recserve.store import ItemPatch, UserPatch

BodyT = TypeVar("BodyT", bound="_GorseBody")
T = TypeVar("T")

NO_TIME = "0001-01-01T00:00:00Z"
"""What Go writes for a time that was never set."""

# Attributes that hold Gorse's fields. The import of files names them the same.
LABELS, TIMESTAMP, DESCRIPTION, COMMENT, SUBSCRIBE = (
    "labels",
    "timestamp",
    "description",
    "comment",
    "subscribe",
)


class _GorseBody(Body):
    model_config = ConfigDict(extra="ignore", strict=True, alias_generator=to_pascal)


class UserFields(_GorseBody):
    """Fields of a user."""

    labels: Any = None
    subscribe: list[str] | None = None
    comment: str | None = None

    def attributes(self) -> dict[str, Any]:
        """The attributes that were given."""
        return _given({LABELS: self.labels, SUBSCRIBE: self.subscribe, COMMENT: self.comment or None})

    def to_patch(self, user_id: str) -> UserPatch:
        """The store's patch."""
        return UserPatch(user_id, self.attributes())


class UserBody(UserFields):
    """One user."""

    user_id: Identifier

    def to_user(self) -> User:
        """The domain user."""
        return User(self.user_id, self.attributes())


class ItemFields(_GorseBody):
    """Fields of an item."""

    is_hidden: bool | None = None
    categories: list[str] | None = None
    timestamp: str | None = None
    labels: Any = None
    comment: str | None = None

    def attributes(self, categories: str) -> dict[str, Any]:
        """The attributes that were given.

        Args:
            categories: Name of the attribute with the categories.

        Raises:
            InvalidRequestError: The time cannot be read.
        """
        return _given(
            {
                LABELS: self.labels,
                categories: self.categories,
                TIMESTAMP: item_time(self.timestamp),
                DESCRIPTION: self.comment or None,
            }
        )

    def to_patch(self, item_id: str, settings: ApiSettings) -> ItemPatch:
        """The store's patch."""
        return ItemPatch(item_id, self.attributes(settings.gorse.categories), self.is_hidden)


class ItemBody(ItemFields):
    """One item."""

    item_id: Identifier

    def to_item(self, settings: ApiSettings) -> Item:
        """The domain item."""
        return Item(self.item_id, self.attributes(settings.gorse.categories), bool(self.is_hidden))


class StepBody(_GorseBody):
    """What a visitor did with an item."""

    feedback_type: str = Field(min_length=1)
    item_id: Identifier
    value: Value | None = None
    timestamp: str | None = None
    comment: str | None = None

    def milliseconds(self) -> int | None:
        """When, milliseconds since the epoch; None if that is not said.

        Raises:
            InvalidRequestError: The time cannot be read.
        """
        if not self.timestamp or self.timestamp == NO_TIME:
            return None
        try:
            parsed = parse_timestamp(self.timestamp)
        except ValueError as error:
            raise InvalidRequestError(f"Timestamp: {error}", field="Timestamp") from None
        assert isinstance(parsed, int)
        return parsed


class FeedbackBody(StepBody):
    """What a user did with an item."""

    user_id: Identifier


def _given(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def item_time(text: str | None) -> str | None:
    """A time of an item as RFC 3339 in UTC, whatever its year; None if it is not said.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    if not text or text == NO_TIME:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidRequestError(
            f"Timestamp: {text[:80]!r} is not a time; use ISO 8601 such as 2025-01-31T12:00:00Z",
            field="Timestamp",
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return rfc3339(moment.astimezone(UTC))


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as Go writes it: without a fraction where that is zero."""
    text = moment.replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}Z"


def of_milliseconds(milliseconds: int) -> str:
    """The same of milliseconds since the epoch."""
    return rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))


async def read_one(request: Request, limit: int, model: type[BodyT]) -> BodyT:
    """Read a body that is one object."""
    return await read(request, limit, lambda data: validate(model, data))


async def read_list(
    request: Request, limit: int, model: type[BodyT], convert: Callable[[BodyT], T]
) -> list[T]:
    """Read a body that is an array, of at most 10,000 objects.

    Args:
        request: The request.
        limit: Longest accepted body in bytes.
        model: Of one object.
        convert: Makes something of one object.

    Raises:
        InvalidRequestError: One of them is wrong; the message says which.
    """

    def parse(data: Any) -> list[T]:
        if not isinstance(data, list):
            raise InvalidRequestError("the body must be a JSON array")
        if len(data) > MAX_LIST:
            raise InvalidRequestError(f"the body must hold at most {MAX_LIST:,} objects (got {len(data):,})")
        return [_at(index, entry) for index, entry in enumerate(data)]

    def _at(index: int, entry: Any) -> T:
        try:
            return convert(validate(model, entry))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"[{index}]: {error.message}", field=error.field) from None

    return await read(request, limit, parse)
