"""Parameters of the reranker ``cross_encoder``, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve import NoParams, search


class TrainingParams(NoParams):
    """Parameters of a training on pairs."""

    train: Literal["auto", "always", "never"] = Field(
        "auto",
        description="auto: a checkpoint without an output of its own (a text encoder) is trained, a "
        "cross-encoder is used as it is. always: either is trained. never: only a cross-encoder is accepted.",
    )
    tune_layers: int | None = Field(
        2,
        ge=1,
        description="The last layers that are trained, with the output; null for all weights.",
    )
    learning_rate: float = Field(
        1e-4,
        gt=0,
        description="Highest rate of the schedule.",
        json_schema_extra=search(low=1e-5, high=1e-3, log=True),
    )
    examples: int = Field(
        2000,
        ge=20,
        description="At most so many liked items, drawn from the training window, are learnt from.",
    )
    negatives: int = Field(
        3,
        ge=1,
        le=64,
        description="Items for each of them that people with a similar history like and this user has not "
        "met.",
    )
    negatives_among: int = Field(
        100,
        ge=1,
        description="They, and the liked items, are among so many of the best that item-item similarity "
        "proposes.",
    )
    batch_examples: int = Field(8, ge=1, description="Liked items of a step.")
    epochs: int = Field(1, ge=1, description="How often each example is read.")


class CrossEncoderParams(TrainingParams):
    """Parameters of the reranker ``cross_encoder``."""

    model: str = Field(
        "bundled:minilm",
        min_length=1,
        description="bundled:minilm (English, trained here), a local directory or a Hugging Face id: a text "
        "encoder to be trained, or a cross-encoder with one output.",
    )
    revision: str | None = Field(
        None, min_length=1, description="Branch, tag or commit; only for Hugging Face ids."
    )
    depth: int = Field(
        20, ge=2, le=200, description="How many of the best candidates are read; the others stay below them."
    )
    history: int = Field(5, ge=1, le=50, description="Newest liked items that are read, newest first.")
    history_tokens: int = Field(
        12, ge=2, le=256, description="Tokens of each of them that are read, from the start of its text."
    )
    item_tokens: int = Field(32, ge=2, le=512, description="Tokens of the candidate that are read.")
    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the cross-encoder in the blended score; the rest is the order it finds. "
        "Default: chosen on held-out queries, 0 (the list stays as it is) unless it makes lists better.",
    )
    validation_queries: int = Field(
        400, ge=20, description="At most so many held-out queries choose the weight."
    )
    engine: Literal["auto", "torch", "onnx"] = Field(
        "auto",
        description="torch: full precision. onnx: 8-bit weights in ONNX Runtime (needs the extra 'onnx'), "
        "several times faster on a CPU. auto: onnx where it is installed and 8 bits lose little, else torch.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where torch computes; auto takes a GPU if there is one. onnx runs on the CPU."
    )
    cached_scores: int = Field(
        100_000, ge=0, description="Scores of histories and items that a process keeps; 0 keeps none."
    )
    batch_tokens: int = Field(
        512,
        ge=64,
        le=1_048_576,
        description="Tokens of one forward pass, padding included. With more, activations leave a core's "
        "cache; a GPU wants 16,384.",
    )
