"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import Field

from recserve import NoParams, search


class PopularParams(NoParams):
    """Parameters of the retriever ``popular``."""

    distinct_users: bool = Field(
        True,
        description=(
            "Count a user once for an item, with the strongest of the user's events, so that one "
            "busy user makes nothing popular; false sums all events."
        ),
        json_schema_extra=search(choices=[False, True]),
    )


class TrendingParams(PopularParams):
    """Parameters of the retriever ``trending``."""

    half_life_days: float = Field(
        14.0,
        gt=0,
        le=100_000,
        description="Days after which an event counts half, back from the newest training event.",
        json_schema_extra=search(low=0.5, high=365.0, log=True),
    )
