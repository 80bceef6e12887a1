"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from recserve_sequence import SequenceParams

from recserve import search


class TransformerParams(SequenceParams):
    """Parameters of the ranker and the retriever ``transformer``; None adapts to the data."""

    blocks: int = Field(
        2,
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
