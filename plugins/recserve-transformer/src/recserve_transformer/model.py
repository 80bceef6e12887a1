"""The component ``transformer``: ranker and retriever over one sequence model."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from recserve_sequence.model import SequenceModel
from recserve_sequence.network import MakeNetwork

from recserve_transformer.network import TransformerNetwork
from recserve_transformer.parameters import TransformerParams


class Transformer(SequenceModel[TransformerParams]):
    """Causal attention over a user's events; see :class:`recserve_sequence.model.SequenceModel`."""

    name: ClassVar[str] = "transformer"

    def network(self) -> MakeNetwork:
        """A stack of transformer blocks."""
        return partial(TransformerNetwork, blocks=self._params.blocks, heads=self._params.heads)
