"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from recserve import search


class ContentParams(BaseModel):
    """Parameters of the retriever ``content``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recent: int = Field(
        50,
        ge=1,
        le=1000,
        description="Newest positive events of a user that make the profile.",
        json_schema_extra=search(choices=[20, 50, 100]),
    )
    interests: int = Field(
        5,
        ge=1,
        le=32,
        description="Interests (clusters of recent items) kept for a user.",
        json_schema_extra=search(low=1, high=10),
    )
    cluster_similarity: float = Field(
        0.5,
        ge=-1.0,
        le=1.0,
        description="Cosine from which two recent items belong to one interest.",
        json_schema_extra=search(low=0.2, high=0.9),
    )
    interest_half_life: float = Field(
        5.0,
        gt=0,
        description="Events after which a recent item counts half in its interest.",
        json_schema_extra=search(low=1.0, high=50.0, log=True),
    )
    interest_power: float = Field(
        0.5,
        ge=0,
        le=2.0,
        description="How much the weight of an interest matters: 0 makes all interests equal.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    half_lives: tuple[float, ...] = Field(
        (1.0, 10.0),
        min_length=1,
        max_length=4,
        description="Half-lives, in events, of the profiles that the learnt affinity reads.",
    )
    half_life_days: float | None = Field(
        None,
        gt=0,
        description="Also fade events by their age at the time of the query; null for not at all.",
        json_schema_extra=search(choices=[None, 1.0, 7.0, 30.0, 180.0]),
    )
    weight_power: float = Field(
        0.5,
        ge=0,
        le=2.0,
        description="Exponent on the confidence of an event: 0 ignores it, 1 takes it as it is.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    dislike: float = Field(
        0.0,
        ge=0,
        description="How strongly similarity to disliked items (negative events) counts against.",
        json_schema_extra=search(low=0.0, high=2.0),
    )
    dimensions: int = Field(
        192,
        ge=2,
        le=4096,
        description="Principal components of the text vectors that are kept, at most.",
        json_schema_extra=search(choices=[64, 128, 192, 256, 384]),
    )
    ridge: float = Field(
        8.0,
        gt=0,
        description="Regularisation of the learnt affinity, in events.",
        json_schema_extra=search(low=0.5, high=100.0, log=True),
    )
    item_ridge: float = Field(
        2e-3,
        gt=0,
        description="Added to the covariance of the items: larger whitens less.",
        json_schema_extra=search(low=1e-4, high=0.1, log=True),
    )
    prior_half_life_days: float = Field(
        730.0,
        gt=0,
        description="Days after which an event counts half in the popularity prior.",
        json_schema_extra=search(low=7.0, high=3000.0, log=True),
    )
    prior_text: float = Field(
        0.3,
        ge=0,
        description="Events that the popularity expected from an item's text is worth.",
        json_schema_extra=search(low=0.05, high=5.0, log=True),
    )
    blend: float | None = Field(
        None,
        ge=0,
        description="Weight of the best interest beside the learnt affinity (whose standard "
        "deviation over the items is 1); null chooses it on held-out events.",
    )
    text_weight: float = Field(
        3.0,
        ge=0,
        description="Weight of a query's text beside the profile, both in standard deviations.",
        json_schema_extra=search(low=0.5, high=10.0, log=True),
    )
    space_weights: dict[str, float] | None = Field(
        None,
        description="Weight of named vector spaces, such as `image`, where that of texts is 1; 0 leaves one "
        "out. null chooses them on held-out events, and leaves out what does not help.",
    )
    max_examples: int = Field(
        300_000, ge=100, description="Newest events that the affinity is learnt from, at most."
    )
    approximate_above: int = Field(
        50_000,
        ge=0,
        description=(
            "With more items than this an index finds at least 98% of what scoring every item would; up to "
            "this many, and where filters leave few, every item is scored."
        ),
    )

    @model_serializer(mode="wrap")
    def _without_default_weights(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Weights are written where there are any; without, bundles are what they were before spaces."""
        fields: dict[str, Any] = plain(self)
        if self.space_weights is None:
            fields.pop("space_weights", None)
        return fields
