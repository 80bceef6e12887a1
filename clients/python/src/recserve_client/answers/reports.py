"""Answers about reports.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval over users.

    Attributes:
        value: Null of nothing.
        low: Null where there are too few users for bounds.
        high: `high`.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the impressions of a group.

    Attributes:
        group: Null of what has none, and of the total.
        impressions: Items shown, each time they were.
        clicks: Impressions that were clicked.
        conversions: Impressions that were converted.
        value: Sum of the values of the conversions.
        ctr: Clicks by impressions.
        debiased_ctr: Clicks by impressions as they would be in the first place of a page.
        conversion: Conversions by impressions.
        value_per_impression: `value_per_impression`.
        items: Different items that were shown.
        coverage: Share of the catalogue that they are; null for single items.
        degraded: Share of the impressions whose answer had to do without something.
    """

    group: str | None
    impressions: int
    clicks: int
    conversions: int
    value: float
    ctr: Interval
    debiased_ctr: Interval
    conversion: Interval
    value_per_impression: Interval
    items: int
    coverage: float | None
    degraded: float | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what is served is; milliseconds since the epoch.

    Attributes:
        at: When the report was made.
        bundle: The current bundle.
        bundle_created: `bundle_created`.
        newest_event: `newest_event`.
        newest_answer: `newest_answer`.
    """

    at: int
    bundle: str | None
    bundle_created: int | None
    newest_event: int | None
    newest_answer: int | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Report of outcomes.

    Attributes:
        by: `by`.
        since: First day (UTC).
        until: Last day, included.
        scenario: `scenario`.
        experiment: `experiment`.
        total: `total`.
        rows: `rows`.
        groups: How many there are, of which `rows` has some.
        examination: How likely each place of a page is to be looked at, relative to the first; the
            last stands for all that follow.
        catalogue: Items that coverage is of.
        days: Days that something was shown on.
        days_by_other_settings: Of these, days counted by earlier settings, whose exposures have
            expired.
        freshness: `freshness`.
    """

    by: str | None
    since: str
    until: str
    scenario: str | None
    experiment: str | None
    total: Figures
    rows: list[Figures]
    groups: int
    examination: list[float]
    catalogue: int
    days: int
    days_by_other_settings: int
    freshness: Freshness
