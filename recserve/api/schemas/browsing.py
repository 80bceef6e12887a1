"""Parameters and answers of browsing: searches, lists of users, and the map of vectors."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Query
from pydantic import Field

from recserve.api.schemas.responses import Answer, ItemAnswer, UserAnswer
from recserve.data.entities import MAX_ID
from recserve.errors import InvalidRequestError
from recserve.store import Having, ItemSearch, StateName

MOST_WORDS = 10
MOST_ATTRIBUTES = 5
_LONGEST = 200

Words = Annotated[
    str | None,
    Query(
        max_length=_LONGEST,
        pattern=r"^[^\x00]*$",
        description=f"Up to {MOST_WORDS} words, all of which occur in the id or in a value of an attribute, "
        "also inside a longer word: Chinese needs no blanks between them.",
        examples=["star wars"],
    ),
]
Attributes = Annotated[
    list[Annotated[str, Field(min_length=2, max_length=_LONGEST, pattern=r"^[^\x00]+$")]],
    Query(
        max_length=MOST_ATTRIBUTES,
        description="`NAME:VALUE`; given more than once, all must hold. Of a list, one entry is enough.",
        examples=[["genres:Sci-Fi"]],
    ),
]
State = Annotated[
    StateName | None,
    Query(description="Only items that may be returned (`shown`), are `hidden`, or have `expired`."),
]
HavingWhat = Annotated[
    Having,
    Query(
        description="Users with a `profile`, with `events`, or with `any` of the two: those with a profile "
        "first, then those who have events alone."
    ),
]
OneUser = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_ID,
        pattern=r"^[^\x00]+$",
        description="Only this user, if there is a profile or an event; all else is passed over.",
        examples=["42"],
    ),
]
MapAttribute = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=_LONGEST,
        description="Attribute whose value comes with each point.",
        examples=["genres"],
    ),
]


class ItemsAnswer(Answer):
    """A part of the catalogue, in a fixed order that means nothing."""

    items: list[ItemAnswer]
    cursor: str | None = Field(
        description="Asks for what follows; null at the end. Of a search it may come with few items or none: "
        "there is more to look through.",
        examples=["AR2c0fRbIml0ZW1zIiwiMSJd"],
    )
    examined: int = Field(description="Items that were looked at for this answer.", examples=[20000])


class ListedUserAnswer(UserAnswer):
    """One user of a list."""

    profile: bool = Field(description="Whether there is a profile.", examples=[True])
    last_event: int | None = Field(
        description="Moment of the newest event, milliseconds since the epoch, UTC; null without events.",
        examples=[1738324800000],
    )


class UsersAnswer(Answer):
    """Some users, in a fixed order that means nothing."""

    users: list[ListedUserAnswer]
    cursor: str | None = Field(
        description="Asks for what follows; null at the end.", examples=["AR2c0fRbIml0ZW1zIiwiMSJd"]
    )


class MapPointAnswer(Answer):
    """One item on the map."""

    item_id: str = Field(examples=["260"])
    title: str = Field(examples=["Star Wars"])
    x: float = Field(description="Within -1 and 1.", examples=[0.31])
    y: float = Field(examples=[-0.72])
    value: str | None = Field(description="Of the attribute; of a list the first entry.", examples=["Action"])


class VectorMapAnswer(Answer):
    """Items on a plane, near one another where their vectors are alike."""

    bundle: str = Field(description="The bundle whose vectors they are.", examples=["4f1a09c2d7"])
    items: int = Field(description="Items of the bundle that have a vector.", examples=[9742])
    explained: float = Field(
        description="Share of the vectors' variance that the plane shows.", examples=[0.18]
    )
    attribute: str | None = Field(examples=["genres"])
    points: list[MapPointAnswer]


def search_of(q: str | None, attributes: list[str], state: StateName | None) -> ItemSearch | None:
    """The search that a caller asks for; None for the whole catalogue.

    Raises:
        InvalidRequestError: Too many words, or an attribute without a value.
    """
    words = (q or "").split()
    if len(words) > MOST_WORDS:
        raise InvalidRequestError(f"q: at most {MOST_WORDS} words (got {len(words)})", field="q")
    pairs = []
    for given in attributes:
        name, _, value = given.partition(":")
        if not name or not value:
            raise InvalidRequestError(
                f"attribute: {given[:80]!r} is not NAME:VALUE, such as genres:Sci-Fi", field="attribute"
            )
        pairs.append((name, value))
    search = ItemSearch(tuple(words), tuple(pairs), state)
    return None if search == ItemSearch() else search


def search_name(search: ItemSearch) -> str:
    """Name of a search, which its cursors carry: one of another search is refused."""
    said = repr((search.words, search.attributes, search.state)).encode()
    return f"search:{hashlib.blake2b(said, digest_size=8).hexdigest()}"
