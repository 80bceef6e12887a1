"""Answers about users.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ListedUser:
    """One user of a list.

    Attributes:
        user_id: `user_id`.
        attributes: `attributes`.
        profile: Whether there is a profile.
        last_event: Moment of the newest event, milliseconds since the epoch, UTC; null without
            events.
    """

    user_id: str
    attributes: dict[str, Any]
    profile: bool
    last_event: int | None


@dataclass(frozen=True, slots=True)
class Users:
    """Some users, in a fixed order that means nothing.

    Attributes:
        users: `users`.
        cursor: Asks for what follows; null at the end.
    """

    users: list[ListedUser]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class UsersStored:
    """The profiles are durable and count in the next recommendation.

    Attributes:
        accepted: Distinct users in the request.
    """

    accepted: int


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of a user.

    Attributes:
        item_id: null for what was done in words alone.
        title: Of the item; its id where that is not known, null without an item.
        event: `event`.
        timestamp: Milliseconds since the epoch, UTC.
        value: `value`.
        text: What the user wrote, if anything.
        context: What was the case, if anything was said.
        event_id: `event_id`.
    """

    item_id: str | None
    title: str | None
    event: str
    timestamp: int
    value: float | None
    text: str | None
    context: dict[str, str | float | bool] | None
    event_id: str


@dataclass(frozen=True, slots=True)
class History:
    """A part of a user's events, newest first; empty for a user who is not known.

    Attributes:
        user_id: `user_id`.
        events: `events`.
        cursor: Asks for the next page; null on the last one.
    """

    user_id: str
    events: list[HistoryEvent]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Merged:
    """The session's behaviour is the user's now.

    Attributes:
        moved: Events that changed hands.
    """

    moved: int


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a person beside events.

    Attributes:
        user_id: `user_id`.
        attributes: `attributes`.
    """

    user_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeletedRows:
    """What was deleted.

    Attributes:
        events: `events`.
        exposures: `exposures`.
        profiles: `profiles`.
        impressions: Items whose impressions were counted.
    """

    events: int
    exposures: int
    profiles: int
    impressions: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a deletion. It does not name the person; keep it.

    Attributes:
        receipt_id: Random.
        deleted_at: Milliseconds since the epoch, UTC.
        deleted: `deleted`.
        verify: How to check it, at any later time.
    """

    receipt_id: str
    deleted_at: int
    deleted: DeletedRows
    verify: str
