"""Lexical candidate generation: items whose texts share words with the query.

Registers the retriever ``lexical``. Words are counted as BM25 does; Chinese is segmented by the jieba
dictionary. It learns from items' texts alone and answers nothing but texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_lexical.parameters import LexicalParams

if TYPE_CHECKING:
    from recserve_lexical.retriever import LexicalRetriever

__all__ = ["LexicalParams", "register_retrievers"]


def lexical_retriever(params: LexicalParams, catalogue: Catalogue) -> LexicalRetriever:
    """The retriever with these parameters; its libraries are imported here."""
    from recserve_lexical.retriever import LexicalRetriever

    return LexicalRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``lexical``."""
    return [
        Component(
            "lexical",
            lexical_retriever,
            LexicalParams,
            needs_texts=True,
            automatic=False,
            summary="Items whose texts share words with the query (BM25); nothing without a query.",
        )
    ]
