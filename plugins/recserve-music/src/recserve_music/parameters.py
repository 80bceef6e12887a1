"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import Field

from recserve import NoParams, search


class RepeatParams(NoParams):
    """Parameters of the retriever ``repeat``."""

    decay: float = Field(
        0.5,
        ge=0,
        le=5,
        description="Exponent of the power law by which an event fades with its age in hours; 0.5 in ACT-R.",
        json_schema_extra=search(low=0.1, high=2.0),
    )
    least: int = Field(
        2, ge=1, le=1000, description="Positive events with an item before it is recommended again."
    )
    due_weight: float = Field(
        1.0,
        ge=0,
        le=10,
        description="How much an item is held back until its usual interval has passed: weight of the "
        "logarithm of (time since the last event / mean interval), at most 1; 0 for not at all.",
        json_schema_extra=search(low=0.0, high=3.0),
    )
    rest_hours: float = Field(
        1.0, ge=0, le=8760, description="An item that was consumed within so many hours is not recommended."
    )
