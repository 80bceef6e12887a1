"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from recserve_sequence import SequenceParams

from recserve import search


class TransformerParams(SequenceParams):
    """Parameters of the ranker and the retriever ``transformer``; None adapts to the data."""

    # With one block more dropout than the LSTM's pays; see the page about sequence models.
    dropout: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="Dropout of what the network reads, of what blocks add, and of what makes up the state.",
        json_schema_extra=search(low=0.0, high=0.6),
    )
    blocks: int = Field(
        1,
        ge=1,
        le=12,
        description="Transformer blocks.",
        json_schema_extra=search(choices=[1, 2, 3]),
    )
    heads: int = Field(
        2,
        ge=1,
        le=32,
        description="Heads of attention in each block; they divide the width.",
        json_schema_extra=search(choices=[1, 2, 4, 8]),
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        # A width that adapts to the data is 64 or 128.
        if (self.width or 64) % self.heads:
            raise ValueError(f"heads: {self.heads} heads do not divide a width of {self.width or 64}")
        return self
