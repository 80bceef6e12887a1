"""A language model at the end: list-wise reranking, explanations that are checked, enriched item texts.

The model is a server that speaks OpenAI's chat completions, wherever `base_url` says; nothing is sent
anywhere unless it does. ``python -m recserve_llm.local`` serves a small model on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recserve import Catalogue, Component, hookimpl
from recserve_llm.parameters import LlmExplainerParams, LlmItemTextParams, LlmRerankParams


def _reranker(params: LlmRerankParams, catalogue: Catalogue) -> Any:
    from recserve_llm.ranking.reranker import LlmReranker

    return LlmReranker(params, catalogue)


def _explainer(params: LlmExplainerParams, catalogue: Catalogue) -> Any:
    from recserve_llm.explaining.explainer import LlmExplainer

    return LlmExplainer(params, catalogue)


def _item_text(params: LlmItemTextParams, catalogue: Catalogue) -> Any:
    from recserve_llm.enriching.item_text import LlmItemText

    return LlmItemText(params, catalogue)


@hookimpl
def register_rerankers() -> Sequence[Component]:
    """The best k in the order of a language model."""
    summary = "The best k of the ranked list in the order of a language model."
    return [
        Component("llm_rerank", _reranker, LlmRerankParams, summary=summary, stateless=True, external=True)
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """Sentences of a language model that only use facts of the item and the history."""
    summary = "Sentences of a language model, checked against the facts; else those of another explainer."
    return [Component("llm", _explainer, LlmExplainerParams, summary=summary, stateless=True)]


@hookimpl
def register_item_texts() -> Sequence[Component]:
    """Item texts with tags and a summary by a language model."""
    summary = "Another item text with tags and a summary by a language model, asked at training."
    return [Component("llm", _item_text, LlmItemTextParams, summary=summary)]


__all__ = [
    "LlmExplainerParams",
    "LlmItemTextParams",
    "LlmRerankParams",
    "register_explainers",
    "register_item_texts",
    "register_rerankers",
]
