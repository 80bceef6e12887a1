"""Parameters that sequence models share, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve import NoParams, search


class SequenceParams(NoParams):
    """Parameters of a sequence model, a ranker and a retriever; None adapts to the data."""

    text: bool = Field(True, description="Read the text vectors of items; off learns from item ids alone.")
    width: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Length of item vectors and user states; default by number of events.",
        json_schema_extra=search(choices=[32, 64, 128, 256]),
    )
    window: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Newest events of a user that are read; default by length of histories, 50 to 200.",
        json_schema_extra=search(choices=[20, 50, 100, 200]),
    )
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Dropout of what the network reads and of what makes up the user state.",
        json_schema_extra=search(low=0.0, high=0.6),
    )
    id_dropout: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of items whose id vector is hidden in a batch, so that text alone works.",
        json_schema_extra=search(low=0.0, high=0.5),
    )
    min_id_count: int = Field(
        1,
        ge=1,
        description="Positive events an item needs for an id vector of its own.",
        json_schema_extra=search(low=1, high=20),
    )
    loss: Literal["sampled_softmax", "full_softmax", "bce"] = Field(
        "sampled_softmax",
        description="A catalogue smaller than the pool of negatives takes the full softmax anyway.",
    )
    negatives: int = Field(
        1024,
        ge=1,
        description="Negatives drawn for each batch.",
        json_schema_extra=search(low=128, high=4096, log=True),
    )
    in_batch: int = Field(
        256, ge=0, description="Targets of the batch that serve as negatives as well, at most."
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Epochs over which the learning rate falls to nothing; default by number of events, "
        "12 to 40. Early stopping may end sooner.",
    )
    patience: int = Field(
        6, ge=1, description="Epochs with a worse validation nDCG@10 than before after which training stops."
    )
    learning_rate: float = Field(0.005, gt=0, json_schema_extra=search(low=5e-4, high=0.02, log=True))
    weight_decay: float = Field(0.01, ge=0, json_schema_extra=search(low=1e-4, high=0.3, log=True))
    batch_events: int = Field(
        3200,
        ge=1,
        description="Padded events in a batch.",
        json_schema_extra=search(choices=[1600, 3200, 6400, 12800]),
    )
    blend_l2: float = Field(
        2.0, gt=0, description="How strongly the ranker's blend is drawn to the sequence score alone."
    )
    text_weight: float = Field(
        2.0,
        ge=0,
        description="Weight of the similarity to a request's free text, in standard deviations.",
    )
    approximate_above: int = Field(
        50_000,
        ge=0,
        description=(
            "With more items than this an index finds at least 98% of what scoring every item would; up to "
            "this many, and where filters leave few, every item is scored."
        ),
    )
