"""Business rules and diversity: filters and rerankers that any domain can use.

Filters decide what may be returned (``where``, ``available``), rerankers how the page is put together
(``mmr``, ``dpp``, ``calibrated``, ``caps``, ``boost``, ``fresh``, ``discount``, ``renew``, ``pinned``). They
learn nothing, so each scenario may have its own, and changing one needs no new model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, hookimpl
from recserve_rules.filters.available import AvailableFilter
from recserve_rules.parameters import (
    AvailableParams,
    BoostParams,
    BoostRule,
    CalibratedParams,
    CapRule,
    CapsParams,
    DiscountParams,
    DppParams,
    FreshParams,
    MmrParams,
    PinnedParams,
    RenewParams,
    WhereArgument,
    WhereParams,
)
from recserve_rules.rerankers.calibration import CalibratedReranker
from recserve_rules.rerankers.caps import CapsReranker
from recserve_rules.rerankers.diversity import DppReranker, MmrReranker
from recserve_rules.rerankers.impressions import DiscountReranker, RenewReranker
from recserve_rules.rerankers.pinned import PinnedReranker, PinnedRetriever

# Conditions need a parser, which is imported where somebody uses them.


def _where(params: WhereParams, catalogue: Catalogue) -> Any:
    from recserve_rules.filters.where import WhereFilter

    return WhereFilter(params, catalogue)


def _boost(params: BoostParams, catalogue: Catalogue) -> Any:
    from recserve_rules.rerankers.scoring import BoostReranker

    return BoostReranker(params, catalogue)


def _fresh(params: FreshParams, catalogue: Catalogue) -> Any:
    from recserve_rules.rerankers.scoring import FreshReranker

    return FreshReranker(params, catalogue)


def _rule(name: str, factory: Any, params: type[BaseModel], summary: str, **more: Any) -> Component:
    # Rules learn nothing, so each scenario may have its own, and a changed one needs no training.
    return Component(name, factory, params, summary=summary, stateless=True, **more)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """Proposes what is pinned."""
    return [
        _rule("pinned", PinnedRetriever, PinnedParams, "Proposes the items of the reranker 'pinned'."),
    ]


@hookimpl
def register_filters() -> Sequence[Component]:
    """Conditions on attributes, and availability windows."""
    condition = "Items whose attributes meet a condition, standing or per request."
    return [
        _rule("where", _where, WhereParams, condition, argument=WhereArgument),
        _rule("available", AvailableFilter, AvailableParams, "Items within their availability window, now."),
    ]


@hookimpl
def register_rerankers() -> Sequence[Component]:
    """Diversity, calibration and business rules."""
    mmr = "Diversity by maximal marginal relevance (Carbonell & Goldstein 1998)."
    dpp = "Diversity by a determinantal point process (Chen et al. 2018)."
    return [
        _rule("mmr", MmrReranker, MmrParams, mmr, needs_vectors=True),
        _rule("dpp", DppReranker, DppParams, dpp, needs_vectors=True),
        _rule(
            "calibrated",
            CalibratedReranker,
            CalibratedParams,
            "The user's own mix of categories (Steck 2018).",
        ),
        _rule("caps", CapsReranker, CapsParams, "At most so many items of one brand, genre ... a page."),
        _rule("boost", _boost, BoostParams, "Items that meet a condition move up or down."),
        _rule("fresh", _fresh, FreshParams, "New items count for more."),
        _rule(
            "discount",
            DiscountReranker,
            DiscountParams,
            "Items that were shown and never clicked move down.",
            needs_impressions=True,
        ),
        _rule(
            "renew",
            RenewReranker,
            RenewParams,
            "A share of the page is new on each visit.",
            needs_impressions=True,
        ),
        _rule("pinned", PinnedReranker, PinnedParams, "Certain items in certain places."),
    ]


__all__ = [
    "AvailableParams",
    "BoostParams",
    "BoostRule",
    "CalibratedParams",
    "CapRule",
    "CapsParams",
    "DiscountParams",
    "DppParams",
    "FreshParams",
    "MmrParams",
    "PinnedParams",
    "RenewParams",
    "WhereArgument",
    "WhereParams",
    "register_filters",
    "register_rerankers",
    "register_retrievers",
]
