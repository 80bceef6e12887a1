"""Parameters of the training of a text encoder, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recserve import search


class TuningParams(BaseModel):
    """Parameters that say whether and how a text encoder is trained on behaviour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tune: Literal["none", "head", "last_n", "lora", "full"] = Field(
        "none",
        description="What training on behaviour changes. none: nothing. head: a small network on the model's "
        "vectors, cheap. last_n: the last `tune_layers` layers. lora: low-rank adapters beside the "
        "matrices of the layers (needs the extra 'lora'). full: all weights.",
    )
    tune_layers: int | None = Field(
        None,
        ge=1,
        description="The last layers that last_n or lora trains; default: 2 for last_n, all for lora.",
    )
    lora_rank: int = Field(
        8, ge=1, le=256, description="Rank of the adapters.", json_schema_extra=search(choices=[4, 8, 16, 32])
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Highest rate of the schedule; default: 1e-3 for head, 5e-4 for lora, 1e-4 for last_n, "
        "3e-5 for full.",
        json_schema_extra=search(low=1e-5, high=3e-3, log=True),
    )
    temperature: float = Field(
        0.05,
        gt=0,
        description="Cosines are divided by it before the softmax.",
        json_schema_extra=search(low=0.02, high=0.3, log=True),
    )
    epochs: int = Field(6, ge=1, description="Epochs at most; validation may choose fewer.")
    epoch_steps: int = Field(100, ge=1, description="Steps of an epoch, after which it is validated.")
    patience: int = Field(
        2, ge=1, description="Epochs without a better validation nDCG that end the training."
    )
    batch_examples: int = Field(
        64, ge=2, description="Next items of a step, which are one another's negatives."
    )
    negatives: int | None = Field(
        None,
        ge=0,
        description="Further items of a step as negatives, drawn from the catalogue; default: 512 for head, "
        "else 64.",
    )
    hard_negatives: int = Field(
        0,
        ge=0,
        le=64,
        description="Items for each example that people with the same history like and this user has not "
        "met, as negatives.",
        json_schema_extra=search(choices=[0, 1, 2, 4]),
    )
    popularity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How far the softmax corrects for drawing popular items as negatives more often: 0 "
        "judges by taste alone, 1 makes texts of popular items score higher.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    history: int = Field(10, ge=1, le=200, description="Newest positive events that stand for a user.")
    history_half_life: float = Field(
        5.0,
        gt=0,
        description="Events after which one counts half for the user.",
        json_schema_extra=search(low=1.0, high=20.0, log=True),
    )
    step_tokens: int = Field(
        4096,
        ge=64,
        le=1_048_576,
        description="Tokens of the texts that a step computes gradients through: next items first, then "
        "negatives, then the newest events of the users. Older events enter with the vectors that they had "
        "when they were last encoded. With longer texts a step takes fewer examples.",
    )
    checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass: less memory, a third more time."
    )
