"""Collaborative filtering by neighbours: the retrievers ``item_knn`` and ``user_knn``. NumPy and SciPy only.

``item_knn`` keeps for each item the items that the same users like. ``user_knn`` looks for people like the
one who asks; a bundle holds no person, so it can only be kept in one with people pooled into groups.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Retriever, hookimpl
from recserve_neighbours.parameters import ItemKnnParams, UserKnnParams, why_not_kept


def _item_knn(params: ItemKnnParams, catalogue: Catalogue) -> Retriever:
    from recserve_neighbours.items import ItemKnnRetriever

    return ItemKnnRetriever(params, catalogue)


def _user_knn(params: UserKnnParams, catalogue: Catalogue) -> Retriever:
    from recserve_neighbours.users import UserKnnRetriever

    return UserKnnRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retrievers ``item_knn`` and ``user_knn``."""
    return [
        Component(
            "item_knn",
            _item_knn,
            ItemKnnParams,
            summary="Items liked by the same users as those of the history (item-based neighbours).",
        ),
        Component(
            "user_knn",
            _user_knn,
            UserKnnParams,
            summary="Items liked by similar users (user-based neighbours); kept in bundles as groups only.",
            not_in_bundles=why_not_kept,
        ),
    ]
