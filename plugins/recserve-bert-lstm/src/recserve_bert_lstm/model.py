"""The component ``bert_lstm``: ranker and retriever over one sequence model."""

from __future__ import annotations

from typing import ClassVar

from recserve_sequence.model import SequenceModel
from recserve_sequence.network import MakeNetwork

from recserve_bert_lstm.network import LstmNetwork
from recserve_bert_lstm.parameters import BertLstmParams


class BertLstm(SequenceModel[BertLstmParams]):
    """LSTM over BERT vectors of a user's events; see :class:`recserve_sequence.model.SequenceModel`."""

    name: ClassVar[str] = "bert_lstm"

    def network(self) -> MakeNetwork:
        """An LSTM."""
        return LstmNetwork
