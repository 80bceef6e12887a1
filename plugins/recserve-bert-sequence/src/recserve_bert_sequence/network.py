"""The network: text vectors of events in, a preferred direction among text vectors out."""

from __future__ import annotations

import math

import numpy as np
import torch
from recserve_torch import NO_DROPOUT, Dropout
from torch import nn

from recserve import FloatArray
from recserve_bert_sequence.sequences import Sequences


class Network(nn.Module):
    """Projected text vectors of events through an LSTM and a fully connected layer.

    The layer reads the LSTM's output and the mean of the liked texts so far. An item's logit is the inner
    product of what it says with the item's projected text vector, plus a multiple of its popularity.

    Args:
        dimension: Length of text vectors.
        n_event_types: Configured event types; one more row serves types configured later.
        width: Units of the LSTM.
        layers: Its layers.
    """

    def __init__(self, dimension: int, n_event_types: int, width: int, layers: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dimension, width, bias=False)
        self.register_buffer("mean", torch.zeros(dimension))
        self.mean: torch.Tensor
        self.event_types = nn.Embedding(n_event_types + 1, width)
        self.confidence = nn.Linear(1, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width, num_layers=layers)
        self.output = nn.Linear(2 * width, width)
        self.popularity = nn.Parameter(torch.zeros(1))

    @classmethod
    def blank(cls, dimension: int, n_event_types: int, width: int, layers: int) -> Network:
        """A network with unset weights; unlike the constructor it draws no global random numbers."""
        with torch.device("meta"):
            network = cls(dimension, n_event_types, width, layers)
        return network.to_empty(device="cpu")

    def initialise(self, vectors: FloatArray, generator: torch.Generator) -> None:
        """Random start from ``generator`` alone, the projection at the whitened principal axes of the text.

        Args:
            vectors: float32, shape (n, dimension); text vectors of (a sample of) the catalogue.
            generator: Source of the start.
        """
        width = self.lstm.hidden_size
        bound = 1.0 / math.sqrt(width)
        for parameter in (*self.lstm.parameters(), self.output.weight):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for table in (self.event_types, self.confidence):
            nn.init.normal_(table.weight, std=0.02, generator=generator)
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        nn.init.zeros_(self.output.bias)
        nn.init.constant_(self.popularity, 0.5)
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
        top = np.argsort(-values, kind="stable")[:width]
        start = np.zeros(tuple(self.projection.weight.shape))
        start[: len(top)] = 0.1 * (axes[:, top] / np.sqrt(np.maximum(values[top], 1e-4))).T
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(mean.astype(np.float32)))
            self.projection.weight.copy_(torch.from_numpy(start.astype(np.float32)))
            # At first, what reads like the mean of what was liked is a good guess.
            self.output.weight[:, width:] = torch.eye(width)

    def project(self, text: torch.Tensor) -> torch.Tensor:
        """Projected text vectors, float, shape (..., width)."""
        projected: torch.Tensor = self.projection(text - self.mean)
        return projected

    def states(
        self,
        projected: torch.Tensor,
        sequences: Sequences,
        dropout: Dropout = NO_DROPOUT,
    ) -> torch.Tensor:
        """What is preferred after each event.

        Args:
            projected: float, shape (B, L, width); of the texts of the events.
            sequences: The events.
            dropout: Applied to what the LSTM and what the layer after it read.

        Returns:
            float, shape (B, L, width).
        """
        device = projected.device
        codes = torch.from_numpy(sequences.events).to(device).clamp(0, self.event_types.num_embeddings - 1)
        weights = torch.from_numpy(sequences.weights).to(device)[..., None]
        read = self.norm(projected) + self.event_types(codes) + self.confidence(weights.clamp(-5.0, 5.0))
        # Time first: a CPU's LSTM is several times faster that way.
        first = dropout(read).transpose(0, 1).contiguous()
        # Never in mixed precision: a recurrence adds up its rounding errors.
        with torch.autocast(device.type, enabled=False):
            hidden, _ = self.lstm(first.float())
        liked = (weights > 0).to(projected.dtype)
        mean = (projected * liked).cumsum(dim=1) / liked.cumsum(dim=1).clamp(min=1.0)
        states: torch.Tensor = self.output(dropout(torch.cat([hidden.transpose(0, 1), mean], dim=-1)))
        return states

    def last_states(self, projected: torch.Tensor, sequences: Sequences) -> torch.Tensor:
        """:meth:`states` after the last event of each sequence, float, shape (B, width)."""
        rows = torch.arange(len(projected), device=projected.device)
        last = torch.from_numpy(np.maximum(sequences.lengths - 1, 0)).to(projected.device)
        return self.states(projected, sequences)[rows, last]

    def directions(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Preferences in the space of text vectors: an item's logit is direction . vector - offset + prior.

        Args:
            states: float, shape (B, width).

        Returns:
            Directions, float, shape (B, dimension), and offsets, float, shape (B,).
        """
        directions = states @ self.projection.weight
        return directions, directions @ self.mean
