"""Content-based candidate generation: what a user's recent items say about what to read next.

Registers the retriever ``content``. It works from text vectors alone, so an item nobody has touched
yet is scored like any other; see :mod:`recserve_content.retriever` for how.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_content.parameters import ContentParams

if TYPE_CHECKING:
    from recserve_content.retriever import ContentRetriever

__all__ = ["ContentParams", "register_retrievers"]


def content_retriever(params: ContentParams, catalogue: Catalogue) -> ContentRetriever:
    """The retriever with these parameters; its libraries are imported here."""
    from recserve_content.retriever import ContentRetriever

    return ContentRetriever(params, catalogue)


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``content``."""
    return [
        Component(
            "content",
            content_retriever,
            ContentParams,
            needs_vectors=True,
            summary="Items whose text suits the interests of the recent history, the query or the anchor.",
        )
    ]
