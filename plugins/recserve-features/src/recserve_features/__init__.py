"""Ranker ``lambdamart``: gradient-boosted trees over features of items, users, retrieval, time and context.

Features are declared by name and type, or follow from the catalogue and the events. Light to import:
LightGBM is loaded when a component learns or loads trees.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Ranker, hookimpl
from recserve_features.parameters import LambdaMartParams


def _lambdamart(params: LambdaMartParams, catalogue: Catalogue) -> Ranker:
    from recserve_features.ranker import LambdaMart

    return LambdaMart(params, catalogue)


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The ranker ``lambdamart``."""
    return [
        Component(
            "lambdamart",
            _lambdamart,
            LambdaMartParams,
            automatic=False,
            summary="LambdaMART over declared features of items, users, retrieval, time and context.",
        )
    ]
