"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from recserve_sequence import SequenceParams


class BertLstmParams(SequenceParams):
    """Parameters of the ranker and the retriever ``bert_lstm``; None adapts to the data."""
