"""Parameters of the rules: what configuration may say, with its documentation."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from recserve import search

Attribute = Annotated[str, Field(min_length=1)]


def _expression(text: str) -> str:
    # The parser is only imported where somebody uses an expression.
    from recserve_rules.expressions.expression import ExpressionError, parse

    try:
        parse(text)
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("unknown time zone; use a name such as UTC or Europe/Berlin") from None
    return name


Expression = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_expression)]
"""A condition on attributes, checked for its syntax."""

WhereArgument = Annotated[str, Field(min_length=1, max_length=2000)]
"""A condition on attributes as a request gives it; checked by the filter, which knows the attributes."""

TimeZone = Annotated[str, AfterValidator(_zone)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WhereParams(_Strict):
    """Parameters of the filter ``where``."""

    expression: Expression | None = Field(
        None, description="Standing condition that every item must meet, such as 'in_stock and price < 100'."
    )
    request_attributes: tuple[Attribute, ...] | None = Field(
        None,
        description="Attributes that requests may mention, read at start-up; null for all (read when first "
        "mentioned), [] for none.",
    )


class AvailableParams(_Strict):
    """Parameters of the filter ``available``; items without an attribute are not bounded by it."""

    start: Attribute | None = Field(
        "available_from", description="Attribute with the moment an item becomes available."
    )
    end: Attribute | None = Field(
        "available_until", description="Attribute with the moment an item stops being available."
    )
    expiry: Attribute | None = Field("expires_at", description="Another such attribute; the earlier counts.")
    timezone: TimeZone = Field("UTC", description="Time zone of dates and times that name none.")


class _Diversity(_Strict):
    relevance: Literal["score", "rank"] = Field(
        "score", description="What spaces the relevance of candidates: their scores, or their ranks evenly."
    )
    pool: int = Field(
        200,
        ge=2,
        le=500,
        description="Candidates looked at; those below keep their order behind them.",
    )


class MmrParams(_Diversity):
    """Parameters of the reranker ``mmr``."""

    trade_off: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Lambda: 1 is relevance only (the order stays), 0 is diversity only.",
        json_schema_extra=search(low=0.3, high=1.0),
    )


class DppParams(_Diversity):
    """Parameters of the reranker ``dpp``."""

    trade_off: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Theta: 1 is relevance only (the order stays), 0 is diversity only.",
        json_schema_extra=search(low=0.3, high=1.0),
    )
    ridge: float = Field(
        0.01,
        ge=1e-6,
        le=0.9,
        description="Added to the similarities' diagonal: smaller avoids near-copies more.",
        json_schema_extra=search(low=1e-4, high=0.5, log=True),
    )


class CalibratedParams(_Diversity):
    """Parameters of the reranker ``calibrated``."""

    attribute: Attribute = Field(description="Attribute with the category or list of categories of an item.")
    strength: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Lambda: 0 is relevance only (the order stays), 1 is calibration only.",
        json_schema_extra=search(low=0.0, high=0.9),
    )
    smoothing: float = Field(
        0.01, gt=0, lt=1, description="Share of the target mixed into the list's distribution (alpha)."
    )
    half_life_days: float | None = Field(
        None, gt=0, description="Age at which an event counts half in the target; null for all alike."
    )


class CapRule(_Strict):
    """At most so many items of one value."""

    attribute: Attribute = Field(description="Attribute with one value or a list of values.")
    limit: int = Field(ge=1, description="Items of one value among the first places.")
    limits: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Other limits for some values."
    )


class CapsParams(_Strict):
    """Parameters of the reranker ``caps``."""

    rules: tuple[CapRule, ...] = Field(min_length=1, max_length=8, description="All of them must hold.")
    first: int | None = Field(
        None, ge=1, le=1000, description="Places that the caps count in; null for the page asked for."
    )


class BoostRule(_Strict):
    """What items that meet a condition gain."""

    when: Expression = Field(description="Condition, as for the filter 'where'.")
    add: float | None = Field(
        None, ge=-100, le=100, description="Standard deviations of the query's scores that are added."
    )
    multiply: float | None = Field(None, ge=0, le=1000, description="Factor on the utility 1 / (60 + rank).")

    @model_validator(mode="after")
    def _one_effect(self) -> BoostRule:
        if (self.add is None) == (self.multiply is None):
            raise ValueError("give either 'add' or 'multiply'")
        return self


class BoostParams(_Strict):
    """Parameters of the reranker ``boost``."""

    rules: tuple[BoostRule, ...] = Field(
        min_length=1, max_length=50, description="All with 'add', or all with 'multiply'."
    )

    @model_validator(mode="after")
    def _one_scale(self) -> BoostParams:
        if len({rule.add is None for rule in self.rules}) > 1:
            raise ValueError("the rules of one boost either all add or all multiply")
        return self


class FreshParams(_Strict):
    """Parameters of the reranker ``fresh``."""

    attribute: Attribute = Field(
        description="Attribute with an item's date: ISO 8601, seconds or milliseconds, or a year."
    )
    weight: float = Field(
        0.5,
        ge=0,
        le=100,
        description="Standard deviations of the query's scores that a brand-new item gains; 0 for none.",
        json_schema_extra=search(low=0.0, high=2.0),
    )
    half_life_days: float = Field(
        30.0,
        gt=0,
        description="Age at which the gain has halved.",
        json_schema_extra=search(low=1.0, high=1000.0, log=True),
    )
    timezone: TimeZone = Field("UTC", description="Time zone of dates and times that name none.")


class DiscountParams(_Strict):
    """Parameters of the reranker ``discount``."""

    weight: float = Field(
        0.5,
        ge=0,
        le=100,
        description="Standard deviations of the query's scores that the first impression without a click "
        "costs; n cost log2(1 + n) times as much. 0 for none.",
    )
    half_life_days: float = Field(7.0, gt=0, description="Age at which an impression counts half.")


class RenewParams(_Strict):
    """Parameters of the reranker ``renew``."""

    share: float = Field(
        0.3, ge=0, le=1, description="Share of the page's places for items that the last visit did not show."
    )
    visit_minutes: float = Field(30.0, gt=0, description="A visit ends when nothing was shown for so long.")


class PinnedParams(_Strict):
    """Parameters of the retriever and the reranker ``pinned``."""

    slots: dict[Annotated[int, Field(ge=1, le=1000)], Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, max_length=100, description="Place on the page, from 1 -> item id."
    )

    @model_validator(mode="after")
    def _distinct(self) -> PinnedParams:
        items = list(self.slots.values())
        for item in items:
            if items.count(item) > 1:
                raise ValueError(f"item {item!r} is pinned to two places")
        return self
