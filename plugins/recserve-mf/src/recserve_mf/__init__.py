"""Collaborative filtering by matrix factorisation: the retriever ``mf``.

Implicit-feedback alternating least squares (iALS). Users are folded in exactly from their history at
request time, so somebody who appeared a second ago gets personal results, and a bundle holds no user.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, Component, Retriever, hookimpl
from recserve_mf.parameters import MfParams


def _mf(params: MfParams, catalogue: Catalogue) -> Retriever:
    from recserve_mf.retriever import MfRetriever

    return MfRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``mf``."""
    return [
        Component(
            "mf",
            _mf,
            MfParams,
            summary="Matrix factorisation (iALS) of who did what with which item, exact fold-in.",
        )
    ]
