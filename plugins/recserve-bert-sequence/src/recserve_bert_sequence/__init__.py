"""BERT, an LSTM and a fully connected layer: reads the texts of a user's events, judges items by their texts.

Registers the ranker ``bert_sequence`` and the retriever ``bert_sequence`` (the same model against the whole
catalogue). It knows items by their texts and their popularity: one that was written a moment ago is judged
by its text, and users can be put in order for it. Light to import: torch is loaded when a component is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_bert_sequence.parameters import BertSequenceParams

if TYPE_CHECKING:
    from recserve_bert_sequence.model import BertSequence


def _build(params: BertSequenceParams, catalogue: Catalogue) -> BertSequence:
    from recserve_bert_sequence.model import BertSequence

    return BertSequence(params, catalogue)


_COMPONENT = Component(
    "bert_sequence",
    _build,
    BertSequenceParams,
    needs_vectors=True,
    sequential=True,
    automatic=False,
    slow=True,
    trains_encoder=lambda params: bool(params.end_to_end),
    summary="BERT, LSTM and a fully connected layer over the texts of a user's events; judges items by text.",
)


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The ranker ``bert_sequence``."""
    return [_COMPONENT]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``bert_sequence``: the preferred direction against all items."""
    return [_COMPONENT]
