"""Transformer over a user's events: SASRec with gated blocks and relative times.

Registers the ranker ``transformer`` and the retriever ``transformer`` (the same model against the whole
catalogue). Light to import: torch is loaded when a component is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_transformer.parameters import TransformerParams

if TYPE_CHECKING:
    from recserve_transformer.model import Transformer


def _build(params: TransformerParams, catalogue: Catalogue) -> Transformer:
    from recserve_transformer.model import Transformer

    return Transformer(params, catalogue)


_COMPONENT = Component(
    "transformer",
    _build,
    TransformerParams,
    needs_vectors=lambda params: bool(params.text),
    sequential=True,
    automatic=False,
    slow=True,
    summary="Causal attention over a user's events, by text and id; learns from candidates as a ranker.",
)


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The ranker ``transformer``."""
    return [_COMPONENT]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``transformer``: the user state against all items."""
    return [_COMPONENT]
