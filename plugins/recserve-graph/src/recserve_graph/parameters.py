"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import Field

from recserve import NoParams, search


class GraphFilterParams(NoParams):
    """Parameters of the retriever ``graph_filter``.

    Those without a default are chosen on a validation split of the training data unless they are given; see
    :mod:`recserve_graph.selection`.
    """

    rank: int | None = Field(
        None,
        ge=1,
        le=4096,
        description=(
            "Singular directions that the low-pass filter lets pass; default: chosen on held-out events, at "
            "most 512."
        ),
        json_schema_extra=search(choices=[32, 64, 128, 256, 512]),
    )
    spectral_power: float | None = Field(
        None,
        ge=0,
        le=4,
        description=(
            "A direction passes with its singular value to this power; 0 is the ideal low-pass filter. "
            "Default: chosen on held-out events."
        ),
        json_schema_extra=search(low=0.0, high=2.0),
    )
    linear_weight: float | None = Field(
        None,
        ge=0,
        le=1000,
        description=(
            "Weight of the linear filter, whose largest singular value is taken for 1, beside the low-pass "
            "one; the paper's 0.3 for the latter is 1 / 0.3 here. Default: chosen on held-out events."
        ),
        json_schema_extra=search(low=0.03, high=8.0, log=True),
    )
    source_exponent: float | None = Field(
        None,
        ge=0,
        le=2,
        description=(
            "Low-pass filter: an item of the history counts by its popularity to minus this power; default: "
            "chosen on held-out events."
        ),
        json_schema_extra=search(low=0.2, high=1.0),
    )
    target_exponent: float | None = Field(
        None,
        ge=0,
        le=2,
        description=(
            "Low-pass filter: a scored item counts by its popularity to this power; default: chosen on "
            "held-out events."
        ),
        json_schema_extra=search(low=0.0, high=0.8),
    )
    linear_exponent: float | None = Field(
        None,
        ge=0,
        le=1,
        description=(
            "Linear filter: a scored item counts by its popularity to this power, on top of the graph's "
            "normalisation; default: chosen on held-out events."
        ),
        json_schema_extra=search(low=0.0, high=0.5),
    )
    neighbours: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Entries of the linear filter kept for each item; default: chosen on held-out events.",
        json_schema_extra=search(choices=[25, 50, 100, 200]),
    )
    item_exponent: float | None = Field(
        None,
        ge=0,
        le=2,
        description=(
            "The graph's normalisation: an item's edges are divided by their sum to this power; default: "
            "chosen on held-out events, 0.5 as in the paper or less."
        ),
        json_schema_extra=search(low=0.0, high=0.75),
    )
    user_exponent: float | None = Field(
        None,
        ge=0,
        le=2,
        description=(
            "The graph's normalisation: a user's edges are divided by their sum to this power; default: "
            "chosen on held-out events, 0.5 as in the paper or less."
        ),
        json_schema_extra=search(low=0.0, high=0.75),
    )
    confidence_power: float | None = Field(
        None,
        ge=0,
        le=2,
        description=(
            "Exponent on a user's summed confidence in an item; 0 counts all alike; default: chosen on "
            "held-out events."
        ),
        json_schema_extra=search(low=0.0, high=1.0),
    )
    half_life_events: float | None = Field(
        None,
        ge=0,
        description=(
            "After this many later events an event of a history counts half; 0: old and new count alike; "
            "default: chosen on held-out events."
        ),
        json_schema_extra=search(low=1.0, high=100.0, log=True),
    )
    tries: int = Field(
        20,
        ge=0,
        le=1000,
        description="Settings that are tried on held-out events, at most; 0 takes constants.",
    )
    personal_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the user's taste where items similar to a given one are asked for.",
        json_schema_extra=search(low=0.0, high=0.5),
    )
