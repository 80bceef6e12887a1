"""Answers about items.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the catalogue.

    Attributes:
        item_id: `item_id`.
        title: Attribute `title` or `name`, else the id.
        attributes: `attributes`.
        hidden: Kept, but never returned.
        expires_at: From this moment on never returned; milliseconds since the epoch, UTC.
    """

    item_id: str
    title: str
    attributes: dict[str, Any]
    hidden: bool
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Items:
    """A part of the catalogue, in a fixed order that means nothing.

    Attributes:
        items: `items`.
        cursor: Asks for what follows; null at the end. Of a search it may come with few items or
            none: there is more to look through.
        examined: Items that were looked at for this answer.
    """

    items: list[Item]
    cursor: str | None
    examined: int


@dataclass(frozen=True, slots=True)
class ItemsStored:
    """The items are durable. Encoded ones can be found by content now, the others within seconds.

    Attributes:
        accepted: Distinct items in the request.
        encoded: How many of them have a text vector already.
    """

    accepted: int
    encoded: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """The items are gone: no answer returns them any more.

    Attributes:
        deleted: Items that were there.
    """

    deleted: int


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One item on the map.

    Attributes:
        item_id: `item_id`.
        title: `title`.
        x: Within -1 and 1.
        y: `y`.
        value: Of the attribute; of a list the first entry.
    """

    item_id: str
    title: str
    x: float
    y: float
    value: str | None


@dataclass(frozen=True, slots=True)
class VectorMap:
    """Items on a plane, near one another where their vectors are alike.

    Attributes:
        bundle: The bundle whose vectors they are.
        items: Items of the bundle that have a vector.
        explained: Share of the vectors' variance that the plane shows.
        attribute: `attribute`.
        points: `points`.
    """

    bundle: str
    items: int
    explained: float
    attribute: str | None
    points: list[MapPoint]


@dataclass(frozen=True, slots=True)
class AudienceUser:
    """One user of an audience.

    Attributes:
        user_id: `user_id`.
        score: How much the user wants the item; comparable only within one answer.
        rank: 1 is best.
    """

    user_id: str
    score: float | None
    rank: int


@dataclass(frozen=True, slots=True)
class Audience:
    """The users who want an item most, best first.

    Attributes:
        item_id: `item_id`.
        scenario: Whose ranker compared the users.
        users: `users`.
        considered: Users who were compared: those of the newest events who have not had the item.
        bundle: The trained bundle that compared them.
    """

    item_id: str
    scenario: str
    users: list[AudienceUser]
    considered: int
    bundle: str
