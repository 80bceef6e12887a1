"""The network: an LSTM over events, and what a user liked so far."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_sequence.network import (
    DECAYS,
    PlainReader,
    SequenceNetwork,
    Shape,
    Taste,
    TasteState,
    liked,
    plain,
    tensors,
)
from recserve_sequence.windows import Padded
from recserve_torch import NO_DROPOUT, Dropout
from torch import nn

from recserve import FloatArray, compiled

RECENT = 50
"""Events that the LSTM reads to answer a query: more of them cost time and change nothing in accuracy."""

_KERNELS = "recserve_bert_lstm.kernels"
# Sequences up to which small steps cost torch more than what they compute.
_FEW = 4


class State(NamedTuple):
    """Recurrent state after a user's events, to go on from.

    Attributes:
        hidden: float, shape (1, B, width); of the LSTM.
        cell: float, shape (1, B, width); of the LSTM.
        taste: Of what was liked.
    """

    hidden: torch.Tensor
    cell: torch.Tensor
    taste: TasteState


class LstmNetwork(SequenceNetwork):
    """Sequence of events in, user state after each event out: what the LSTM says plus :class:`Taste`.

    The recurrence only looks back, so a state can be kept and advanced by one event
    (:meth:`encode` takes and returns it).

    Args:
        shape: What the data decides; its width is also the number of units of the LSTM.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.lstm = nn.LSTM(self.width, self.width)
        self.output = nn.Linear(self.width, self.width)
        self.taste = Taste(self.width)

    def initialise(self, vectors: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """See :meth:`SequenceNetwork.initialise`."""
        bound = 1.0 / math.sqrt(self.width)
        for parameter in self.lstm.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        super().initialise(vectors, generator)
        nn.init.uniform_(self.output.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.output.bias)
        nn.init.constant_(self.taste.scale, 0.5 / len(DECAYS))
        with torch.no_grad():
            # An open forget gate at the start (Jozefowicz et al., 2015).
            self.lstm.get_parameter("bias_hh_l0")[self.width : 2 * self.width] += 1.0

    def plain_reader(self) -> PlainReader | None:
        """Compiled code, if the network is on a CPU."""
        return CompiledReader(self) if self.output.weight.device.type == "cpu" else None

    def plain_weights(self) -> tuple[Any, ...]:
        """What :func:`recserve_bert_lstm.kernels.last_states` reads between the sequences and its result."""
        lstm = self.lstm.get_parameter
        return (
            *(plain(self.event_types.weight), plain(self.gaps.weight), plain(self.confidence.weight.T)),
            *(plain(self.norm.weight), plain(self.norm.bias), float(self.norm.eps)),
            *(plain(lstm("weight_ih_l0").T), plain(lstm("weight_hh_l0").T)),
            plain(lstm("bias_ih_l0") + lstm("bias_hh_l0")),
            *(plain(self.output.weight.T), plain(self.output.bias)),
            *(np.array(DECAYS, dtype=np.float64), plain(self.taste.scale)),
        )

    def encode(
        self,
        vectors: torch.Tensor,
        events: torch.Tensor,
        weights: torch.Tensor,
        gaps: torch.Tensor,
        dropout: Dropout = NO_DROPOUT,
        state: State | None = None,
    ) -> tuple[torch.Tensor, State]:
        """User states after each event.

        Args:
            vectors: float, shape (B, L, width); item vectors of the events.
            events: int64, shape (B, L); event type codes.
            weights: float, shape (B, L); signed confidences.
            gaps: int64, shape (B, L); see ``gap_buckets``.
            dropout: Applied to what goes in and what comes out.
            state: What to go on from; None starts afresh.

        Returns:
            User states, float, shape (B, L, width), and what to go on from after the last position.
        """
        before = None if state is None else (state.hidden, state.cell)
        read = self._inputs(vectors, events, weights, gaps, dropout)
        # Never in mixed precision: a recurrence adds up its rounding errors.
        with torch.autocast(read.device.type, enabled=False):
            hidden, (last, cell) = self.lstm(read.float(), before)
        taste, after = self.taste(vectors, liked(weights), dropout, None if state is None else state.taste)
        states = self.output(dropout(hidden.transpose(0, 1))) + taste
        return states, State(last, cell, after)

    def _inputs(
        self,
        vectors: torch.Tensor,
        events: torch.Tensor,
        weights: torch.Tensor,
        gaps: torch.Tensor,
        dropout: Dropout,
    ) -> torch.Tensor:
        """What the LSTM reads, shape (L, B, width)."""
        # Time first: oneDNN's LSTM is several times faster on a CPU that way.
        return dropout(self.read(vectors, events, weights, gaps)).transpose(0, 1).contiguous()

    def encode_padded(
        self, vectors: torch.Tensor, sequences: Padded, dropout: Dropout = NO_DROPOUT
    ) -> torch.Tensor:
        """:meth:`encode` for NumPy sequences, moved to the device of ``vectors``."""
        states, _ = self.encode(vectors, *tensors(sequences, vectors.device), dropout)
        return states

    def last_states(self, vectors: torch.Tensor, sequences: Padded) -> torch.Tensor:
        """User states after the last event of each sequence, float, shape (B, width).

        The same as the last of :meth:`encode_padded`, without working out those before, but for the LSTM's
        part in long sequences: it reads the :data:`RECENT` newest events. A sequence without events gets a
        state that means nothing.
        """
        events, weights, gaps = tensors(sequences, vectors.device)
        lengths = torch.from_numpy(sequences.lengths).to(vectors.device)
        taste = self.taste.last(vectors, liked(weights), lengths)
        rows = torch.arange(len(lengths), device=vectors.device)
        if vectors.shape[1] > RECENT:
            at = (rows[:, None], torch.from_numpy(sequences.newest_places(RECENT)).to(vectors.device))
            vectors, events, weights, gaps = vectors[at], events[at], weights[at], gaps[at]
            lengths = lengths.clamp(max=RECENT)
        hidden, _ = self.lstm(self._inputs(vectors, events, weights, gaps, NO_DROPOUT))
        states: torch.Tensor = self.output(hidden[(lengths - 1).clamp(min=0), rows])
        return states + taste


class CompiledReader:
    """User states by a compiled kernel: see :class:`recserve_sequence.network.PlainReader`.

    Args:
        network: On a CPU; it no longer changes.
    """

    def __init__(self, network: LstmNetwork) -> None:
        self._weights = network.plain_weights()
        compiled(_KERNELS)  # now, not while somebody waits

    def suits(self, sequences: int) -> bool:
        """Whether the sequences are few, and this process computes with compiled kernels."""
        return sequences <= _FEW and compiled(_KERNELS) is not None

    def __call__(self, matrix: FloatArray, sequences: Padded) -> FloatArray:
        """User states after the last event of each sequence, zeros where it is empty."""
        kernels = compiled(_KERNELS)
        assert kernels is not None
        found = np.zeros((len(sequences.items), matrix.shape[1]), dtype=np.float32)
        parts = (sequences.items, sequences.events, sequences.weights, sequences.gaps, sequences.lengths)
        kernels.last_states(matrix, *map(np.ascontiguousarray, parts), RECENT, *self._weights, found)
        return found
