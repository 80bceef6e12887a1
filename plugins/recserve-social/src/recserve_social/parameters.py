"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import Field

from recserve import NoParams, search


class FollowingParams(NoParams):
    """Parameters of the retriever ``following``."""

    author: str = Field(
        "author_id", min_length=1, description="Attribute of a post with the id of its author."
    )
    posted: str = Field(
        "posted_at",
        min_length=1,
        description="Attribute of a post with its time, ISO 8601 or milliseconds since the epoch; posts "
        "without one are as old as the oldest.",
    )
    prefix: str = Field("@", description="Put before an author's id it is the id of the author's item.")
    half_life_days: float = Field(
        3.0,
        gt=0,
        le=100_000,
        description="Age at which a post counts half.",
        json_schema_extra=search(low=0.25, high=60.0, log=True),
    )


class FriendsParams(FollowingParams):
    """Parameters of the retriever ``friends_of_friends``."""

    hops: int = Field(
        2,
        ge=1,
        le=5,
        description="Steps from author to author: 1 for those with shared followers, more for communities.",
        json_schema_extra=search(choices=[1, 2, 3]),
    )
    restart: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="What each further step counts less, the restart probability of personalised PageRank.",
        json_schema_extra=search(low=0.05, high=0.8),
    )
    shared_by: int = Field(3, ge=1, description="Fewest followers that two authors share to be neighbours.")
    neighbours: int = Field(
        20,
        ge=1,
        le=1000,
        description="Neighbours kept of each author.",
        json_schema_extra=search(low=5, high=50),
    )
    liked_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of the authors whose posts the user liked, beside those that he follows.",
        json_schema_extra=search(low=0.0, high=0.9),
    )
