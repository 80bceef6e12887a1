"""A linear model over items in closed form: the retriever ``ease``. NumPy and SciPy only.

EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"): the weights with which a user's
items predict his other ones, by ridge regression with nothing predicting itself. One inverse of a matrix of
items by items; no user in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Retriever, hookimpl
from recserve_ease.parameters import EaseParams


def _ease(params: EaseParams, catalogue: Catalogue) -> Retriever:
    from recserve_ease.retriever import EaseRetriever

    return EaseRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``ease``."""
    return [
        Component(
            "ease",
            _ease,
            EaseParams,
            automatic=False,
            summary="Linear item-to-item weights in closed form (EASE), folded in from the history.",
        )
    ]
