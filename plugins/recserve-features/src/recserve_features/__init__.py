"""Rankers ``lambdamart`` and ``deepfm``: boosted trees, and a neural network, over one set of features.

Features of items, users, retrieval, time and context are declared by name and type, or follow from the
catalogue and the events. Light to import: LightGBM is loaded when a component learns or loads trees, torch
when a network learns.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Ranker, hookimpl
from recserve_features.parameters import DeepFmParams, LambdaMartParams


def _lambdamart(params: LambdaMartParams, catalogue: Catalogue) -> Ranker:
    from recserve_features.lambdamart.ranker import LambdaMart

    return LambdaMart(params, catalogue)


def _deepfm(params: DeepFmParams, catalogue: Catalogue) -> Ranker:
    from recserve_features.deepfm.ranker import DeepFm

    return DeepFm(params, catalogue)


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The rankers ``lambdamart`` and ``deepfm``."""
    return [
        Component(
            "lambdamart",
            _lambdamart,
            LambdaMartParams,
            automatic=False,
            summary="LambdaMART over declared features of items, users, retrieval, time and context.",
        ),
        Component(
            "deepfm",
            _deepfm,
            DeepFmParams,
            automatic=False,
            summary="DeepFM (torch) over declared features of items, users, retrieval, time and context.",
        ),
    ]
