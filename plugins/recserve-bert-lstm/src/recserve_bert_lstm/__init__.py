"""BERT+LSTM: reads a user's events as a sequence of text vectors and predicts what comes next.

Registers the ranker ``bert_lstm`` and the retriever ``bert_lstm`` (the same model against the whole
catalogue). Light to import: torch is loaded when a component is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_bert_lstm.parameters import BertLstmParams

if TYPE_CHECKING:
    from recserve_bert_lstm.model import BertLstm


def _build(params: BertLstmParams, catalogue: Catalogue) -> BertLstm:
    from recserve_bert_lstm.model import BertLstm

    return BertLstm(params, catalogue)


_COMPONENT = Component(
    "bert_lstm",
    _build,
    BertLstmParams,
    needs_vectors=lambda params: bool(params.text),
    sequential=True,
    slow=True,
    summary="LSTM over BERT vectors of a user's events; learns from candidates as a ranker.",
)


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The ranker ``bert_lstm``."""
    return [_COMPONENT]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``bert_lstm``: the user state against all items."""
    return [_COMPONENT]
