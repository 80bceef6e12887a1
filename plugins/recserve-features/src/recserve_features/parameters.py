"""Parameters: the features of a ranker by name and type, and how rankers learn from them."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from recserve import NoParams, search

Attribute = Annotated[str, Field(min_length=1, description="Item attribute; a list counts with each entry.")]

Moment = Literal["hour", "daypart", "weekday", "weekend"]
"""Part of a query's time: hour (0 to 23), daypart (four hours each), weekday (Monday is 0), weekend."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("unknown time zone; use a name such as UTC or Europe/Berlin") from None
    return name


class _Feature(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberFeature(_Feature):
    """A numeric attribute of the item."""

    type: Literal["number"]
    attribute: Attribute


class CategoryFeature(_Feature):
    """An attribute of the item with few values, which trees split into groups."""

    type: Literal["category"]
    attribute: Attribute


class PopularityFeature(_Feature):
    """Logarithm of positive events with the item, or with its attribute's values, relative to the mean."""

    type: Literal["popularity"]
    attribute: Attribute | None = None
    half_life_days: float | None = Field(
        None, gt=0, description="After so many days an event counts half; null: old and new count alike."
    )


class RateFeature(_Feature):
    """Mean confidence of events with the item, or with its attribute's values, drawn to the overall mean."""

    type: Literal["rate"]
    attribute: Attribute | None = None
    prior_events: float = Field(10.0, gt=0, description="Events that the overall mean counts as.")


class AgeFeature(_Feature):
    """Days since the item's first event."""

    type: Literal["age"]


class AffinityFeature(_Feature):
    """How much more often the user's events are on the attribute's values than all users' are (log)."""

    type: Literal["affinity"]
    attribute: Attribute
    sign: Literal["liked", "disliked"] = Field("liked", description="Events with which confidence count.")
    half_life_days: float | None = Field(None, gt=0, description="As for popularity.")
    when: Moment | None = Field(
        None, description="Only events at such a moment as the query's, drawn to all of the user's events."
    )
    prior_events: float = Field(3.0, gt=0, description="Events that what the value is drawn to counts as.")


class DistanceFeature(_Feature):
    """A numeric attribute of the item minus its mean over the items that the user liked."""

    type: Literal["distance"]
    attribute: Attribute


class SimilarityFeature(_Feature):
    """Cosine of the item's text vector and the mean one of the user's newest liked items."""

    type: Literal["similarity"]
    events: int = Field(20, ge=1, le=1000, description="Newest liked items that count.")


class RepeatsFeature(_Feature):
    """Events of the user with the item, and days since the last of them."""

    type: Literal["repeats"]


class HistoryFeature(_Feature):
    """Length of the user's history (log), and days since its newest event (log)."""

    type: Literal["history"]


class RetrievalFeature(_Feature):
    """Scores (standardised within the query) and ranks of retrievers, and the fused rank."""

    type: Literal["retrieval"]
    retrievers: tuple[str, ...] | None = Field(None, description="null: all of the scenario.")


class MomentFeature(_Feature):
    """Part of the query's time."""

    type: Literal["moment"]
    unit: Moment


class LiftFeature(_Feature):
    """How much more often events on the item, or on its attribute's values, are at such a moment (log)."""

    type: Literal["lift"]
    when: Moment
    attribute: Attribute | None = None
    half_life_days: float | None = Field(None, gt=0, description="As for popularity.")
    prior_events: float = Field(20.0, gt=0, description="Events that the moment's overall share counts as.")


class ContextFeature(_Feature):
    """A key of the request's ``context``, by itself or crossed with an attribute of the item."""

    type: Literal["context"]
    key: str = Field(min_length=1)
    values: Literal["category", "number"] = "category"
    attribute: Attribute | None = Field(
        None, description="With `category`: one category for each value together with each label of an item."
    )

    @model_validator(mode="after")
    def _only_categories_are_crossed(self) -> ContextFeature:
        if self.attribute is not None and self.values != "category":
            raise ValueError("only a context of categories is crossed with an attribute")
        return self


Feature = Annotated[
    NumberFeature
    | CategoryFeature
    | PopularityFeature
    | RateFeature
    | AgeFeature
    | AffinityFeature
    | DistanceFeature
    | SimilarityFeature
    | RepeatsFeature
    | HistoryFeature
    | RetrievalFeature
    | MomentFeature
    | LiftFeature
    | ContextFeature,
    Field(discriminator="type"),
]

FeatureName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=100)]


class FeatureParams(NoParams):
    """Parameters that the rankers over features share: features, and candidates to learn from."""

    features: dict[FeatureName, Feature] | None = Field(
        None,
        min_length=1,
        description="Features by name; default: what the catalogue's attributes and the events allow.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Of hours and weekdays, such as Europe/Berlin."
    )
    negatives: int = Field(
        100,
        ge=1,
        description="Candidates without an event that are kept for each query, drawn at random.",
        json_schema_extra=search(choices=[50, 100, 200]),
    )


class LambdaMartParams(FeatureParams):
    """Parameters of the ranker ``lambdamart``; None adapts to the data."""

    trees: int | None = Field(
        None, ge=1, le=5000, description="Default: chosen on users held out, at most max_trees."
    )
    max_trees: int = Field(200, ge=1, le=5000, description="Trees that are tried where `trees` is null.")
    learning_rate: float = Field(
        0.08, gt=0, le=1, description="Shrinkage.", json_schema_extra=search(low=0.02, high=0.2, log=True)
    )
    leaves: int = Field(
        15,
        ge=2,
        le=1024,
        description="Leaves of a tree, at most.",
        json_schema_extra=search(low=4, high=63, log=True),
    )
    min_leaf: int = Field(
        100,
        ge=1,
        description="Candidates in a leaf, at least.",
        json_schema_extra=search(low=20, high=500, log=True),
    )
    feature_share: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Share of the features that a tree may use, drawn at random.",
        json_schema_extra=search(low=0.3, high=1.0),
    )
    l2: float = Field(
        5.0,
        ge=0,
        description="Penalty on the values of leaves.",
        json_schema_extra=search(low=0.1, high=100.0, log=True),
    )
    depth: int = Field(
        20, ge=1, le=1000, description="Places of the list whose order counts in training (nDCG at it)."
    )


class DeepFmParams(FeatureParams):
    """Parameters of the ranker ``deepfm``; None adapts to the data."""

    width: int = Field(
        8,
        ge=1,
        le=256,
        description="Length of the embeddings that both parts share.",
        json_schema_extra=search(choices=[4, 8, 16, 32]),
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (64, 32), min_length=1, max_length=8, description="Units of the deep part's layers."
    )
    buckets: int = Field(
        16,
        ge=2,
        le=1024,
        description="Buckets of a numeric feature, at most.",
        json_schema_extra=search(choices=[8, 16, 32]),
    )
    vocabulary: int = Field(
        1000,
        ge=1,
        description="Values of a category with an entry, the most frequent; others share one.",
    )
    epochs: int | None = Field(
        None, ge=1, le=1000, description="Default: chosen on users held out, at most max_epochs, maybe none."
    )
    max_epochs: int = Field(30, ge=1, le=1000, description="Epochs that are tried where `epochs` is null.")
    patience: int = Field(4, ge=1, description="Epochs without a lower loss after which trying ends.")
    learning_rate: float = Field(0.003, gt=0, le=1, json_schema_extra=search(low=3e-4, high=0.02, log=True))
    weight_decay: float = Field(
        0.03,
        ge=0,
        description="Decoupled from the gradient (AdamW).",
        json_schema_extra=search(low=1e-3, high=1.0, log=True),
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Dropout of the deep part's layers.",
        json_schema_extra=search(low=0.0, high=0.5),
    )
    batch_queries: int = Field(
        64, ge=1, description="Queries in a batch.", json_schema_extra=search(choices=[32, 64, 128])
    )
