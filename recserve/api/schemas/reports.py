"""Answers of reports."""

from __future__ import annotations

from pydantic import Field

from recserve.api.schemas.responses import Answer


class IntervalAnswer(Answer):
    """An estimate with its 95% interval over users."""

    value: float | None = Field(description="Null of nothing.", examples=[0.041])
    low: float | None = Field(description="Null where there are too few users for bounds.", examples=[0.037])
    high: float | None = Field(examples=[0.046])


class FiguresAnswer(Answer):
    """What became of the impressions of a group."""

    group: str | None = Field(description="Null of what has none, and of the total.", examples=["home"])
    impressions: int = Field(description="Items shown, each time they were.", examples=[12000])
    clicks: int = Field(description="Impressions that were clicked.", examples=[492])
    conversions: int = Field(description="Impressions that were converted.", examples=[31])
    value: float = Field(description="Sum of the values of the conversions.", examples=[294.5])
    ctr: IntervalAnswer = Field(description="Clicks by impressions.")
    debiased_ctr: IntervalAnswer = Field(
        description="Clicks by impressions as they would be in the first place of a page."
    )
    conversion: IntervalAnswer = Field(description="Conversions by impressions.")
    value_per_impression: IntervalAnswer
    items: int = Field(description="Different items that were shown.", examples=[870])
    coverage: float | None = Field(
        description="Share of the catalogue that they are; null for single items.", examples=[0.09]
    )
    degraded: float | None = Field(
        description="Share of the impressions whose answer had to do without something.", examples=[0.001]
    )


class FreshnessAnswer(Answer):
    """How old what is served is; milliseconds since the epoch."""

    at: int = Field(description="When the report was made.", examples=[1780000000000])
    bundle: str | None = Field(description="The current bundle.", examples=["4f1a09c2d7"])
    bundle_created: int | None = Field(examples=[1779900000000])
    newest_event: int | None = Field(examples=[1779999999000])
    newest_answer: int | None = Field(examples=[1779999998000])


class OutcomesAnswer(Answer):
    """Report of outcomes."""

    by: str | None = Field(examples=["scenario"])
    since: str = Field(description="First day (UTC).", examples=["2026-01-04"])
    until: str = Field(description="Last day, included.", examples=["2026-01-31"])
    scenario: str | None = Field(examples=[None])
    experiment: str | None = Field(examples=[None])
    total: FiguresAnswer
    rows: list[FiguresAnswer]
    groups: int = Field(description="How many there are, of which `rows` has some.", examples=[1])
    examination: list[float] = Field(
        description="How likely each place of a page is to be looked at, relative to the first; the last "
        "stands for all that follow.",
        examples=[[1.0, 0.74, 0.56]],
    )
    catalogue: int = Field(description="Items that coverage is of.", examples=[9066])
    days: int = Field(description="Days that something was shown on.", examples=[28])
    days_by_other_settings: int = Field(
        description="Of these, days counted by earlier settings, whose exposures have expired.", examples=[0]
    )
    freshness: FreshnessAnswer
