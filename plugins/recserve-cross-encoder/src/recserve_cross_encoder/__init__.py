"""Cross-encoder stage: BERT reads what somebody liked and a candidate together, for the best of the list.

Registers the reranker ``cross_encoder``. Light to import: torch and transformers are loaded when it is
trained, and by a server only where the bundle's model runs in full precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_cross_encoder.parameters import CrossEncoderParams

if TYPE_CHECKING:
    from recserve_cross_encoder.reranker import CrossEncoderReranker

__all__ = ["CrossEncoderParams", "register_rerankers"]


def _build(params: CrossEncoderParams, catalogue: Catalogue) -> CrossEncoderReranker:
    from recserve_cross_encoder.reranker import CrossEncoderReranker

    return CrossEncoderReranker(params, catalogue)


@hookimpl
def register_rerankers() -> Sequence[Component]:
    """The reranker ``cross_encoder``."""
    return [
        Component(
            "cross_encoder",
            _build,
            CrossEncoderParams,
            needs_texts=True,
            automatic=False,
            slow=True,
            summary="BERT reads what somebody liked and a candidate together, for the best of the list.",
        )
    ]
