"""Entities by external id: items, users, events, and the weights of event types."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from recserve.data.arrays import BoolArray, FloatArray

MAX_ID = 10_000
"""Longest id, in characters."""

MAX_TEXT = 10_000
"""Longest text of an event, in characters."""

SECONDS_BELOW = 100_000_000_000
"""Times below are seconds (until the year 5138), others milliseconds (from March 1973 on)."""

LAST_MS = 253_402_300_799_999
"""The end of the year 9999, milliseconds since the epoch."""

DAY_MS = 86_400_000


def now_ms() -> int:
    """The present, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be recommended.

    Attributes:
        item_id: External id, any non-empty string.
        attributes: JSON-like attributes; text columns such as ``title`` live here too.
        hidden: Known to training, but never returned.
        expires_at: From this moment on never returned, milliseconds since the epoch; None for always good.
    """

    item_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False
    expires_at: int | None = None

    @property
    def title(self) -> str:
        """The attribute ``title`` (or ``name``), else the id: what a person is shown."""
        return str(self.attributes.get("title") or self.attributes.get("name") or self.item_id)


@dataclass(frozen=True, slots=True)
class User:
    """Profile of a user: attributes beside the events.

    Attributes:
        user_id: External id, any non-empty string.
        attributes: JSON-like attributes; stated interests as free text live here too.
    """

    user_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a user did: with an item, in words, or both.

    Attributes:
        user_id: External user id.
        item_id: External item id; need not be in the catalogue. Empty for what was done in words alone,
            such as a search.
        event: Name of a configured event type, such as ``view`` or ``rating``.
        timestamp: Milliseconds since the epoch, UTC.
        value: Rating, count or amount, where the event type has one.
        event_id: Idempotency key; storing the same id twice stores one event.
        recommendation_id: The recommendation that led to it, if any.
        text: What the user wrote, such as a search or a review; None if nothing. On one line, at most
            10,000 characters; see :func:`recserve.data.events.text.event_text`.
        context: What was the case, such as device and place: the JSON text of a flat object as
            :func:`recserve.data.events.context.context_text` makes it; None for nothing.
        timed: Whether ``timestamp`` is the client's own; False if the server's clock was read instead.
    """

    user_id: str
    item_id: str
    event: str
    timestamp: int
    value: float | None = None
    event_id: str = ""
    recommendation_id: str | None = None
    text: str | None = None
    context: str | None = field(default=None, repr=False)
    timed: bool = field(default=True, compare=False, repr=False)


class EventType(BaseModel):
    """What an event of one type says about a user's interest.

    The signed confidence of an event is ``weight * factor(value)``, see :meth:`confidence`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, description="Signed confidence; negative for dislike, skip, hide.")
    value_range: tuple[float, float] | None = Field(
        None, description="Lowest and highest value of a scale, such as [0.5, 5] for star ratings."
    )
    log_value: bool = Field(False, description="Values are counts: confidence grows with 1 + ln(value).")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> EventType:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range must be [low, high] with low < high")
        return self

    def off_scale(self, values: NDArray[np.float64]) -> BoolArray:
        """Which values (shape (N,), NaN where there is none) lie off the scale, where there is one."""
        if self.value_range is None:
            return np.zeros(len(values), dtype=np.bool_)
        low, high = self.value_range
        return (values < low) | (values > high)

    def confidence(self, values: NDArray[np.float64]) -> FloatArray:
        """Signed confidence of events with these values.

        On a scale the factor runs from 0.1 (lowest value) over 1 (middle) to 1.9 (highest); for
        counts it is ``1 + ln(max(value, 1))``; a missing value (NaN) has factor 1.

        Args:
            values: Shape (N,), NaN where an event has no value.

        Returns:
            float32, shape (N,).
        """
        factor = np.ones(len(values), dtype=np.float64)
        if self.value_range is not None:
            low, high = self.value_range
            factor = 0.1 + 1.8 * (np.clip(values, low, high) - low) / (high - low)
        elif self.log_value:
            factor = 1.0 + np.log(np.maximum(values, 1.0))
        factor = np.where(np.isnan(values), 1.0, factor)
        return (self.weight * factor).astype(np.float32)


DEFAULT_EVENT_TYPES: Mapping[str, EventType] = {
    "view": EventType(weight=1.0),
    "click": EventType(weight=1.0),
    "search": EventType(weight=0.5),
    "play": EventType(weight=1.0, log_value=True),
    "add_to_cart": EventType(weight=2.0),
    "purchase": EventType(weight=3.0),
    "rating": EventType(weight=1.0, value_range=(0.5, 5.0)),
    "like": EventType(weight=2.0),
    "dislike": EventType(weight=-1.0),
    "skip": EventType(weight=-0.5),
    "hide": EventType(weight=-1.0),
}


LEXICAL = "lexical"
"""Name of the retriever whose items share words with the request's text."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one item was recommended: what an explainer puts into words.

    Attributes:
        item: The recommended item.
        sources: Names of the retrievers that proposed it, strongest first.
        evidence: The item that led to it: of the user's history, or the one similar items were asked for.
        evidence_event: What the user did with that item (event type name), None if nothing.
        query_text: The free text of the request, if any.
        interests: What the user says to like, where the answer goes by that.
        evidence_text: What the user wrote that led to it, where no item did; ``evidence_event`` is what that
            was, such as ``search``.
        language: The language to say it in, a tag such as ``en`` or ``zh``.
    """

    item: Item
    sources: tuple[str, ...]
    evidence: Item | None = None
    evidence_event: str | None = None
    query_text: str | None = None
    interests: str | None = None
    evidence_text: str | None = None
    language: str = "en"

    @property
    def matches_words(self) -> bool:
        """Whether the item shares words with the request's text."""
        return LEXICAL in self.sources
