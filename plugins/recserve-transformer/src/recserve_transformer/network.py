"""The network: blocks of causal attention over events, and what a user liked so far.

Blocks are those of eSASRec: attention and a gated feed-forward layer (SwiGLU) behind a normalisation, each
added to the stream through a gate that the stream itself opens (LiGR). Attention has a bias by how far two
events are apart, in events and in time, instead of vectors of positions.

References:
    Kang and McAuley (2018), Self-attentive sequential recommendation, ICDM (SASRec).
    Tikhonovich et al. (2025), eSASRec: Enhancing transformer-based recommendations in a modular fashion,
    RecSys.
    Borisyuk et al. (2025), From features to transformers: Redefining ranking for scalable impact (LiGR).
    Zhai et al. (2024), Actions speak louder than words, ICML (HSTU: bias by relative position and time).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_sequence.network import (
    DECAYS,
    PlainReader,
    SequenceNetwork,
    Shape,
    Taste,
    liked,
    plain,
    tensors,
)
from recserve_sequence.windows import Padded
from recserve_torch import NO_DROPOUT, Dropout
from torch import nn
from torch.nn import functional

from recserve import Int64Array
from recserve_transformer.plain import NumpyReader
from recserve_transformer.relative import (
    DISTANCE_CLASSES,
    RECENT,
    TIME_CLASSES,
    distance_classes,
    time_classes,
    visible,
)

EXPANSION = 2
"""Width of the hidden part of the feed-forward layer, as a multiple of the network's."""

_MASKED = -1e9


class _Lookup(torch.autograd.Function):
    """Entries of a small table by class, whose gradient is counted.

    An embedding's gradient goes row by row, which for rows of few numbers takes longer than attention itself.
    """

    @staticmethod
    def forward(context: Any, table: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Of a table of shape (heads, C) and classes of any shape, shape (heads, ...)."""
        context.save_for_backward(classes)
        context.size = table.shape[1]
        return table[:, classes]

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient by the table."""
        flat = context.saved_tensors[0].flatten()
        counted = [torch.bincount(flat, part.flatten(), context.size) for part in gradients[0]]
        return torch.stack(counted).to(gradients[0].dtype), None


class RelativeBias(nn.Module):
    """What a head adds to the attention between two events by their distance; the same in all blocks.

    Args:
        heads: Of each block.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.distance = nn.Parameter(torch.zeros(heads, DISTANCE_CLASSES))
        self.time = nn.Parameter(torch.zeros(heads, TIME_CLASSES))

    def forward(self, times: Int64Array, asked: Int64Array) -> torch.Tensor:
        """The bias, with what lies ahead masked.

        Args:
            times: int64, shape (B, L); milliseconds.
            asked: int64, shape (B, Q), or (1, Q) where they are the same; places that attend.

        Returns:
            float, shape (B, heads, Q, L).
        """
        length = times.shape[1]
        ahead = torch.from_numpy(~visible(asked, length)).to(self.time.device)
        bias = self._looked_up(self.distance, distance_classes(asked, length)).masked_fill(ahead, _MASKED)
        bias = bias + self._looked_up(self.time, time_classes(times, asked))
        return bias.transpose(0, 1)

    def _looked_up(self, table: torch.Tensor, classes: Int64Array) -> torch.Tensor:
        found: torch.Tensor = _Lookup.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
            table, torch.from_numpy(classes).to(table.device)
        )
        return found


class Block(nn.Module):
    """Attention and feed-forward layer, each behind a normalisation and a gate.

    Args:
        width: Of the stream.
        heads: They divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attended = nn.Linear(width, width)
        self.attention_gate = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * EXPANSION * width, bias=False)
        self.shrunk = nn.Linear(EXPANSION * width, width, bias=False)
        self.forward_gate = nn.Linear(width, width)

    def forward(
        self, stream: torch.Tensor, asked: torch.Tensor, bias: torch.Tensor, dropout: Dropout
    ) -> torch.Tensor:
        """The stream at the asked places after this block.

        Args:
            stream: float, shape (B, L, width); at all places.
            asked: float, shape (B, Q, width); at the asked places.
            bias: float, shape (B, heads, Q, L); see :class:`RelativeBias`.
            dropout: Of what is added to the stream.

        Returns:
            float, shape (B, Q, width).
        """
        read, wanted = self.attention_norm(stream), self.attention_norm(asked)
        keys, values = self.key_value(read).chunk(2, dim=-1)
        queries, keys, values = (self._split(part) for part in (self.query(wanted), keys, values))
        # Scaled here, as scores are far more numbers than queries.
        scores = queries / math.sqrt(queries.shape[-1]) @ keys.transpose(-1, -2) + bias
        mixed = (scores.softmax(dim=-1).to(values.dtype) @ values).transpose(1, 2).flatten(2)
        asked = asked + torch.sigmoid(self.attention_gate(asked)) * dropout(self.attended(mixed))
        opened, carried = self.hidden(self.forward_norm(asked)).chunk(2, dim=-1)
        found = dropout(self.shrunk(functional.silu(opened) * carried))
        after: torch.Tensor = asked + torch.sigmoid(self.forward_gate(asked)) * found
        return after

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        """(B, L, width) by heads: (B, heads, L, width / heads)."""
        return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)


class TransformerNetwork(SequenceNetwork):
    """Sequence of events in, user state after each event out: what attention says plus :class:`Taste`.

    Args:
        shape: What the data decides.
        blocks: Of attention.
        heads: Of each block; they divide the width.
    """

    def __init__(self, shape: Shape, blocks: int, heads: int) -> None:
        super().__init__(shape)
        self.heads = heads
        self.bias = RelativeBias(heads)
        self.blocks = nn.ModuleList(Block(self.width, heads) for _ in range(blocks))
        self.output_norm = nn.LayerNorm(self.width)
        self.output = nn.Linear(self.width, self.width)
        self.taste = Taste(self.width)

    def initialise(self, vectors: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """See :meth:`SequenceNetwork.initialise`."""
        for module in (*self.blocks.modules(), self.output_norm, self.output):
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = 1.0 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # It begins as what taste alone says, and attention learns what to add.
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.bias.distance)
        nn.init.zeros_(self.bias.time)
        nn.init.constant_(self.taste.scale, 0.5 / len(DECAYS))
        super().initialise(vectors, generator)

    def encode_padded(
        self, vectors: torch.Tensor, sequences: Padded, dropout: Dropout = NO_DROPOUT
    ) -> torch.Tensor:
        """See :meth:`SequenceNetwork.encode_padded`."""
        events, weights, gaps = tensors(sequences, vectors.device)
        stream = dropout(self.read(vectors, events, weights, gaps))
        bias = self.bias(sequences.times, np.arange(sequences.items.shape[1])[None])
        for block in self.blocks:
            stream = block(stream, stream, bias, dropout)
        taste, _ = self.taste(vectors, liked(weights), dropout)
        states: torch.Tensor = self.output(dropout(self.output_norm(stream))) + taste
        return states

    def last_states(self, vectors: torch.Tensor, sequences: Padded) -> torch.Tensor:
        """The last of :meth:`encode_padded`, float, shape (B, width).

        The last block is worked out at the last event alone. Attention reads the :data:`RECENT` newest
        events of longer sequences.
        """
        _, weights, _ = tensors(sequences, vectors.device)
        lengths = torch.from_numpy(sequences.lengths).to(vectors.device)
        taste = self.taste.last(vectors, liked(weights), lengths)
        rows = torch.arange(len(lengths), device=vectors.device)[:, None]
        at = torch.from_numpy(sequences.newest_places(RECENT)).to(vectors.device)
        recent = sequences.newest(RECENT)
        stream = self.read(vectors[rows, at], *tensors(recent, vectors.device))
        last = np.maximum(recent.lengths, 1)[:, None] - 1
        if len(self.blocks) > 1:
            bias = self.bias(recent.times, np.arange(at.shape[1])[None])
            for block in self.blocks[:-1]:
                stream = block(stream, stream, bias, NO_DROPOUT)
        asked = stream[rows, torch.from_numpy(last).to(vectors.device)]
        asked = self.blocks[-1](stream, asked, self.bias(recent.times, last), NO_DROPOUT)
        states: torch.Tensor = self.output(self.output_norm(asked[:, 0])) + taste
        return states

    def plain_reader(self) -> PlainReader | None:
        """NumPy, if the network is on a CPU."""
        if self.output.weight.device.type != "cpu":
            return None
        weights = {name: plain(tensor) for name, tensor in self.state_dict().items()}
        return NumpyReader(weights, len(self.blocks), self.heads)
