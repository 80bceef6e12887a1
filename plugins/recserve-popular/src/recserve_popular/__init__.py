"""What many people like: the retrievers ``popular`` and ``trending``, the fallback of everything.

Both answer every query, also an anonymous one, with a full ranking of the catalogue. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Retriever, hookimpl
from recserve_popular.parameters import PopularParams, TrendingParams


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
            sequential=True,
            summary="Items with the most positive events lately (exponential time decay).",
        ),
    ]
