"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve import NoParams, search

SMALLEST_GROUP = 10
# Of item_knn, where neither configuration nor validation decides.
DEFAULT_SHRINK, DEFAULT_NEIGHBOURS, DEFAULT_WEIGHTING = 20.0, 100, "none"


class _KnnParams(NoParams):
    confidence_power: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Exponent on a user's summed confidence in an item; 0 counts all alike.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    half_life_events: float | None = Field(
        None,
        gt=0,
        description="After this many later events an event of a history counts half; null: all alike.",
        json_schema_extra=search(choices=[None, 3, 10, 30, 100]),
    )
    personal_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the user's taste where items similar to a given one are asked for.",
        json_schema_extra=search(low=0.0, high=0.5),
    )


class ItemKnnParams(_KnnParams):
    """Parameters of the retriever ``item_knn``."""

    weighting: Literal["none", "tfidf", "bm25"] | None = Field(
        None,
        description=(
            "How a confidence is weighted before similarities are taken; default: chosen on held-out events."
        ),
        json_schema_extra=search(choices=["none", "tfidf", "bm25"]),
    )
    shrink: float | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description=(
            "Added to the denominator of the cosine: draws similarities that rest on little to 0; default: "
            "chosen on held-out events."
        ),
        json_schema_extra=search(low=1.0, high=500.0, log=True),
    )
    neighbours: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Similar items that are kept for each item; default: chosen on held-out events.",
        json_schema_extra=search(choices=[20, 50, 100, 200, 400]),
    )
    search_share: float = Field(
        1.0,
        ge=0,
        le=100,
        description=(
            "Work on choosing settings: at most this share of the final comparison of items, on small "
            "catalogues about a second; 0 takes constants."
        ),
    )


class UserKnnParams(_KnnParams):
    """Parameters of the retriever ``user_knn``."""

    weighting: Literal["none", "tfidf", "bm25"] = Field(
        "none",
        description="How a confidence is weighted before similarities are taken.",
        json_schema_extra=search(choices=["none", "tfidf", "bm25"]),
    )
    shrink: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        description="Added to the denominator of the cosine: draws similarities that rest on little to 0.",
        json_schema_extra=search(low=0.0, high=100.0),
    )
    neighbours: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Most similar people that are asked; of groups, as many as hold that many people.",
        json_schema_extra=search(choices=[20, 50, 100, 200, 400]),
    )
    similarity_power: float = Field(
        1.0,
        gt=0,
        le=10,
        description="Exponent on a similarity: above 1 the nearest say more.",
        json_schema_extra=search(low=0.5, high=3.0),
    )
    group_size: int | None = Field(
        None,
        ge=SMALLEST_GROUP,
        le=100_000,
        description=(
            "Pool people into groups of at least this many, so that no single one can be told from a "
            "bundle. null compares with single people: to be evaluated, but not to be served."
        ),
    )
    shared_by: int = Field(
        3,
        ge=2,
        le=1000,
        description=(
            "People of a group who must like an item for the group to like it: no number that a bundle "
            "holds rests on fewer."
        ),
    )


def why_not_kept(params: UserKnnParams) -> str | None:
    """Why a bundle cannot hold ``user_knn`` with these parameters, None if it can."""
    if params.group_size is not None:
        return None
    return (
        "user_knn without a group_size compares with single people, and a bundle must not hold what a "
        f"person did; set group_size to {SMALLEST_GROUP} or more, use item_knn instead, or leave it to "
        "'recserve evaluate'"
    )
