"""Collaborative filtering on the graph of users and items: the retriever ``graph_filter``.

A linear filter smooths what a user did over the graph (GF-CF, Shen et al. 2021). Nothing is learnt by
gradient descent and no user is kept: somebody's scores are the filter applied to his items. NumPy and SciPy
only.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Retriever, hookimpl
from recserve_graph.parameters import GraphFilterParams


def _graph_filter(params: GraphFilterParams, catalogue: Catalogue) -> Retriever:
    from recserve_graph.retriever import GraphFilterRetriever

    return GraphFilterRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``graph_filter``."""
    return [
        Component(
            "graph_filter",
            _graph_filter,
            GraphFilterParams,
            summary="Linear and low-pass filter of the graph of users and items (GF-CF), exact fold-in.",
        )
    ]
