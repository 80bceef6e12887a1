"""Business rules and diversity: filters and rerankers that any domain can use.

Filters decide what may be returned (``where``, ``available``), rerankers how the page is put together
(``mmr``, ``dpp``, ``calibrated``, ``caps``, ``boost``, ``fresh``, ``pinned``). All of them learn nothing and
read only the catalogue, so changing a rule needs no new model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recserve import Catalogue, Component, hookimpl
from recserve_rules.parameters import (
    AvailableParams,
    BoostParams,
    BoostRule,
    CalibratedParams,
    CapRule,
    CapsParams,
    DppParams,
    FreshParams,
    MmrParams,
    PinnedParams,
    WhereArgument,
    WhereParams,
)


def _where(params: WhereParams, catalogue: Catalogue) -> Any:
    from recserve_rules.where import WhereFilter

    return WhereFilter(params, catalogue)


def _available(params: AvailableParams, catalogue: Catalogue) -> Any:
    from recserve_rules.available import AvailableFilter

    return AvailableFilter(params, catalogue)


def _mmr(params: MmrParams, catalogue: Catalogue) -> Any:
    from recserve_rules.diversity import MmrReranker

    return MmrReranker(params, catalogue)


def _dpp(params: DppParams, catalogue: Catalogue) -> Any:
    from recserve_rules.diversity import DppReranker

    return DppReranker(params, catalogue)


def _calibrated(params: CalibratedParams, catalogue: Catalogue) -> Any:
    from recserve_rules.calibration import CalibratedReranker

    return CalibratedReranker(params, catalogue)


def _caps(params: CapsParams, catalogue: Catalogue) -> Any:
    from recserve_rules.caps import CapsReranker

    return CapsReranker(params, catalogue)


def _boost(params: BoostParams, catalogue: Catalogue) -> Any:
    from recserve_rules.scoring import BoostReranker

    return BoostReranker(params, catalogue)


def _fresh(params: FreshParams, catalogue: Catalogue) -> Any:
    from recserve_rules.scoring import FreshReranker

    return FreshReranker(params, catalogue)


def _pinned(params: PinnedParams, catalogue: Catalogue) -> Any:
    from recserve_rules.pinned import PinnedReranker

    return PinnedReranker(params, catalogue)


def _pinned_retriever(params: PinnedParams, catalogue: Catalogue) -> Any:
    from recserve_rules.pinned import PinnedRetriever

    return PinnedRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """Proposes what is pinned."""
    return [
        Component(
            "pinned", _pinned_retriever, PinnedParams, summary="Proposes the items of the reranker 'pinned'."
        )
    ]


@hookimpl
def register_filters() -> Sequence[Component]:
    """Conditions on attributes, and availability windows."""
    return [
        Component(
            "where",
            _where,
            WhereParams,
            argument=WhereArgument,
            summary="Items whose attributes meet a condition, standing or per request.",
        ),
        Component(
            "available", _available, AvailableParams, summary="Items within their availability window, now."
        ),
    ]


@hookimpl
def register_rerankers() -> Sequence[Component]:
    """Diversity, calibration and business rules."""
    return [
        Component(
            "mmr",
            _mmr,
            MmrParams,
            needs_vectors=True,
            summary="Diversity by maximal marginal relevance (Carbonell & Goldstein 1998).",
        ),
        Component(
            "dpp",
            _dpp,
            DppParams,
            needs_vectors=True,
            summary="Diversity by a determinantal point process (Chen et al. 2018).",
        ),
        Component(
            "calibrated",
            _calibrated,
            CalibratedParams,
            summary="The user's own mix of categories (Steck 2018).",
        ),
        Component("caps", _caps, CapsParams, summary="At most so many items of one brand, genre ... a page."),
        Component("boost", _boost, BoostParams, summary="Items that meet a condition move up or down."),
        Component("fresh", _fresh, FreshParams, summary="New items count for more."),
        Component("pinned", _pinned, PinnedParams, summary="Certain items in certain places."),
    ]


__all__ = [
    "AvailableParams",
    "BoostParams",
    "BoostRule",
    "CalibratedParams",
    "CapRule",
    "CapsParams",
    "DppParams",
    "FreshParams",
    "MmrParams",
    "PinnedParams",
    "WhereArgument",
    "WhereParams",
    "register_filters",
    "register_rerankers",
    "register_retrievers",
]
