"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve import NoParams, search


class EaseParams(NoParams):
    """Parameters of the retriever ``ease``.

    ``regularization`` is by default chosen on the newest 15% of the events of up to 8,000 users, held out of
    the training data, with the 2,000 most popular items.
    """

    regularization: float | None = Field(
        None,
        gt=0,
        description="Added to the diagonal of the Gram matrix (lambda); default: chosen on held-out events.",
        json_schema_extra=search(low=10.0, high=10_000.0, log=True),
    )
    confidence_power: float = Field(
        0.0,
        ge=0,
        le=2,
        description="Exponent on a user's summed confidence in an item; 0 counts all alike, as the paper.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    half_life_events: float | None = Field(
        None,
        gt=0,
        description="After this many later events an event of a history counts half; null: all alike.",
        json_schema_extra=search(choices=[None, 3, 10, 30, 100]),
    )
    min_events: int = Field(
        1,
        ge=1,
        description="People who must like an item for it to take part; others are never returned.",
        json_schema_extra=search(choices=[1, 2, 5, 10]),
    )
    max_items: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="More items than this are refused: memory grows with their square.",
    )
    precision: Literal["float32", "float64"] = Field(
        "float32", description="Of the inverse; float64 takes twice the time and memory."
    )
    neighbours: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Weights kept for each item, the largest by amount; null keeps all of them.",
        json_schema_extra=search(choices=[None, 100, 200, 500]),
    )
    stored: Literal["float16", "float32"] = Field(
        "float32", description="How the weights are kept where all of them are."
    )
    personal_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the user's taste where items similar to a given one are asked for.",
        json_schema_extra=search(low=0.0, high=0.5),
    )
