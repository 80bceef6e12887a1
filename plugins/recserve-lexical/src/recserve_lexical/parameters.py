"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LexicalParams(BaseModel):
    """Parameters of the retriever ``lexical``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: tuple[str, ...] = Field(
        (), description="Attributes that are searched; empty takes every text attribute that says something."
    )
    k1: float = Field(
        1.2, gt=0, le=10, description="How much a word counts that an item's text holds several times."
    )
    b: float = Field(
        0.75, ge=0, le=1, description="How much a long text counts against its words: 0 not at all."
    )
