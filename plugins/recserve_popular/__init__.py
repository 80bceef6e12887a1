"""What many people like: the retrievers ``popular`` and ``trending``, the fallback of everything.

Both answer every query, also an anonymous one, with a full ranking of the catalogue. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from recserve import Catalogue, Component, NoParams, Retriever, hookimpl, search


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


def _popular(params: PopularParams, catalogue: Catalogue) -> Retriever:
    from recserve_popular.retriever import PopularityRetriever

    return PopularityRetriever(catalogue, distinct_users=params.distinct_users)


def _trending(params: TrendingParams, catalogue: Catalogue) -> Retriever:
    from recserve_popular.retriever import PopularityRetriever

    return PopularityRetriever(
        catalogue, distinct_users=params.distinct_users, half_life_days=params.half_life_days
    )


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retrievers ``popular`` and ``trending``."""
    return [
        Component("popular", _popular, PopularParams, summary="Items with the most positive events."),
        Component(
            "trending",
            _trending,
            TrendingParams,
            summary="Items with the most positive events lately (exponential time decay).",
        ),
    ]
